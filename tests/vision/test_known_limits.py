"""Known limits stand in every report, with the counts that the command recorded, and packs with their licences."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from whichlora.vision import limits

BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.parametrize("kind", ["photograph", "figure", "drawn", "other"])
def test_every_kind_of_subject_has_its_limits(kind):
    assert limits.sentences(kind)
    assert all(sentence.endswith((".", "added.")) for sentence in limits.sentences(kind))


def test_packs_are_named_with_their_licence_where_they_have_a_say():
    said = " ".join(limits.sentences("photograph", ("arcface", "ccip")))
    assert "NOT for commercial use" in said
    assert "CCIP" not in said
    assert "CCIP" in " ".join(limits.sentences("drawn", ("ccip",)))
    assert "left open" not in " ".join(limits.sentences("drawn", ("ccip",)))


def test_blind_spots_follow_the_recorded_counts(monkeypatch):
    row = {"own": 6, "recognised": 6, "strangers": 14, "accepted": 0, "no_face": 0, "another": False}
    planted = {"unchanged": row, "a hat": {**row, "recognised": 4}, "a scarf": {**row, "recognised": 5},
               "a twin": {**row, "another": True, "recognised": 2},
               "a stranger": {**row, "another": True, "recognised": 0}}
    monkeypatch.setattr(limits, "recorded", lambda: {"photograph": planted})
    said = " ".join(limits.sentences("photograph"))
    assert "a hat (4 of 6)" in said
    assert "a scarf" not in said
    assert "a twin (2 of 6)" in said
    assert "a stranger" not in said


def test_the_recorded_counts_are_what_the_command_measures():
    sys.path.insert(0, str(BENCH))
    try:
        import blindspots
    finally:
        sys.path.remove(str(BENCH))
    recorded = limits.recorded()["photograph"]
    assert set(recorded) == set(blindspots.CONDITIONS)
    for name in ("unchanged", "a bar over the eyes", "a face squeezed to 80 %"):
        found = blindspots.measure(*blindspots.CONDITIONS[name])
        assert found["own"] == recorded[name]["own"]
        # A pair that lies on the line may fall either way with another OpenCV.
        assert abs(found["recognised"] - recorded[name]["recognised"]) <= 1, name
        assert found["accepted"] == recorded[name]["accepted"], name
