"""A metric that breaks is a reason, never a pass; calibration failures are told per metric."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from metrics.photos import person, portrait, view
from whichlora import registry
from whichlora.metrics.base import Reference, Subject
from whichlora.metrics.scoring import Uncalibrated, measure_picture, prepare_all
from whichlora.types import Measurement


def plug(monkeypatch, measure, prepare=lambda subject: "ready"):
    fake = SimpleNamespace(name="x/y", prepare=prepare, measure=measure, gate="edit")
    monkeypatch.setattr(registry, "load", lambda kind, name: fake)


def measured(monkeypatch, measure):
    plug(monkeypatch, measure)
    picture = np.zeros((64, 64, 3), np.uint8)
    return measure_picture(view(picture, picture), {"x/y": "ready"}, ["x/y"])["x/y"]


def test_an_exception_becomes_a_reason(monkeypatch):
    def broken(view, prepared):
        raise RuntimeError("the lens fell off\nsecond line")

    result = measured(monkeypatch, broken)
    assert result.value is None
    assert result.passed is None
    assert result.reason == "not measured: RuntimeError: the lens fell off"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_that_is_no_number_cannot_pass(monkeypatch, value):
    result = measured(monkeypatch, lambda view, prepared: Measurement(value, "", True))
    assert result.value is None
    assert result.passed is None
    assert result.reason


@pytest.mark.parametrize("answer", [None, 3, Measurement(None)])
def test_an_empty_answer_is_said_so(monkeypatch, answer):
    result = measured(monkeypatch, lambda view, prepared: answer)
    assert result.value is None
    assert result.reason.startswith("not measured")


def test_numpy_in_details_is_unwrapped(monkeypatch):
    detail = {"a": np.float32(1.5), "b": np.arange(3), "c": (np.int64(2), float("nan")), 4: np.bool_(True)}
    result = measured(monkeypatch, lambda view, prepared: Measurement(1.0, detail=detail))
    assert result.detail == {"a": 1.5, "b": [0, 1, 2], "c": [2, None], "4": True}


def test_a_metric_cannot_spoil_the_next_ones_picture(monkeypatch):
    def vandal(view, prepared):
        view.output[:] = 0
        return Measurement(1.0, "", True)

    result = measured(monkeypatch, vandal)
    assert result.passed is None
    assert "read-only" in result.reason


def test_failed_calibration_leaves_every_picture_unscored():
    faceless = Subject("photograph", (Reference("wall", np.full((200, 200, 3), 90, np.uint8), same=True),))
    prepared = prepare_all(faceless, ["identity/face", "drift/zoom"])
    assert isinstance(prepared["identity/face"], Uncalibrated)
    picture = portrait("president-smiling")
    result = measure_picture(view(picture, picture), prepared, ["identity/face", "drift/zoom"])
    assert result["identity/face"].passed is None
    assert "none of the subject's own photographs shows a face" in result["identity/face"].reason
    assert result["drift/zoom"].value is not None


def test_a_metric_without_calibration_is_not_run():
    picture = portrait("president-smiling")
    result = measure_picture(view(picture, picture), prepare_all(person(), []), ["identity/face"])
    assert result["identity/face"].value is None
