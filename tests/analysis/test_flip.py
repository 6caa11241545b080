"""The flip card is exact: the stated change flips, nine tenths of it do not, and nothing smaller does."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))
from lab.planted import FOLDER
from lab.reanalysed import checked

from analysis.small_worlds import PLANTED, rng
from whichlora.analysis.decide import Contender, Row, decide
from whichlora.analysis.flip import Flip, choice, flips
from whichlora.analysis.rated import changed, exact
from whichlora.analysis.simulate import table_of

MUST = ("x", "y", "z")


def random_case(rng):
    found = []
    for i in range(int(rng.integers(2, 5))):
        lean, half = rng.uniform(0.3, 1.0, 3), rng.uniform(0.02, 0.2, 3)
        kind = "base" if i == 0 else str(rng.choice(["single", "stack"]))
        found.append(Contender(f"c{i}", kind, tuple(lean - half), tuple(lean + half), tuple(lean),
                               bool(rng.random() < 0.3)))
    return found


def after(found, flip, share):
    if flip.kind == "target":
        return decide(found, MUST, 0.7 + share * flip.change)
    at = MUST.index(flip.what)
    return decide([c.shifted(at, share * flip.change) if c.name == flip.candidate else c for c in found], MUST, 0.7)


@pytest.mark.parametrize("seed", range(5))
def test_stated_changes_flip_and_smaller_ones_do_not(seed):
    rng = np.random.default_rng(seed)
    said = 0
    for _ in range(25):
        found = random_case(rng)
        now = decide(found, MUST, 0.7)
        for flip in flips(found, MUST, 0.7, {}):
            said += 1
            assert choice(after(found, flip, 1.0)) != choice(now)
            assert choice(after(found, flip, 1.0)) == choice(flip.row)
            for share in (0.9, 0.5, 0.1, 0.99):
                assert choice(after(found, flip, share)) == choice(now), (flip, share)
    assert said > 40


def test_nothing_nearer_is_missed():
    """A fine grid of changes never flips before the stated one."""
    rng = np.random.default_rng(9)
    for _ in range(15):
        found = random_case(rng)
        now = decide(found, MUST, 0.7)
        stated = next((f for f in flips(found, MUST, 0.7, {}) if f.kind == "target"), None)
        reach = abs(stated.change) if stated else 0.25
        for step in np.linspace(-reach, reach, 61)[1:-1]:
            if 0 < 0.7 + step <= 1 and abs(step) < reach - 1e-6:
                assert choice(decide(found, MUST, 0.7 + step)) == choice(now)


def test_photographs_that_carry_the_choice_are_named():
    found = random_case(np.random.default_rng(0))
    now = decide(found, MUST, 0.7)
    card = flips(found, MUST, 0.7, {
        ("photo", "photo-1"): lambda: now, ("photo", "photo-2"): lambda: Row("custom", None, "gone", True)})
    assert [flip.what for flip in card if flip.kind == "photo"] == ["photo-2"]


@pytest.mark.parametrize("world", [
    "14-custom-do-nothings", pytest.param("15-few-needed", marks=pytest.mark.slow),
    pytest.param("08-routes-through-base", marks=pytest.mark.slow)])
def test_stated_changes_flip_the_whole_analysis_of_a_recorded_project(world):
    """Each project is changed as its card says and analysed anew; bench/truthlab.py --only flips does all twenty."""
    found = checked(FOLDER / f"{world}.json")
    assert {kind for kind, _, _ in found} >= {"target", "rate"}
    assert all(full for _, full, _ in found)
    assert not any(ninth for _, _, ninth in found)


def test_a_card_promises_nothing_where_the_measurement_is_not_believed():
    assert checked(FOLDER / "20-broken-metric.json") == []


@pytest.mark.parametrize("change", [0.02, -0.3])
def test_a_measured_rate_is_moved_by_exactly_what_is_said(change):
    table = table_of(PLANTED["existing"][0], rng())
    passed, scored = table.counts(1, "lighting")
    after, _ = changed(table, 1, "lighting", change).counts(1, "lighting")
    assert (after / scored).mean() == pytest.approx((passed / scored).mean() + change)
    assert ((after >= 0) & (after <= scored)).all()
    assert changed(table, 1, "lighting", 0.9) is None
    assert np.array_equal(changed(table, 1, "identity", -0.1).passed, table.passed)


def test_an_exact_flip_is_found_whether_the_proposal_is_too_large_or_too_small():
    now, other = Row("custom", None, "", True), Row("hybrid", None, "a", True)
    for proposal in (0.05, 0.1234, 0.25):
        found = exact([Flip("rate", "x", "a", -proposal, 0.0, other)], now,
                      lambda _c, _m, change: other if change <= -0.123 else now)
        assert 0.123 <= -found[0].change <= 0.123 / 0.95
    assert exact([Flip("rate", "x", "a", 0.2, 0.0, other)], now, lambda *_: now) == []
    assert exact([Flip("rate", "x", "a", 0.2, 0.0, other)], now, lambda *_: None) == []


def test_another_target_leaves_thresholds_of_their_own_alone():
    """Nothing hangs on the target where every must-have has its own threshold."""
    case = [Contender("base", "base", (0.5,) * 3, (0.6,) * 3, (0.55,) * 3),
            Contender("a", "single", (0.75,) * 3, (0.9,) * 3, (0.8,) * 3)]
    assert next(f for f in flips(case, MUST, 0.7, {}) if f.kind == "target").change == pytest.approx(0.05, abs=1e-6)
    assert [f for f in flips(case, MUST, 0.7, {}, (True,) * 3) if f.kind == "target"] == []
    # One must-have is free to move: it alone is what flips.
    one = [replace(case[0]), replace(case[1], low=(0.72, 0.75, 0.75))]
    flip = next(f for f in flips(one, MUST, 0.7, {}, (False, True, True)) if f.kind == "target")
    assert flip.change == pytest.approx(0.02, abs=1e-6)
