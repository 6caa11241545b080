"""The bench of several GPUs, on the painter: it sees what was sent, kills one worker, and counts rightly."""

from __future__ import annotations

import importlib
import os
import sys
from collections import Counter

import pytest

from run import scenes


@pytest.fixture(scope="module")
def gpus():
    sys.path.insert(0, str(scenes.ROOT / "bench"))
    yield importlib.import_module("gpus")
    sys.path.remove(str(scenes.ROOT / "bench"))
    sys.modules.pop("gpus")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_watched_run_tells_what_each_worker_was_given_and_kills_one(tmp_path, gpus, monkeypatch):
    site = str(scenes.install_faulty(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([site, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    plan, setup, _ = scenes.build(tmp_path, family="faulty", photos=1)
    # Slow enough that whoever is killed has a cell in hand.
    scenes.break_at(tmp_path, forward_s=0.002)
    cells = [cell.id for cell in plan.cells if cell.candidate in ("base", "a", "b")]
    calm = gpus.watched_run(tmp_path / "calm", plan, setup, cells, 2)
    assert calm.told == Counter(dict.fromkeys(cells, 1))
    sent = [name for rows in calm.sent.values() for name in rows]
    assert Counter(sent) == Counter(cell.candidate for cell in plan.cells if cell.id in cells)
    assert (calm.summary.restarts, calm.host_bytes) == (0, {})
    hurt = gpus.watched_run(tmp_path / "hurt", plan, setup, cells, 2, kill=True)
    assert hurt.summary.restarts == 1
    assert hurt.pixels == calm.pixels
    assert hurt.told == calm.told
    sys.modules.pop("faulty_painter", None)
    assert all(weight > 1e6 for weight in hurt.host_bytes.values()) or sys.platform != "linux"


def test_changes_of_candidate_are_counted_with_the_first(gpus):
    seen = gpus.Seen({}, Counter(), None, 0.0, {"one": ["a", "a", "b", "a"], "two": [], "three": ["b"]})
    assert seen.switches() == {"one": 3, "two": 0, "three": 1}


@pytest.mark.parametrize(("change", "missed"), [
    ({}, []), ({"lost": 1}, ["lost"]), ({"acknowledged twice": 1}, ["acknowledged twice"]),
    ({"different pictures": 2}, ["different pictures"]), ({"workers killed": 0}, ["workers killed"]),
    ({"workers killed": 2}, ["workers killed"]), ({"tail in cells": 2}, ["tail in cells"]),
    ({"share of linear": 0.96}, ["share of linear"]), ({"share of linear": None}, ["share of linear"]),
    ({"share of linear": 0.96, "workers": 4}, []), ({"share of linear": 0.94, "workers": 4}, ["share of linear"]),
    ({"share of linear": 0.94, "workers": 8}, []),
])
def test_an_aim_that_is_missed_is_named(gpus, change, missed):
    found = {"workers": 2, "lost": 0, "acknowledged twice": 0, "different pictures": 0, "workers killed": 1,
             "tail in cells": 1, "share of linear": 0.97, **change}
    met = gpus.judged(found, toy=False)
    assert [name for name, well in met.items() if not well] == missed
    assert "share of linear" not in gpus.judged(found, toy=True)
