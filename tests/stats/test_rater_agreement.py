"""Agreement figures equal independent libraries, and their intervals cover planted truths."""

import krippendorff
import numpy as np
import pytest
from scipy.stats import kendalltau, mannwhitneyu

from whichlora.stats.agreement import (
    alpha_interval,
    auc,
    clustered_auc,
    clustered_tau,
    krippendorff_alpha,
)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("seed", range(15))
def test_alpha_equals_the_reference_library(level, seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, 6, 40)
    table = np.clip(truth + rng.integers(-1, 2, (int(rng.integers(2, 5)), 40)), 1, 5).astype(float)
    table[rng.random(table.shape) < 0.3] = np.nan
    known = krippendorff.alpha(reliability_data=table, level_of_measurement=level)
    assert krippendorff_alpha(table, level) == pytest.approx(known, abs=1e-9)


def test_alpha_has_no_value_without_two_voters_or_variety():
    assert krippendorff_alpha([[1, 2, 3, np.nan]]) is None
    assert krippendorff_alpha([[3, 3, 3], [3, 3, 3]]) is None
    assert alpha_interval(np.full((1, 0), np.nan), []).value is None
    assert "two raters" in alpha_interval([[1.0, 2.0]], [0, 1]).note


def test_alpha_interval_spans_the_estimate_and_knows_full_agreement():
    rng = np.random.default_rng(0)
    truth = rng.integers(1, 6, 60).astype(float)
    photos = np.repeat(np.arange(12), 5)
    noisy = alpha_interval(np.stack([truth, np.clip(truth + rng.integers(-1, 2, 60), 1, 5)]), photos)
    assert noisy.low < noisy.value < noisy.high
    assert alpha_interval(np.stack([truth, truth]), photos).low == pytest.approx(1)


@pytest.mark.parametrize("seed", range(10))
def test_auc_equals_the_rank_sum(seed):
    rng = np.random.default_rng(seed)
    values, good = rng.integers(0, 8, 50).astype(float), rng.random(50) < 0.4
    known = mannwhitneyu(values[good], values[~good]).statistic / (good.sum() * (~good).sum())
    assert auc(values, good) == pytest.approx(known)
    assert clustered_auc(values, good, np.arange(50)).value == pytest.approx(known)


def test_auc_interval_without_clusters_is_the_one_of_delong():
    # DeLong's variance written out from pairs, as an independent reference.
    rng = np.random.default_rng(4)
    good = rng.random(400) < 0.5
    values = rng.normal(0, 1, 400) + 0.8 * good
    a, b = values[good], values[~good]
    psi = (a[:, None] > b[None, :]) + 0.5 * (a[:, None] == b[None, :])
    known = np.sqrt(psi.mean(1).var(ddof=1) / len(a) + psi.mean(0).var(ddof=1) / len(b))
    figure = clustered_auc(values, good, np.arange(400))
    assert (figure.high - figure.low) / 2 / 1.966 == pytest.approx(known, rel=0.03)


def test_auc_interval_holds_for_new_photographs_and_a_blind_metric_touches_chance():
    rng = np.random.default_rng(6)
    held = blind = 0
    for _ in range(200):
        photos = np.repeat(np.arange(15), 8)
        shift = rng.normal(0, 0.7, 15)[photos]
        good = rng.random(120) < 0.6
        values = shift + rng.normal(0, 1, 120)
        figure = clustered_auc(values, good, photos)
        blind += figure.low <= 0.5 <= figure.high
        # True area of value = shift + noise + 1.2·good over new photographs: P(N(1.2, 2(1 + 0.49)) > 0).
        seen = clustered_auc(values + 1.2 * good, good, photos)
        held += seen.low <= 0.7566 <= seen.high
    assert blind / 200 >= 0.92
    assert held / 200 >= 0.92


def test_one_kind_only_has_no_area():
    assert auc([1, 2, 3], [True, True, True]) is None
    assert clustered_auc([1.0, 2.0], [True, True], [0, 1]).note


def test_tau_b_equals_scipy_and_says_when_there_is_no_interval():
    rng = np.random.default_rng(2)
    values, ratings = rng.normal(size=40), rng.integers(1, 6, 40).astype(float)
    figure = clustered_tau(values, ratings, np.repeat(np.arange(8), 5))
    assert figure.value == pytest.approx(kendalltau(values, ratings)[0])
    assert figure.low < figure.value < figure.high
    assert clustered_tau(values, ratings, np.zeros(40)).low is None
    assert clustered_tau(values, np.full(40, 3.0), np.arange(40)).value is None
