"""Several recognisers and other subjects: planted embeddings whose truth is known, through the real calibration."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from metrics.photos import OWN, astronaut, face_onto, person, portrait, view
from vision import pack_models
from whichlora.metrics.base import Reference, Subject
from whichlora.metrics.identity import _faces, face, other
from whichlora.metrics.identity._calibration import Defaults
from whichlora.vision import packs

LOOSE = Defaults(own_median=0.7, impostor_median=0.0, threshold=0.35)


def planted(vectors, name="planted"):
    """A recogniser whose 'pictures' are indices into a table of embeddings."""
    return _faces.Recogniser(name, "planted: free", lambda index, _: vectors[index], _faces.cosines, LOOSE)


def world(rng, noise, own=12, strangers=60, probes=400, width=24):
    """Embeddings of one person's photographs, strangers, new photographs of the person, and new strangers."""
    centre = rng.normal(size=width)
    people = [centre + rng.normal(0, noise, width) for _ in range(own)]
    people += [rng.normal(size=width) for _ in range(strangers)]
    people += [centre + rng.normal(0, noise, width) for _ in range(probes)]
    people += [rng.normal(size=width) for _ in range(probes)]
    table = np.array(people, dtype=np.float32)
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def parts_of(tables, own=12, strangers=60):
    return [
        _faces.calibrated(planted(table), [(index, None) for index in range(own)],
                          [(own + index, None, 0.0) for index in range(strangers)])
        for table in tables
    ]


def fused(parts, indices):
    return np.array([
        np.mean([_faces.place(part.scale, float(part.similarities(index, None).max())) for part in parts])
        for index in indices
    ])


def auc(good, bad):
    return float((good[:, None] > bad[None]).mean())


def test_two_weak_recognisers_tell_more_than_either():
    rng = np.random.default_rng(0)
    tables = [world(rng, 1.7), world(rng, 1.7)]
    parts = parts_of(tables)
    good, bad = range(72, 472), range(472, 872)
    both = auc(fused(parts, good), fused(parts, bad))
    alone = [auc(fused([part], good), fused([part], bad)) for part in parts]
    assert both > max(alone) + 0.01


def test_the_fused_threshold_lets_about_one_stranger_in_a_hundred_pass():
    shares = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        parts = parts_of([world(rng, 0.7, strangers=150), world(rng, 0.7, strangers=150)], strangers=150)
        scale = _faces.fused_scale(parts)
        shares.append(float((fused(parts, range(162 + 400, 162 + 800)) >= scale.threshold).mean()))
        assert (fused(parts, range(162, 162 + 400)) >= scale.threshold).mean() > 0.9
    assert np.mean(shares) < 0.02


def test_the_scale_of_several_runs_from_stranger_to_own():
    parts = parts_of([world(np.random.default_rng(1), 0.6), world(np.random.default_rng(2), 0.6)])
    scale = _faces.fused_scale(parts)
    assert scale.percent(float(np.median(fused(parts, range(12, 72))))) == pytest.approx(0, abs=15)
    assert scale.percent(float(np.median(fused(parts, range(72, 472))))) == pytest.approx(100, abs=15)


def test_a_yaw_bin_with_enough_strangers_has_its_own_threshold():
    table = world(np.random.default_rng(3), 0.6)
    strangers = [(12 + index, None, 60.0 if index % 2 else 0.0) for index in range(60)]
    part = _faces.calibrated(planted(table), [(index, None) for index in range(12)], strangers)
    assert part.bins[1] is None
    assert part.scale_at(30.0) is part.scale
    assert part.scale_at(-60.0) is part.bins[2] is not None
    assert part.scale_at(5.0) is part.bins[0] is not None


@pytest.fixture
def arcface(tmp_path, monkeypatch):
    monkeypatch.setenv(packs.FOLDER_VARIABLE, str(tmp_path / "packs"))
    file = packs.pack("arcface").files[0].name
    packs.install("arcface", {file: pack_models.embedder(tmp_path / file, 112, 512, "input.1", "683", 28)})


@pytest.mark.usefixtures("arcface")
def test_with_a_pack_both_views_and_the_licence_stand_in_the_detail():
    prepared = face.prepare(replace(person(), packs=("arcface",)))
    alone = face.prepare(person())
    source = portrait(OWN[0])
    same = face.measure(view(source, source), prepared)
    assert same.passed is True
    names = [item["recogniser"] for item in same.detail["recognisers"]]
    assert names == [_faces.PACKAGED, packs.pack("arcface").title]
    assert "NOT for commercial use" in same.detail["recognisers"][1]["licence"]
    assert "recognisers" not in face.measure(view(source, source), alone).detail
    pasted = face_onto(source, portrait("vice-president"))
    assert face.measure(view(source, pasted), prepared).value < same.value
    ladder = [face.measure(view(source, face_onto(source, astronaut(), share)), prepared).value
              for share in (0, 0.3, 0.6, 1.0)]
    assert all(a >= b - 3 for a, b in itertools.pairwise(ladder))


def test_a_pack_that_is_not_installed_leaves_identity_unscored(tmp_path, monkeypatch):
    from whichlora.metrics.scoring import measure_picture, prepare_all

    monkeypatch.setenv(packs.FOLDER_VARIABLE, str(tmp_path))
    prepared = prepare_all(replace(person(), packs=("arcface",)), ["identity/face"])
    found = measure_picture(view(portrait(OWN[0]), portrait(OWN[0])), prepared, ["identity/face"])["identity/face"]
    assert found.passed is None
    assert "lacks w600k_r50.onnx" in found.reason


@pytest.fixture
def ccip(tmp_path, monkeypatch):
    monkeypatch.setenv(packs.FOLDER_VARIABLE, str(tmp_path / "packs"))
    file = packs.pack("ccip").files[0].name
    packs.install("ccip", {file: pack_models.embedder(tmp_path / file, 384, 64, "input", "output", 48)})


@pytest.mark.usefixtures("ccip")
def test_a_drawn_character_is_judged_by_its_own_pack():
    own = [Reference(name, portrait(OWN[0]) if name == "a" else portrait(OWN[0])[:, ::-1].copy(), same=True)
           for name in ("a", "b")]
    prepared = other.prepare(Subject("drawn", tuple(own), ("ccip", "dinov2")))
    assert prepared.pack == "ccip"
    same = other.measure(view(portrait(OWN[0]), portrait(OWN[0])), prepared)
    assert same.passed is True
    assert "OpenRAIL" in same.detail["licence"]
    different = other.measure(view(portrait(OWN[0]), astronaut()), prepared)
    assert different.value < same.value


def test_without_a_pack_for_the_subject_nothing_is_claimed():
    for chosen in ((), ("yunet-sface",), ("ccip",)):
        prepared = other.prepare(Subject("other", (), chosen))
        found = other.measure(view(astronaut(), astronaut()), prepared)
        assert (found.value, found.passed) == (None, None)
        assert found.reason.startswith("not measured")
