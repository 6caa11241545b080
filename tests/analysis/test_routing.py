"""Routing is chosen exactly when it is truly best, and no choice is judged by the photographs that made it."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.small_worlds import FAMILIES
from whichlora.analysis.evidence import Costs
from whichlora.analysis.routing import route
from whichlora.analysis.simulate import World, table_of


def world(rows, photos=16, edits=2, seeds=2):
    return World({name: dict(zip(FAMILIES, rates, strict=True)) for name, rates in rows.items()}, photos, edits, seeds,
                 0.05)


SPLIT = {"base": (0.3,) * 4, "a": (0.95, 0.95, 0.3, 0.3), "b": (0.3, 0.3, 0.95, 0.95)}
WHOLE = {**SPLIT, "c": (0.95,) * 4}


def judged(rows, seed=0, **options):
    return route(table_of(world(rows), np.random.default_rng(seed)), FAMILIES, **options)


def test_complementary_rows_are_routed_and_one_good_row_is_not():
    found = judged(SPLIT)
    assert found.chosen
    assert found.routes == {"camera": "a", "lighting": "a", "background": "b", "expression": "b"}
    assert found.gain.value == pytest.approx(0.325, abs=0.1)
    assert found.stability == 1.0
    whole = judged(WHOLE)
    assert not whole.chosen
    assert whole.single == "c"


def test_equal_rows_are_never_routed_by_luck():
    """The naive gain of picking the best of six per capability is large; the cross-fitted one is none."""
    rows = {"base": (0.6,) * 4, **{f"lora-{i}": (0.6,) * 4 for i in range(5)}}
    chosen, gains, naive = 0, [], []
    for seed in range(120):
        table = table_of(world(rows, photos=8, edits=1, seeds=1), np.random.default_rng(seed))
        found = route(table, FAMILIES)
        chosen += found.chosen
        gains.append(found.gain.value)
        rates = (table.passed / table.scored).mean(axis=2)
        naive.append(rates.max(axis=0).mean() - rates.mean(axis=1).max())
    assert chosen <= 6
    assert abs(np.mean(gains)) < 0.03
    assert np.mean(naive) > 0.05


def test_time_of_switching_counts_and_can_bar():
    costs = {name: Costs(10.0, 20.0) for name in SPLIT}
    found = judged(SPLIT, costs=costs, switch_seconds=6.0)
    assert found.seconds == pytest.approx(10 + 0.5 * 6)
    assert found.single_seconds == 10.0
    assert found.chosen
    assert not judged(SPLIT, costs=costs, switch_seconds=6.0, max_seconds=12.0).chosen
    assert judged(SPLIT, costs=costs, switch_seconds=1.0, max_seconds=12.0).chosen
    assert not judged(SPLIT, costs=costs, max_memory_gib=16.0).chosen
    assert judged(SPLIT, costs=costs).notes == ("switching was not timed",)
    assert judged(SPLIT).seconds is None


def test_too_little_gives_no_judgement():
    table = table_of(world(SPLIT), np.random.default_rng(0))
    assert route(table, FAMILIES[:1]) is None
    assert route(table, ("identity", "artefacts")) is None
    one = table_of(world(SPLIT, photos=1), np.random.default_rng(0))
    assert route(one, FAMILIES) is None
    empty = replace(table, scored=np.zeros_like(table.scored), passed=np.zeros_like(table.passed))
    assert route(empty, FAMILIES) is None


def test_a_photograph_without_scores_is_left_out_and_not_counted_as_failed():
    table = table_of(world(SPLIT), np.random.default_rng(0))
    scored, passed = table.scored.copy(), table.passed.copy()
    scored[:, :, 0] = passed[:, :, 0] = 0
    found = route(replace(table, scored=scored, passed=passed), FAMILIES)
    assert found.rate.photos == 15
    assert found.rate.value > 0.85
