"""Power and plans: against statsmodels and multivariate normals, and as promises kept."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm
from statsmodels.stats.power import TTestPower

from whichlora.stats import power
from whichlora.stats.multiple import max_t


def test_the_level_of_one_of_many_equals_the_multivariate_normal():
    level = power.single_level(3)
    critical = norm.isf(level / 2)
    rng = np.random.default_rng(0)
    z = multivariate_normal.rvs(cov=0.5 * np.eye(3) + 0.5, size=400_000, random_state=rng)
    assert (np.abs(z).max(axis=1) > critical).mean() == pytest.approx(0.05, abs=0.0015)
    assert power.single_level(1) == 0.05
    assert 0.05 / 20 < power.single_level(20) < 0.05


@pytest.mark.parametrize(("gain", "photos"), [(0.1, 12), (0.2, 20), (0.3, 40)])
def test_power_equals_statsmodels_with_one_photograph_given_away(gain, photos):
    sd = power.difference_sd(0.5, gain, 8, 0.2)
    effect = gain / sd * np.sqrt((photos - 1) / photos)
    expected = TTestPower().power(effect, photos, power.single_level(8))
    assert power.power(gain, photos, 8, 0.2, 8) == pytest.approx(expected, abs=1e-3)


def test_few_photographs_can_show_nothing():
    assert power.detectable_points(5, 100) is None
    assert power.detectable_points(20, 0) is None
    assert power.power(0.5, 5, 100, 0.1, 1) == 0


def test_photographs_help_more_than_seeds():
    start = power.detectable_points(10, 4)
    seeds = power.detectable_points(10, 16)
    photos = power.detectable_points(40, 4)
    assert start > seeds > photos > 0


@pytest.mark.parametrize(("photos", "cells", "candidates"), [(8, 8, 4), (16, 4, 6)])
def test_a_promise_of_80_percent_is_kept(photos, cells, candidates):
    """Few photographs are where the formula promises too much; the report's own test is asked."""
    rng = np.random.default_rng(1)
    gain = power.detectable_points(photos, cells, 0.2, candidates) / 100
    latent = np.sin(np.pi / 2 * 0.2)
    cut = norm.ppf([0.5, 0.5 + gain, *[0.5] * (candidates - 1)])
    shown, studies = 0, 800
    for _ in range(studies):
        effect = rng.normal(size=(1, photos, 1)) + rng.normal(size=(candidates + 1, photos, 1))
        cell = np.sqrt(latent / 2) * effect + np.sqrt(1 - latent) * rng.normal(size=(candidates + 1, photos, cells))
        passed = (cell < cut[:, None, None]).mean(axis=2)
        delta = (passed[1:] - passed[:1]).T
        shown += max_t(delta)[0] <= 0.05 and delta[:, 0].mean() > 0
    assert abs(shown / studies - 0.8) <= 0.03 + 2.5 * np.sqrt(0.16 / studies)


def test_what_cannot_be_shown_is_not_promised():
    assert power.rough_points(8, 4, 0.2, 4) is not None
    assert power.detectable_points(8, 4, 0.2, 4) is None
    assert power.detectable_points(20, 8, 0.2, 8, rate=0.95) is None


def test_photographs_to_settle():
    near, far = (power.photos_to_settle(value, 0.7, 4, 0.2) for value in (0.75, 0.9))
    assert near > far >= 2
    assert power.photos_to_settle(0.71, 0.7, 4, 0.2) is None
    assert power.photos_to_settle(0.5, 0.7, 4, 0.2) == pytest.approx(power.photos_to_settle(0.9, 0.7, 4, 0.2), rel=0.6)
