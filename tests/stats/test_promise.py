"""A promise for a screened plan is kept by real screenings, not only by the model that it was made with."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))
from lab.figures import FAMILIES
from lab.screened import dealt, table_screened

from whichlora.analysis import evidence
from whichlora.analysis.simulate import World, passes
from whichlora.stats import promise
from whichlora.stats.power import detectable_points
from whichlora.stats.screening import Round, chosen_on, schedule

EDITS = tuple(name for name in FAMILIES for _ in range(2))


def test_a_screened_promise_is_kept_with_the_correction_and_the_pictures_used_up():
    rng = np.random.default_rng(5)
    rounds = schedule(12, 96, 0.35)
    points = detectable_points(12, 8, 0.2, 12, rounds=rounds, families=EDITS)
    rates = {"base": 0.5, "good": 0.5 + points / 100, **{f"lora-{i}": 0.5 for i in range(11)}}
    world = World({name: {"x": rate} for name, rate in rates.items()}, 12, 8, 1, float(np.sin(np.pi / 2 * 0.2)))
    shown, studies = 0, 250
    for _ in range(studies):
        table = table_screened(world, dealt(passes(world, rng)), rounds)
        found = evidence.compared(table, evidence.in_play(table), ("overall",), FAMILIES)
        shown += evidence.better(found.get((1, "overall")))
    assert abs(shown / studies - 0.8) <= 0.03 + 2.5 * np.sqrt(0.16 / studies)
    # What screening costs is priced in: the whole matrix promises more.
    assert detectable_points(12, 8, 0.2, 12, families=EDITS) < points - 4


def test_being_dropped_counts_as_not_shown():
    """One picture each, then one candidate goes on: the good one is hardly ever that one."""
    harsh = promise.Plan(12, 8, 8, 0.2, rounds=(Round(1, 1), Round(96, 1)), families=EDITS)
    mild = promise.Plan(12, 8, 8, 0.2, rounds=(Round(36, 1), Round(96, 1)), families=EDITS)
    harsh_power, mild_power = (promise.simulated_power(np.array([0.35]), plan, 300)[0] for plan in (harsh, mild))
    assert harsh_power < 0.35
    assert mild_power > 2 * harsh_power


def test_what_counts_are_the_pictures_on_which_nobody_was_dropped():
    rounds = schedule(12, 96, 0.35)
    plan = promise.Plan(12, 8, 12, 0.2, rounds=rounds, families=EDITS)
    assert plan.fresh().sum() == 96 - chosen_on(12, rounds)
    assert promise.Plan(12, 8, 12, 0.2, families=EDITS).fresh().all()


@pytest.mark.parametrize("photos", [8, 12, 20])
def test_the_sign_patterns_of_a_promise_flip_every_photograph_alike(photos):
    patterns = promise._flips(photos)
    assert (patterns[0] == 1).all()
    assert np.abs(patterns[1:].mean(axis=0)).max() < 0.12
