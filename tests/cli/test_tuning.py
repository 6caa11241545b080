"""Tuning: a speed-up is admitted only by evidence, and written without touching the rest of the suite."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml

from whichlora.analysis.cells import Verdict
from whichlora.cli._rehearse import sentences
from whichlora.cli._tuning import TRIALS, chosen_rows, compare, switched_on
from whichlora.errors import UserError
from whichlora.families._qwen.rehearsal import Rehearsal
from whichlora.types import Candidate, Cell, EditCase, Generation


def side(rate_of, seconds, photos=20, edits=6, seed=0):
    """Verdicts and generations; `rate_of(photo, edit)` says whether a cell passes."""
    judged, made = [], {}
    for photo in range(photos):
        for edit in range(edits):
            case = EditCase(f"{photo}/{edit}", str(photo), str(edit), "camera", "turn", {})
            cell = Cell(f"{seconds}-{seed}-{case.id}", "a", case.id, 1)
            judged.append(Verdict(cell, case, True, {"edit": rate_of(photo, edit)}, False, ()))
            made[cell.id] = Generation(cell.id, "done", "0", {"denoise": seconds}, 1)
    return judged, made


def coin(seed, rate):
    drawn = np.random.default_rng(seed).random((20, 6)) < rate
    return lambda photo, edit: bool(drawn[photo, edit])


def test_equal_scores_and_faster_pictures_are_admitted():
    same = coin(1, 0.7)
    found = compare("block-cache", side(same, 2.0), side(same, 1.0), 0.10)
    assert found.admitted, found
    assert found.change == 0.0
    assert found.speed == 2.0
    assert (found.photos, found.cells) == (20, 120)
    assert "may be switched on" in found.reason


@pytest.mark.parametrize(("exact", "fast", "seconds", "margin", "word"), [
    (coin(1, 0.9), coin(2, 0.5), 1.0, 0.10, "not inside"),      # a planted loss
    (coin(1, 0.5), coin(2, 0.9), 1.0, 0.10, "not inside"),      # a gain is a change too
    (coin(1, 0.7), coin(1, 0.7), 3.0, 0.10, "not made faster"),
    (coin(1, 0.7), coin(3, 0.7), 1.0, 0.01, "not inside"),      # the same rate, but the interval is wide
])
def test_everything_else_stays_off(exact, fast, seconds, margin, word):
    found = compare("block-cache", side(exact, 2.0), side(fast, seconds), margin)
    assert not found.admitted
    assert word in found.reason


def test_cells_without_an_answer_are_no_evidence():
    nothing = side(lambda *_: None, 2.0)
    found = compare("block-cache", nothing, nothing, 0.5)
    assert (found.change, found.cells, found.admitted) == (None, 0, False)


SUITE = """\
# my suite
name: mina   # the cat
base: {family: qwen_image_edit, location: Qwen/Qwen-Image-Edit-2509}   # keep
target: 0.7
"""
BLOCK = """\
base:
  family: qwen_image_edit
  location: here   # a folder
  options:
    dtype: auto
# what is asked
seeds: [1]
"""


@pytest.mark.parametrize("text", [SUITE, BLOCK])
def test_options_are_written_and_nothing_else_changes(text):
    on = switched_on(text, {"block_cache": 2, "cfg_interval": [0.0, 0.6]})
    before, after = yaml.safe_load(text), yaml.safe_load(on)
    assert after["base"].pop("options") == {**(before["base"].pop("options", {})), "block_cache": 2,
                                            "cfg_interval": [0.0, 0.6]}
    assert after == before
    for line in ("# my suite", "# the cat", "# what is asked"):
        assert (line in on) == (line in text)
    with pytest.raises(UserError):
        switched_on("name: x\n", {"block_cache": 2})


def test_rows_are_the_base_and_the_first_candidate_unless_named():
    rows = [Candidate("base", role="base"), Candidate("a"), Candidate("b"), Candidate("do-nothing", role="control")]
    assert [row.name for row in chosen_rows(rows, ())] == ["base", "a"]
    assert [row.name for row in chosen_rows(rows, ("b",))] == ["b"]
    with pytest.raises(UserError, match="c"):
        chosen_rows(rows, ("c",))


def test_every_trial_is_an_option_that_the_family_knows():
    from whichlora.families._qwen.session import check_options

    for options in TRIALS.values():
        assert options.items() <= check_options(options).items()


def test_the_doctor_refuses_the_true_size_on_a_processor():
    """Forty gigabytes of random numbers would bring a laptop to a halt."""
    done = subprocess.run(
        [sys.executable, "-m", "whichlora.cli.main", "doctor", "--rehearse", "--device", "cpu"], capture_output=True,
        encoding="utf-8", check=False, timeout=120,
    )
    assert done.returncode == 2
    assert "cannot be rehearsed here" in done.stderr


def test_what_a_rehearsal_says():
    found = Rehearsal("bf16-streamed", "Some Card", False, 2.0, 1.0, 81.0, 20 * 2**30, 90.0,
                      {"resident_blocks": 40, "streamed_blocks": 20, "notes": ["Compiling failed."]}, ("x: too large",))
    text = "\n".join(sentences(found, {"cells": 960, "hours": 21.6}))
    for part in ("bf16-streamed", "40 of 60 blocks", "2.000 s", "81.0 s", "20.0 GiB", "exact", "960 pictures",
                 "21.6 hours", "too large", "Compiling failed"):
        assert part in text, part
    assert "profile: fp8" in "\n".join(sentences(replace(found, profile="fp8"), None))
    assert "say nothing of the 20 B model" in "\n".join(sentences(replace(found, toy=True), None))


@pytest.mark.slow
def test_a_rehearsal_at_toy_size_from_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "whichlora.cli.main", "doctor", "--rehearse", "--toy", "--device", "cpu", "--json"],
        capture_output=True, encoding="utf-8", check=False, timeout=240,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["schema"] == "whichlora.rehearsal/1"
    assert answer["profile"] == "bf16"
    assert answer["toy"] is True
    assert answer["seconds_per_image"] > 0
