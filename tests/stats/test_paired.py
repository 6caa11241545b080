"""Paired differences and sign flips: against scipy, and in simulation."""

import numpy as np
import pytest
from scipy import stats

from whichlora.stats import paired


@pytest.mark.parametrize("seed", range(10))
def test_without_the_prior_it_is_the_paired_t_interval(seed, monkeypatch):
    monkeypatch.setattr(paired, "PRIOR_WEIGHT", 0.0)
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0.2, 0.8, 9), rng.uniform(0.2, 0.8, 9)
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    found = paired.paired_difference(a, b, 4)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("seed", range(5))
def test_sign_flip_equals_the_permutation_test_of_scipy(seed, alternative):
    d = np.random.default_rng(seed).normal(0.2, 1, 8).round(1)
    expected = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", alternative=alternative, n_resamples=np.inf).pvalue
    if alternative == "two-sided":
        # scipy doubles the smaller tail; for a symmetric null both count the same patterns.
        expected = min(1.0, expected)
    assert paired.sign_flip_p(d, alternative) == pytest.approx(expected, abs=1e-9)


def test_five_photographs_cannot_be_significant():
    found = paired.paired_difference([1.0] * 5, [0.0] * 5, 100)
    assert found.p_flip == pytest.approx(2 / 32)
    assert "direction only" in found.note
    assert paired.paired_difference([1.0] * 6, [0.0] * 6, 100).p_flip == pytest.approx(2 / 64)


def test_equal_differences_claim_no_certainty():
    found = paired.paired_difference([1.0] * 8, [0.5] * 8, 2)
    assert found.high - found.low > 0.1


def test_many_photographs_repeat_exactly_and_agree_with_normal_theory():
    d = np.random.default_rng(0).normal(0.3, 1, 40)
    first = paired.sign_flip_p(d)
    paired.sign_patterns.cache_clear()
    assert paired.sign_flip_p(d) == first
    assert first == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=0.02)


def test_one_photograph_and_bad_shapes():
    found = paired.paired_difference([0.5], [0.2], 4)
    assert (found.low, found.high) == (-1, 1)
    with pytest.raises(ValueError, match="equally long"):
        paired.paired_difference([0.1, 0.2], [0.1], 4)


@pytest.mark.parametrize("photos", [5, 8, 20])
def test_the_interval_covers(photos):
    rng = np.random.default_rng(photos)
    for cells, sd, (a, b) in ((2, 0.5, (0.9, 0.5)), (8, 0.5, (0.7, 0.6)), (2, 0.0, (0.9, 0.9))):
        base = rng.normal(0, sd, (3_000, photos, 1))
        quantiles = stats.norm.ppf([a, b]) * np.sqrt(1 + sd**2)
        own = rng.normal(size=(2, 3_000, photos, cells))
        first, second = ((own[i] + base < quantiles[i]).mean(axis=2) for i in range(2))
        low, high, low_here, high_here = paired.difference_bounds(first, second, cells)
        covered = np.mean((low <= a - b + 1e-12) & (a - b <= high + 1e-12))
        assert covered >= 0.93 - 3 * np.sqrt(0.07 * 0.93 / 3_000), (cells, sd, covered)
        assert (low_here <= high_here).all()


def test_not_worse_needs_evidence():
    def made(low, high):
        return paired.Difference(0, low, high, low, high, 1, 10)

    assert paired.non_inferior(made(-0.04, 0.1), 0.05) == "shown"
    assert paired.non_inferior(made(-0.06, 0.1), 0.05) == "open"
    assert paired.non_inferior(made(-0.2, -0.06), 0.05) == "worse"
    with pytest.raises(ValueError, match="above 0"):
        paired.non_inferior(made(0, 1), 0)
