"""The bench's ladders notice what they are there for; the ladders themselves are climbed by `bench/ladders.py`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).parents[2] / "bench" / "ladders.py"
    spec = importlib.util.spec_from_file_location("ladders_bench", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["ladders_bench"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("values", "better", "monotone"), [
    ((0.0, 1.0, 2.0), "lower", True), ((0.0, 2.0, 1.0), "lower", False), ((1.0, 0.9, 0.5), "higher", True),
    ((1.0, 0.5, 0.9), "higher", False), ((1.0, 1.0, 1.0), "higher", False), ((0.0, 0.5, 1.0), "higher", False),
    ((0.0, 1.0, 0.99, 2.0), "lower", True),
])
def test_a_ladder_that_falls_back_or_stays_level_is_noticed(bench, values, better, monotone):
    steps = tuple(float(step) for step in range(len(values)))
    assert bench.Ladder("damage", "metric", "photo", steps, values, better).monotone is monotone


def test_a_registration_that_sees_no_drift_misses_its_limits(bench, monkeypatch):
    monkeypatch.setattr(bench, "NAMES", ("astronaut",))
    monkeypatch.setattr(bench, "DRIFTS", ((1.02, 6.0, -4.0),))
    right = bench.drifts()
    assert right["zoom_percent"] < bench.ZOOM_PERCENT
    assert right["lost_db"] < bench.LOST_DB
    blind = bench.register(bench.photograph("astronaut"), bench.photograph("astronaut"))
    monkeypatch.setattr(bench, "register", lambda source, output: blind)
    assert bench.drifts()["zoom_percent"] == pytest.approx(2.0, abs=0.05)
