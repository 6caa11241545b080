"""Draws of true rates under a prior that the rates themselves tell."""

import numpy as np
import pytest
from scipy.stats import beta

from whichlora.stats.mixture import mixture_draws


def test_one_rate_alone_is_close_to_the_conjugate_posterior():
    """With one rate the even part rules: quantiles lie near those of a Beta posterior under an even prior."""
    drawn = mixture_draws([0.6], [200.0], 20_000, np.random.default_rng(0))[:, 0]
    assert np.quantile(drawn, [0.05, 0.5, 0.95]) == pytest.approx(beta(121, 81).ppf([0.05, 0.5, 0.95]), abs=0.025)


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
