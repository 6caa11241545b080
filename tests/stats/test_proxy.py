"""A cheaper sampler may propose only where it is shown to rank alike."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from whichlora.stats.proxy import Agreement, rank_agreement


def passes(rng, rates, steps):
    return (rng.random((len(rates), steps)) < np.asarray(rates)[:, None]).astype(float)


def test_it_is_spearmans_correlation_of_the_rates():
    rng = np.random.default_rng(0)
    a, b = passes(rng, np.linspace(0.1, 0.9, 10), 40), passes(rng, np.linspace(0.1, 0.9, 10), 40)
    found = rank_agreement(a, b, [str(i % 8) for i in range(40)])
    assert found.value == pytest.approx(spearmanr(a.mean(axis=1), b.mean(axis=1)).statistic, abs=1e-9)
    assert found.low <= found.value <= found.high
    assert found.trusted


def test_a_sampler_that_knows_nothing_is_hardly_ever_trusted():
    rng = np.random.default_rng(1)
    photos = [str(i % 20) for i in range(20)]
    trusted = 0
    for _ in range(120):
        full, other = rng.uniform(0.2, 0.9, 10), rng.uniform(0.2, 0.9, 10)
        trusted += rank_agreement(passes(rng, full, 20), passes(rng, other, 20), photos, draws=100).trusted
    assert trusted / 120 <= 0.05 + 3 * np.sqrt(0.05 / 120)


def test_the_opposite_and_the_silent_are_not_trusted():
    rng = np.random.default_rng(2)
    rates = np.linspace(0.1, 0.9, 8)
    photos = [str(i % 10) for i in range(40)]
    assert rank_agreement(passes(rng, rates, 40), passes(rng, rates[::-1], 40), photos).high < 0
    assert not rank_agreement(passes(rng, rates, 40), np.ones((8, 40)), photos).trusted
    assert not rank_agreement(passes(rng, rates, 40), np.full((8, 40), np.nan), photos).trusted
    assert rank_agreement(np.ones((3, 40)), np.ones((3, 40)), photos) == Agreement(0.0, -1.0, 1.0)
    with pytest.raises(ValueError, match="same candidates and steps"):
        rank_agreement(np.ones((6, 4)), np.ones((6, 5)), ["a"] * 4)
