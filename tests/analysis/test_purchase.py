"""What more pictures would bring: fewest photographs, and what a screening left unknown."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.small_worlds import FAMILIES, world
from whichlora.analysis import evidence, purchase
from whichlora.analysis.decide import decide
from whichlora.analysis.settings import Settings
from whichlora.analysis.simulate import table_of
from whichlora.plan.screening import Screening

SECONDS = {"base": 30.0, "angles": 30.0, "gone": 30.0}


def bought(table, seed=1, seconds=SECONDS):
    found = evidence.contenders(table, FAMILIES, Settings(), {})
    return found, purchase.next_purchase(table, found, FAMILIES, 0.7, seconds, seed=seed)


def test_a_purchase_is_the_fewest_photographs_that_probably_settle():
    planted = world({"base": (0.3,) * 4, "angles": (0.93,) * 4}, photos=6, seeds=1)
    table = table_of(planted, np.random.default_rng(3))
    found, one = bought(table)
    assert not decide(found, FAMILIES, 0.7).firm
    assert one.photos in purchase.PURCHASES
    assert purchase.WANTED <= one.probability <= 1
    future = purchase._Future(purchase._Question(table, found, FAMILIES, 0.7, (0.0,) * 4, False), 1)
    assert all(future.settled(n) < purchase.WANTED for n in purchase.PURCHASES if n < one.photos)
    # Eight cells a photograph, two rows, 30 seconds each.
    assert one.hours == one.photos * 8 * 2 * 30 / 3600


def screened(rate_of_gone, steps):
    """'angles' at the target's edge was measured to the end; 'gone' was dropped after a few photographs."""
    planted = world({"base": (0.3,) * 4, "angles": (0.3, 0.9, 0.9, 0.9), "gone": (rate_of_gone,) * 4}, photos=20)
    table = table_of(planted, np.random.default_rng(8))
    cut = {}
    for name in ("passed", "scored", "whole_passed", "whole_scored"):
        cut[name] = getattr(table, name).copy()
        cut[name][2, :, steps:] = 0
    return replace(table, screening=Screening(out={"gone": 16 * steps}, planned=3), **cut)


def test_what_is_not_known_of_the_dropped_is_not_promised_to_settle():
    """'gone' may still do everything: photographs of the others settle nothing, however many."""
    table = screened(0.6, 3)
    found, one = bought(table)
    left = [c for c in found if not c.out]
    assert decide(left, FAMILIES, 0.7).firm
    assert not decide(found, FAMILIES, 0.7).firm
    assert one.full
    # New photographs of all rows in play, and what 'gone' lacks of the old ones.
    fresh = one.photos / 20 * sum(table.planned[name] for name in one.rows)
    assert one.hours == pytest.approx((fresh + table.planned["gone"] - 48) * 30 / 3600)
    unaided = purchase._Future(purchase._Question(table, found, FAMILIES, 0.7, (0.0,) * 4, False), 3)
    assert unaided.settled(80) == 0


def test_a_dropped_candidate_that_is_shown_to_fail_needs_no_pictures():
    found, one = bought(screened(0.02, 12))
    assert all(high < 0.7 for high in next(c for c in found if c.out).high)
    assert decide(found, FAMILIES, 0.7).firm
    assert one.probability > 0.9


def test_pictures_that_cannot_be_scored_are_not_expected_to_become_scorable():
    planted = world({"base": (0.3,) * 4, "angles": (0.95,) * 4}, photos=8, seeds=1)
    table = table_of(planted, np.random.default_rng(3))
    silent = np.zeros_like(table.unscored)
    silent[1, :, ::2] = table.scored[1, :, ::2]
    half = replace(table, unscored=silent, passed=np.where(silent > 0, 0, table.passed),
                   scored=table.scored - silent)
    _, one = bought(half)
    assert one.probability < 0.1
