"""A small, seeded part of `bench/fuzz.py`: nothing but a result or a refusal with a reason comes of any header."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))
import fuzz


def test_fifteen_hundred_headers_are_read_or_refused():
    outcome = fuzz.run(1500, seed=20)
    assert outcome.crashes == []
    assert outcome.inputs == 1500
    assert outcome.accepted > 150
    assert len(outcome.refused) > 20


@pytest.mark.parametrize("way", [way for way, _ in fuzz.WAYS if way is not fuzz.crowd], ids=lambda way: way.__name__)
def test_every_way_to_break_a_file_is_taken(way, tmp_path):
    outcome = fuzz.Outcome()
    said = {fuzz.judge(way(random.Random(seed)), outcome, tmp_path, as_file=True) for seed in range(8)}
    assert not [words for words in said if words.startswith("CRASH")]
    assert way is fuzz.whole or said != {"accepted"}


def test_a_crash_would_be_seen(monkeypatch):
    def careless(first, _):
        return fuzz.Counter(first)[b"x"]

    monkeypatch.setattr(fuzz, "parse_header", careless)
    assert fuzz.run(50).crashes
