"""Holm and max-t: against statsmodels, by hand, and in simulation."""

from itertools import product

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from whichlora.stats.multiple import holm, max_t
from whichlora.stats.paired import sign_flip_p


@pytest.mark.parametrize("seed", range(20))
def test_holm_equals_statsmodels(seed):
    p = np.random.default_rng(seed).uniform(0, 1, 9) ** 3
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)


def test_one_comparison_is_the_plain_sign_flip_test():
    d = np.random.default_rng(3).normal(0.4, 1, 9)
    assert max_t(d[:, None])[0] == pytest.approx(sign_flip_p(d))


def by_hand(d):
    """Westfall and Young's step-down, written naively."""
    d = d / np.sqrt((d**2).sum(axis=0))
    observed = np.abs(d.sum(axis=0))
    order = np.argsort(-observed)
    flips = [np.abs((np.array(s)[:, None] * d).sum(axis=0)) for s in product((1, -1), repeat=len(d))]
    adjusted, last = np.ones(d.shape[1]), 0.0
    for rank, column in enumerate(order):
        rest = order[rank:]
        p = np.mean([max(f[rest]) >= observed[column] - 1e-9 for f in flips])
        last = max(last, p)
        adjusted[column] = last
    return adjusted


@pytest.mark.parametrize("seed", range(6))
def test_max_t_equals_a_naive_step_down(seed):
    rng = np.random.default_rng(seed)
    d = rng.normal(0, 1, (7, 5)) + rng.normal(0, 1, (7, 1)) + rng.choice([0, 1.0], 5)
    assert max_t(d) == pytest.approx(by_hand(d), abs=1e-12)


def test_columns_without_difference_or_evidence_are_not_significant():
    d = np.zeros((8, 3))
    d[:, 1] = 1.0
    d[:, 2] = np.nan
    assert max_t(d).tolist() == [1.0, pytest.approx(2 / 256), 1.0]
    with pytest.raises(ValueError, match="photographs × comparisons"):
        max_t(np.zeros(4))


def test_family_wise_error_and_power_over_holm():
    rng = np.random.default_rng(0)
    false, found, holm_found = 0, 0, 0
    for _ in range(300):
        base = rng.normal(0, 1, (10, 1))
        d = rng.normal(0, 1, (10, 30)) - base
        false += (max_t(d) <= 0.05).any()
        d[:, 0] += 2.6
        found += max_t(d)[0] <= 0.05
        holm_found += holm([sign_flip_p(column) for column in d.T])[0] <= 0.05
    assert false / 300 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert found > holm_found
