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


def test_a_promise_of_80_percent_is_kept():
    rng = np.random.default_rng(1)
    photos, cells, candidates, icc = 12, 8, 6, 0.2
    gain = power.detectable_points(photos, cells, icc, candidates) / 100
    spread = np.sqrt(icc / (1 - icc)) * 1.0
    shown = 0
    for _ in range(200):
        shared = rng.normal(0, spread * np.sqrt(0.5), (photos, 1, 1))
        own = rng.normal(0, spread * np.sqrt(0.5), (photos, candidates + 1, 1))
        rate = np.array([0.5, 0.5 + gain] + [0.5] * (candidates - 1))
        cut = norm.ppf(rate) * np.sqrt(1 + spread**2)
        passed = (rng.normal(size=(photos, candidates + 1, cells)) + shared + own < cut[None, :, None]).mean(axis=2)
        shown += max_t(passed[:, 1:] - passed[:, :1])[0] <= 0.05
    # The latent correlation is above that of the 0/1 cells, so power is a little above the promise.
    assert 0.70 <= shown / 200 <= 0.92


def test_photographs_to_settle():
    near, far = (power.photos_to_settle(value, 0.7, 4, 0.2) for value in (0.75, 0.9))
    assert near > far >= 2
    assert power.photos_to_settle(0.71, 0.7, 4, 0.2) is None
    assert power.photos_to_settle(0.5, 0.7, 4, 0.2) == pytest.approx(power.photos_to_settle(0.9, 0.7, 4, 0.2), rel=0.6)
