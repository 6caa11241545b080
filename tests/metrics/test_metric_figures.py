"""Toy figures with exact ground truth: perfect edits pass, undone, half-done and wrong-person ones fail."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
from metrics import figures
from metrics.photos import blur, vae_like, view
from whichlora import registry
from whichlora.metrics.scoring import measure_picture, prepare_all
from whichlora.suite.photos import already_satisfied, examine_photos
from whichlora.vision import figure

NAMES = registry.names("metrics")
KEEP = ("identity", "clothes", "background", "lighting")
EDITS = {
    "right_45": ("camera", "camera", {"yaw_deg": 45}),
    "left_45": ("camera", "camera", {"yaw_deg": -45}),
    "sunset": ("light", "lighting", {"light": "sunset"}),
    "beach": ("background", "background", {"background": "beach"}),
    "surprised": ("expression", "expression", {"expression": "surprised"}),
}


@pytest.fixture(scope="module")
def prepared():
    return prepare_all(figures.figure_subject(), NAMES)


def measured(prepared, source, output, family, target):
    return measure_picture(view(source, output, family, KEEP, **target), prepared, NAMES)


@pytest.mark.parametrize("value", EDITS)
@pytest.mark.parametrize("codec", [lambda p: p, vae_like], ids=["exact", "round trip"])
def test_a_perfect_edit_passes_every_gate(prepared, value, codec):
    world_family, family, target = EDITS[value]
    for source, truth in zip(figures.sources(), figures.edited_to(world_family, value), strict=True):
        result = measured(prepared, source, codec(truth), family, target)
        for name, item in result.items():
            if registry.load("metrics", name).gate and not item.reason.startswith("not applicable"):
                assert item.passed is True, (value, name, item)


@pytest.mark.parametrize("value", EDITS)
def test_doing_nothing_fails_every_edit(prepared, value):
    _, family, target = EDITS[value]
    for source in figures.sources():
        for output in (source, vae_like(source)):
            result = measured(prepared, source, output, family, target)
            assert result[f"following/{family}"].passed is False
            assert result["following/unchanged"].detail["no_op"] is True
            assert result["identity/figure"].passed is True


@pytest.mark.parametrize("value", EDITS)
def test_the_wrong_edit_fails(prepared, value):
    _, family, target = EDITS[value]
    for other, (world_family, other_family, _) in EDITS.items():
        if other == value or other_family != family:
            continue
        for source, output in zip(figures.sources(), figures.edited_to(world_family, other), strict=True):
            assert measured(prepared, source, output, family, target)[f"following/{family}"].passed is False


def test_a_true_edit_is_no_no_op(prepared):
    for value, (world_family, family, target) in EDITS.items():
        for source, truth in zip(figures.sources(), figures.edited_to(world_family, value), strict=True):
            result = measured(prepared, source, truth, family, target)
            assert result["following/unchanged"].detail["no_op"] is False, value


def test_other_figures_fail_identity(prepared):
    for stranger in figures.strangers():
        result = measured(prepared, figures.sources()[0], stranger, "camera", {"yaw_deg": 45})
        assert result["identity/figure"].passed is False


@pytest.mark.parametrize("trait", ["skin", "hair_colour", "shirt", "hair_style", "glasses", "scarf"])
def test_one_changed_trait_fails_identity(prepared, trait):
    result = measured(prepared, figures.sources()[1], figures.near_misses()[trait], "camera", {"yaw_deg": 45})
    assert result["identity/figure"].passed is False


def test_real_pairs_pass():
    subject = figures.figure_subject()
    for left_out in range(6):
        fewer = type(subject)(subject.kind, tuple(r for r in subject.references if r.id != f"own-{left_out}"))
        ready = prepare_all(fewer, ["identity/figure"])
        what = view(figures.sources()[0], figures.references()[left_out], "camera", KEEP, yaw_deg=45)
        assert measure_picture(what, ready, ["identity/figure"])["identity/figure"].passed is True


def test_no_figure_is_a_failure(prepared):
    wall = np.full_like(figures.sources()[0], 120)
    result = measured(prepared, figures.sources()[0], wall, "camera", {"yaw_deg": 45})
    assert result["identity/figure"].passed is False
    assert result["following/camera"].passed is False


def test_smearing_is_never_more_alike(prepared):
    picture = figures.sources()[0]
    ladder = []
    for sigma in (0, 1.5, 3, 6):
        result = measured(prepared, picture, blur(picture, sigma), "camera", {"yaw_deg": 45})["identity/figure"]
        ladder.append(-1.0 if result.value is None else result.value)
    assert ladder == sorted(ladder, reverse=True)
    assert ladder[-1] < ladder[0] / 2


def test_yaw_is_positive_to_the_viewers_right():
    turned = zip(figures.edited_to("camera", "right_45"), figures.edited_to("camera", "left_45"), strict=True)
    for right, left in turned:
        assert figure.read(right).yaw_deg == pytest.approx(45, abs=8)
        assert figure.read(left).yaw_deg == pytest.approx(-45, abs=8)


def test_photographs_are_not_figures():
    from metrics.photos import portrait, scaled

    for name in ("president-smiling", "vice-president"):
        assert figure.read(scaled(portrait(name), 256)).present < 0.5


def test_source_checks_read_figures(tmp_path):
    from PIL import Image

    paths = []
    for index, picture in enumerate(figures.references()):
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(picture).save(paths[-1])
    seen = examine_photos(paths)
    assert seen.kind == "figure"
    assert seen.identities == 1
    assert [facts["background"] for facts in seen.facts] == ["studio", "forest", "beach", "room", "mountain", "studio"]
    assert not any("unfit" in facts for facts in seen.facts)
    assert already_satisfied(seen.facts[2], "background", {"background": "beach"})
    assert already_satisfied(seen.facts[5], "lighting", {"light": "sunset"})
    assert not already_satisfied(seen.facts[0], "background", {"background": "beach"})
    assert any("profile" in note for note in seen.notes)
