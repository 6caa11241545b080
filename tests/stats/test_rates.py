"""Rates: against statsmodels, in simulation, and at the edges."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from statsmodels.formula.api import ols
from statsmodels.stats.proportion import proportion_confint

from whichlora.stats import rates


@pytest.mark.parametrize(("successes", "n"), [(0, 7), (3, 10), (50, 60), (9, 9), (1, 500)])
def test_wilson_equals_statsmodels(successes, n):
    low, high = rates.wilson(successes / n, n)
    expected = proportion_confint(successes, n, method="wilson")
    assert (float(low), float(high)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_icc_equals_the_analysis_of_variance_of_statsmodels(seed):
    rng = np.random.default_rng(seed)
    cells = rng.integers(2, 9, 8)
    passed = rng.binomial(cells, rng.beta(2, 1, 8))
    rows = pd.DataFrame([
        {"photo": str(k), "pass_": float(i < passed[k])} for k in range(8) for i in range(cells[k])
    ])
    table = sm.stats.anova_lm(ols("pass_ ~ C(photo)", rows).fit())
    between, within = table["mean_sq"].to_numpy()
    n = cells.sum()
    size = (n - (cells**2).sum() / n) / 7
    expected = np.clip((between - within) / (between + (size - 1) * within), 0, 1)
    assert rates.icc_anova(passed, cells) == pytest.approx(expected, abs=1e-6)


def test_icc_is_sane_where_it_cannot_be_estimated():
    assert rates.icc_anova([3], [4]) == 0
    assert rates.icc_anova([1, 0, 1], [1, 1, 1]) == 0
    assert rates.icc_anova([4, 4], [4, 4]) == 0
    assert rates.icc_anova([4, 0, 4, 0], [4, 4, 4, 4]) == 1


def study(rng, repeats, photos, cells, icc, rate):
    own = np.full((repeats, photos), rate) if icc == 0 else rng.beta(
        rate * (1 / icc - 1), (1 - rate) * (1 / icc - 1), (repeats, photos))
    return rng.binomial(cells, own) / cells


@pytest.mark.parametrize("photos", [5, 8, 12, 20, 40])
@pytest.mark.parametrize("icc", [0.0, 0.2, 0.4])
def test_the_interval_for_new_photographs_covers(photos, icc):
    rng = np.random.default_rng(photos)
    for cells in (2, 4, 16):
        for rate in (0.5, 0.7, 0.9):
            low, high, floor, ceiling, _ = rates.new_photo_bounds(study(rng, 4_000, photos, cells, icc, rate), cells)
            covered = np.mean((low <= rate + 1e-12) & (rate <= high + 1e-12))
            assert covered >= 0.93 - 3 * np.sqrt(0.07 * 0.93 / 4_000), (cells, rate, covered)
            assert np.mean(floor > rate + 1e-12) <= 0.09
            assert np.mean(ceiling < rate - 1e-12) <= 0.12


def test_pooling_cells_would_not_cover():
    """The reason for all of this: an interval that takes cells for units misses most of the time."""
    y = study(np.random.default_rng(0), 4_000, 5, 100, 0.2, 0.7)
    low, high = rates.wilson(y.mean(axis=1), 500)
    assert np.mean((low <= 0.7) & (high >= 0.7)) < 0.6


def test_one_photograph_says_nothing_of_new_ones():
    found = rates.clustered_rate([7], [10])
    assert (found.low, found.high, found.floor, found.ceiling) == (0, 1, 0, 1)
    assert 0.3 < found.low_here < 0.7 < found.high_here < 1
    assert "one photograph" in found.note


@pytest.mark.parametrize("passed", [0, 4])
def test_all_or_none_is_no_certainty(passed):
    found = rates.clustered_rate([passed] * 10, [4] * 10)
    width = found.high - found.low
    assert 0.05 < width < 0.4
    assert found.low_here < found.high_here


def test_few_photographs_are_named():
    assert "direction only" in rates.clustered_rate([2, 3, 2, 3, 2], [4] * 5).note
    assert rates.clustered_rate([2, 3, 2, 3, 2, 3], [4] * 6).note == ""


def test_photographs_count_alike_and_empty_ones_not_at_all():
    found = rates.clustered_rate([10, 0, 0], [10, 1, 0])
    assert found.value == pytest.approx(0.5)
    assert found.photos == 2
    with pytest.raises(ValueError, match="at least one photograph"):
        rates.clustered_rate([0], [0])


def test_more_photographs_narrow_the_interval_and_more_seeds_hardly():
    few, seeds, photos = (
        rates.clustered_rate(np.tile([m, m, m // 2, 0], k // 4), [m] * k) for k, m in ((8, 4), (8, 64), (32, 4))
    )
    assert photos.high - photos.low < 0.7 * (few.high - few.low)
    assert seeds.high - seeds.low > 0.8 * (few.high - few.low)


def test_equal_weights_for_capabilities():
    passed = np.array([[1.0, 1.0, 1.0], [0.0, 0.5, 1.0]])
    values, cells = rates.pooled_capabilities(passed, np.full((2, 3), 2.0))
    assert values.mean() == pytest.approx((1.0 + 0.5) / 2)
    assert values == pytest.approx(passed.mean(axis=0))
    assert cells == pytest.approx(4)


def test_equal_weights_when_a_photograph_lacks_a_capability():
    passed = np.array([[1.0, 1.0, 0.0, 0.0], [0.4, np.nan, np.nan, 0.8]])
    cells = np.array([[2.0, 2, 2, 2], [5.0, 0, 0, 5]])
    values, _ = rates.pooled_capabilities(passed, cells)
    assert values.mean() == pytest.approx((0.5 + 0.6) / 2)
    # Linearisation: the variance is that of a sum of two independent means.
    expected = (np.var([1, 1, 0, 0]) / 4 / 4) + (np.var([0.4, 0.8]) / 2 / 4)
    cross = 2 * np.sum([(1 - 0.5) * (0.4 - 0.6), (0 - 0.5) * (0.8 - 0.6)]) / (2 * 4 * 2 * 2)
    assert np.var(values) / 4 == pytest.approx(expected + cross)


def test_one_correlation_for_many_rates_is_nearer_than_those_of_single_ones():
    rng = np.random.default_rng(1)
    pooled, single = [], []
    for _ in range(60):
        counts = [(study(rng, 1, 6, 4, 0.05, 0.7)[0] * 4, np.full(6, 4.0)) for _ in range(20)]
        pooled.append(rates.pooled_icc(counts))
        single.append(np.mean([rates.icc_anova(*count) for count in counts]))
    # Cut off at 0, single ones are too high on average.
    assert np.mean(pooled) == pytest.approx(0.05, abs=0.02)
    assert np.mean(single) > 0.08
    assert rates.pooled_icc([]) == 0
    # Of one rate it is the usual one.
    assert rates.pooled_icc(counts[:1]) == rates.icc_anova(*counts[0])
