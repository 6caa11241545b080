"""Draws of true rates under a prior that the rates themselves tell."""

import numpy as np
import pytest
from scipy.stats import beta

from whichlora.stats.mixture import mixture_draws, mixture_means


def test_many_equal_rates_are_taken_for_what_they_are_together():
    """A hundred rates around 0.6: means lie near 0.6, nearer than what was measured; extremes stay within 0..1."""
    rng = np.random.default_rng(0)
    seen = rng.binomial(10, 0.6, 100) / 10
    means = mixture_means(seen, np.full(100, 10.0))
    assert np.abs(means - 0.6).mean() < 0.5 * np.abs(seen - 0.6).mean()
    assert mixture_means([[0.0, 1.0]], [[5.0, 5.0]]).shape == (1, 2)
    assert ((mixture_means([0.0, 1.0], [1.0, 500.0]) > 0) & (mixture_means([0.0, 1.0], [1.0, 500.0]) < 1)).all()


def test_a_rate_worth_much_is_left_alone():
    """As beside a Beta posterior under an even prior: with 2,000 cells the mean hardly moves."""
    assert mixture_means([0.6, 0.1], [2_000.0, 2_000.0])[0] == pytest.approx(beta(1201, 801).mean(), abs=0.012)


def test_two_heaps_stay_two_heaps():
    """Rates of 0.1 and 0.9: hardly a draw falls between, where a normal prior would put many."""
    rng = np.random.default_rng(1)
    truth = rng.choice((0.1, 0.9), 40)
    drawn = mixture_draws(rng.binomial(10, truth) / 10, np.full(40, 10.0), 500, rng)
    assert ((drawn > 0.4) & (drawn < 0.6)).mean() < 0.05
    assert np.abs(drawn.mean(axis=0) - truth).mean() < 0.08


@pytest.mark.parametrize("spread", ["even", "heaps"])
def test_draws_are_as_wide_as_the_truth_is_uncertain(spread):
    """90 % ranges hold the truth nine times in ten, whatever the shape of the spread."""
    rng = np.random.default_rng(2)
    hits = []
    for _ in range(100):
        truth = rng.uniform(0.3, 0.97, 28) if spread == "even" else rng.choice((0.25, 0.5, 0.92), 28)
        drawn = mixture_draws(rng.binomial(20, truth) / 20, np.full(28, 20.0), 400, rng)
        low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
        hits.append(((low - 0.02 <= truth) & (truth <= high + 0.02)).mean())
    assert 0.86 < np.mean(hits) <= 1
