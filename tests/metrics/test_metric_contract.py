"""Every metric keeps the contract: named by its path, plain answers, never a crash, no reward for inaction."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from metrics.photos import noisy, person, portrait, scaled, vae_like, view, warp
from whichlora import registry
from whichlora.metrics.base import Subject
from whichlora.metrics.scoring import measure_picture, prepare_all

NAMES = registry.names("metrics")
EDITS = {
    "camera": {"yaw_deg": 30}, "lighting": {"light": "sunset"}, "background": {"background": "beach"},
    "expression": {"expression": "smile"}, "trigger": {},
}
SOURCE = scaled(portrait("president-smiling"), 320)


@pytest.fixture(scope="module")
def prepared():
    return prepare_all(person(), NAMES)


def odd_pictures():
    shape = SOURCE.shape
    yield "black", np.zeros(shape, np.uint8)
    yield "white", np.full(shape, 255, np.uint8)
    yield "noise", np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    yield "grey", np.full(shape, 128, np.uint8)
    yield "half black", np.where(np.arange(shape[1])[None, :, None] < shape[1] // 2, SOURCE, 0).astype(np.uint8)


def test_every_axis_is_there():
    axes = {name.split("/")[0] for name in NAMES}
    assert axes == {"identity", "following", "preservation", "drift", "artifacts", "cost"}
    gates = {registry.load("metrics", name).gate for name in NAMES}
    assert gates == {None, "valid", "edit", "identity", "artefact"}


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_describes_itself(name):
    metric = registry.load("metrics", name)
    assert metric.name == name
    assert metric.version >= 1
    assert metric.better in ("higher", "lower", "neither")
    assert metric.title
    assert metric.unit


@pytest.mark.parametrize("family", EDITS)
def test_no_metric_raises_on_odd_pictures(prepared, family):
    for label, output in odd_pictures():
        for name in NAMES:
            metric = registry.load("metrics", name)
            measured = metric.measure(view(SOURCE, output, family, **EDITS[family]), prepared[name])
            where = f"{name} on {label}"
            assert measured.value is None or math.isfinite(measured.value), where
            assert measured.value is not None or measured.reason, where
            if measured.passed is not None:
                assert metric.gate is not None, where


@pytest.mark.parametrize("kind", ["drawn", "other"])
def test_other_subjects_are_measured_or_say_why(kind):
    ready = prepare_all(Subject(kind, ()), NAMES)
    for family, target in EDITS.items():
        measured = measure_picture(view(SOURCE, noisy(SOURCE, 9), family, **target), ready, NAMES)
        assert "Error" not in " ".join(item.reason for item in measured.values())
        identity = measured["identity/other"]
        assert identity.passed is None
        assert identity.reason.startswith("not measured")  # never a silent pass
        edits = [item for name, item in measured.items() if name.startswith("following/")
                 and registry.load("metrics", name).gate == "edit" and not item.reason.startswith("not applicable")]
        assert len(edits) == 1
        assert edits[0].passed is not True


@pytest.mark.parametrize("family", [name for name in EDITS if name != "trigger"])
@pytest.mark.parametrize("output", [SOURCE, vae_like(SOURCE), warp(SOURCE, 1.02, 3, -2), noisy(SOURCE, 4)],
                         ids=["same", "round trip", "drifted", "noise"])
def test_doing_nothing_fails_every_edit_and_counts_as_no_op(prepared, family, output):
    measured = measure_picture(view(SOURCE, output, family, **EDITS[family]), prepared, NAMES)
    gate = measured[f"following/{family}"]
    assert gate.passed is False, gate
    assert measured["following/unchanged"].detail["no_op"] is True


def test_exactly_one_verifier_decides_each_edit(prepared):
    for family, target in EDITS.items():
        measured = measure_picture(view(SOURCE, SOURCE, family, **target), prepared, NAMES)
        having = [name for name in NAMES if registry.load("metrics", name).gate == "edit"
                  and not measured[name].reason.startswith("not applicable")]
        assert having == [f"following/{family}"]


def test_a_loras_own_prompt_is_verified_where_a_verifier_exists(prepared):
    measured = measure_picture(view(SOURCE, SOURCE, "trigger", yaw_deg=-45), prepared, NAMES)
    assert measured["following/camera"].passed is False
    assert measured["following/trigger"].reason.startswith("not applicable")


def test_details_are_plain_json(prepared):
    for family, target in EDITS.items():
        for output in (portrait_like_source(), SOURCE):
            for item in measure_picture(view(SOURCE, output, family, **target), prepared, NAMES).values():
                json.dumps(dict(item.detail), allow_nan=False)


def portrait_like_source():
    from whichlora.vision.picture import resized

    return resized(portrait("vice-president"), *SOURCE.shape[:2])


def test_the_same_picture_gets_the_same_figures_twice(prepared):
    from whichlora.vision import align, faces, pose

    what = view(SOURCE, noisy(SOURCE, 6), "expression", expression="smile")
    first = measure_picture(what, prepared, NAMES)
    for function in (align.register, align.undrifted, faces.detect, faces.embed, pose.mesh):
        function.forget()
    second = measure_picture(replace(what, source=what.source.copy(), output=what.output.copy()), prepared, NAMES)
    assert first == second


def test_costs_are_as_recorded(prepared):
    measured = measure_picture(view(SOURCE, SOURCE), prepared, ["cost/seconds", "cost/memory"])
    assert measured["cost/seconds"].value == 2.0
    assert measured["cost/memory"].value == 3.0
