"""Artefacts injected in rising doses into real photographs: monotone, located, severe only when they spoil."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.photos import GENERATION, astronaut, blend, blur, grid, noisy, portrait, scaled, vae_like, view, warp
from whichlora.metrics.artifacts import banding, clipping, colour, people, severe, texture, tiling, valid
from whichlora.metrics.artifacts import grid as grid_metric

SOURCE = portrait("president-smiling")


def posterised(picture, step):
    return picture if step <= 1 else (picture // step * step + step // 2).clip(0, 255).astype(np.uint8)


def tiled(picture, share):
    """The left part again at the right, faded in."""
    half = picture.shape[1] // 2
    out = picture.astype(float)
    out[:, half : 2 * half] = (1 - share) * out[:, half : 2 * half] + share * out[:, :half]
    return np.rint(out).astype(np.uint8)


LADDERS = {
    "grid 16": (grid_metric, lambda a: grid(SOURCE, a, 16), (0, 1, 2, 4, 8)),
    "grid 8": (grid_metric, lambda a: grid(SOURCE, a, 8), (0, 1, 2, 4, 8)),
    "banding": (banding, lambda a: posterised(SOURCE, a), (1, 4, 8, 16)),
    "clipping": (clipping, lambda a: np.clip(SOURCE * (1.0 + a), 0, 255).astype(np.uint8), (0, 0.3, 0.8, 2, 5)),
    "texture": (texture, lambda a: blur(SOURCE, a), (0, 0.7, 1.5, 3, 6)),
    "tiling": (tiling, lambda a: tiled(SOURCE, a), (0, 0.8, 1.0)),
}


@pytest.mark.parametrize("name", LADDERS)
def test_more_of_it_is_never_less(name):
    metric, damage, doses = LADDERS[name]
    results = [metric.measure(view(SOURCE, damage(dose)), "photograph") for dose in doses]
    values = [result.value for result in results]
    assert values == sorted(values)
    assert values[0] < 0.2
    assert results[0].detail["severity"] == "none"
    assert results[-1].detail["severity"] != "none"
    assert results[-1].detail["regions"]


@pytest.mark.parametrize("period", [8, 16])
@pytest.mark.parametrize("amplitude", [2.0, 6.0])
def test_the_grids_amplitude_is_recovered(period, amplitude):
    found = grid_metric.measure(view(SOURCE, grid(SOURCE, amplitude, period)), None).value
    assert found == pytest.approx(amplitude / 2, abs=0.8)  # `amplitude` is shared by the two axes


def test_a_pattern_of_no_quarter_is_no_grid_over_the_picture():
    # One dark block per half: a peak at the whole picture's 16 px, none at a quarter's.
    y, x = np.mgrid[0:128, 0:128]
    centre = np.exp(-(((x - 64) / 22.0) ** 2 + ((y - 64) / 22.0) ** 2))
    striped = np.clip(128 + 50 * centre * np.cos(2 * np.pi * x / 16), 0, 255)
    picture = np.repeat(np.rint(striped)[..., None], 3, axis=2).astype(np.uint8)
    whole = grid(np.full((128, 128, 3), 128, np.uint8), 20.0, 16)
    assert grid_metric.grid_amplitude(picture) < 0.75 * grid_metric._strongest(picture)
    assert grid_metric.grid_amplitude(whole) == grid_metric._strongest(whole)


@pytest.mark.parametrize("name", ["president-smiling", "president-standing", "vice-president"])
def test_blue_and_colourless_skin_is_a_fault_unless_the_edit_may_colour_it(name):
    source = portrait(name)
    swapped = np.ascontiguousarray(source[..., ::-1])
    grey = np.repeat(np.rint(source @ np.array([0.299, 0.587, 0.114]))[..., None], 3, axis=2).astype(np.uint8)
    for output in (swapped, grey):
        spoilt = severe.measure(view(source, output, "background", background="beach"), "photograph")
        assert spoilt.passed is False
        assert "skin" in spoilt.reason
        assert spoilt.detail["regions"]
        for family in ("lighting", "trigger"):
            assert severe.measure(view(source, output, family, light="neon"), "photograph").passed is True
    doses = [colour.measure(view(source, blend(source, grey, share), "camera", yaw_deg=30), "photograph").value
             for share in (0, 0.3, 0.6, 0.9, 1)]
    assert doses == sorted(doses)
    assert doses[0] == 0
    tint = np.clip(source * np.array([1.06, 1, 0.94]), 0, 255).astype(np.uint8)
    assert colour.measure(view(source, tint, "camera", yaw_deg=30), "photograph").detail["severity"] == "none"


def test_a_face_that_the_source_does_not_show_is_not_missing():
    body = np.ascontiguousarray(SOURCE[430:])
    assert severe.measure(view(body, vae_like(body), "camera", yaw_deg=90), "photograph").passed is True
    assert people.find(view(SOURCE, np.full_like(SOURCE, 120), "camera", yaw_deg=30), "photograph").severity == "severe"


def test_a_grid_that_the_source_has_is_forgiven():
    striped = grid(SOURCE, 6)
    assert grid_metric.measure(view(striped, striped), None).value == 0


@pytest.mark.parametrize("output", [SOURCE, vae_like(SOURCE), warp(SOURCE, 1.02), noisy(SOURCE, 5),
                                    scaled(portrait("president-smiling"), 640)])
def test_ordinary_pictures_have_no_severe_artefact(output):
    result = severe.measure(view(SOURCE, output), "photograph")
    assert result.passed is True, result.detail


@pytest.mark.parametrize("output", [
    grid(SOURCE, 14), tiled(SOURCE, 1.0), np.clip(SOURCE * 6.0, 0, 255).astype(np.uint8), blur(SOURCE, 8),
], ids=["grid", "tiling", "blown", "plastic"])
def test_spoilt_pictures_fail_with_a_reason_and_a_region(output):
    result = severe.measure(view(SOURCE, output), "photograph")
    assert result.passed is False
    assert result.reason
    assert result.detail["regions"]


def test_a_second_head_is_counted_and_located():
    twice = np.concatenate([SOURCE[:, 100:356], SOURCE[:, 100:356]], axis=1)
    result = people.measure(view(SOURCE, twice), "photograph")
    assert result.value == 1
    assert result.detail["severity"] == "severe"
    assert len(result.detail["regions"]) == 1


def test_a_missing_face_is_counted_unless_it_was_turned_away():
    wall = noisy(np.full_like(SOURCE, 120), 10)
    assert people.measure(view(SOURCE, wall, yaw_deg=30), "photograph").value == 1
    assert people.measure(view(SOURCE, wall, view="back"), "photograph").value == 0


def test_small_bystanders_do_not_count():
    crowd = SOURCE.copy()
    small = scaled(portrait("vice-president"), 120)
    crowd[500 : 500 + small.shape[0], 10 : 10 + small.shape[1]] = small
    assert people.measure(view(SOURCE, crowd), "photograph").value == 0


def test_texture_is_only_asked_of_photographs_with_a_large_face():
    assert texture.measure(view(SOURCE, SOURCE), "figure").reason.startswith("not applicable")
    tiny = scaled(SOURCE, 160)
    assert texture.measure(view(tiny, tiny), "photograph").reason.startswith("not measured")


@pytest.mark.parametrize(("output", "words"), [
    (np.zeros_like(SOURCE), "black"),
    (np.full_like(SOURCE, 127), "flat"),
    (np.random.default_rng(0).integers(0, 256, SOURCE.shape, dtype=np.uint8), "noise"),
    (SOURCE[:-16], "shape"),
])
def test_what_is_no_picture_is_not_valid(output, words):
    result = valid.measure(view(SOURCE, np.ascontiguousarray(output)), None)
    assert result.passed is False
    assert words in result.reason


def test_a_picture_of_another_size_than_recorded_is_not_valid():
    what = replace(view(SOURCE, SOURCE), generation=replace(GENERATION, facts={"height": 1024, "width": 1024}))
    assert valid.measure(what, None).passed is False
    fine = {"height": SOURCE.shape[0], "width": SOURCE.shape[1]}
    assert valid.measure(replace(what, generation=replace(GENERATION, facts=fine)), None).passed is True


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(0.25, 1.0), shift=st.integers(0, 60), seed=st.integers(0, 1000))
def test_every_real_picture_is_valid(gain, shift, seed):
    output = noisy(np.clip(astronaut()[::4, ::4] * gain + shift, 0, 255).astype(np.uint8), 4, seed)
    source = np.ascontiguousarray(astronaut()[::4, ::4])
    assert valid.measure(view(source, output), None).passed is True


def test_dark_moonlit_pictures_are_valid():
    moon = (SOURCE * np.array([0.12, 0.16, 0.3])).astype(np.uint8)
    assert valid.measure(view(SOURCE, moon), None).passed is True
