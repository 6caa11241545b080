"""Shrunken draws, the winner's curse, probability of being best."""

import numpy as np
import pytest

from whichlora.stats import shrinkage
from whichlora.stats.winner import corrected_rate, split_rate


def study(rng, rates, photos=10, cells=8, icc=0.1):
    rates = np.asarray(rates)[:, None]
    own = rng.beta(rates * (1 / icc - 1), (1 - rates) * (1 / icc - 1), (len(rates), photos))
    return rng.binomial(cells, own) / cells


def test_the_best_of_twelve_equals_is_not_flattered():
    rng = np.random.default_rng(0)
    raw, corrected = [], []
    for _ in range(600):
        y = study(rng, [0.65] * 12)
        pick = int(y.mean(axis=1).argmax())
        raw.append(y[pick].mean() - 0.65)
        corrected.append(corrected_rate(y, 8, pick) - 0.65)
    assert np.mean(raw) > 0.06
    assert abs(np.mean(corrected)) < 0.015


def test_a_true_winner_keeps_its_rate():
    rng = np.random.default_rng(1)
    errors = [corrected_rate(study(rng, [0.9, 0.4, 0.5, 0.45, 0.5, 0.4], 12), 8, 0) - 0.9 for _ in range(300)]
    assert -0.05 < np.mean(errors) < 0.02


def test_split_photographs_are_unbiased():
    rng = np.random.default_rng(2)
    found = [split_rate(study(rng, [0.65] * 12), rng, 20) for _ in range(200)]
    assert np.mean(found) == pytest.approx(0.65, abs=0.01)
    with pytest.raises(ValueError, match="two photographs"):
        split_rate(np.ones((3, 1)), rng)


def test_draws_cover_the_truth():
    rng = np.random.default_rng(3)
    hits = []
    for _ in range(150):
        truth = rng.uniform(0.35, 0.9, 8)
        posterior = shrinkage.shrink(study(rng, truth, 12, 4, 0.15), 4)
        low, high = np.quantile(shrinkage.draw(posterior, 1_000, rng), [0.025, 0.975], axis=0)
        hits.append(((low <= truth) & (truth <= high)).mean())
    assert 0.90 < np.mean(hits) <= 1.0


def test_probability_best_shares_ties_and_sums_to_one():
    found = shrinkage.probability_best([[0.5, 0.5, 0.1], [0.2, 0.9, 0.1]])
    assert found == pytest.approx([0.25, 0.75, 0.0])


def test_probability_best_is_calibrated():
    rng = np.random.default_rng(4)
    told, came = [], []
    for _ in range(200):
        truth = rng.normal(0.6, 0.1, 6).clip(0.1, 0.95)
        best = shrinkage.probability_best(shrinkage.draw(shrinkage.shrink(study(rng, truth), 8), 500, rng))
        told.append(best.max())
        came.append(truth.argmax() == best.argmax())
    assert np.mean(told) == pytest.approx(np.mean(came), abs=0.1)


@pytest.mark.parametrize("values", [[[1.0, 1.0, 1.0]], [[0.0] * 4, [1.0] * 4], [[0.5], [0.7]], [[1.0] * 5] * 3])
def test_edges_stay_finite_and_between_0_and_1(values):
    posterior = shrinkage.shrink(np.array(values), 4)
    drawn = shrinkage.draw(posterior, 200, np.random.default_rng(0))
    assert np.isfinite(drawn).all()
    assert ((drawn >= 0) & (drawn <= 1)).all()
    assert ((posterior.weight >= 0) & (posterior.weight <= 1)).all()


def test_equal_rows_stay_equal():
    posterior = shrinkage.shrink(np.tile([0.5, 1.0, 0.0, 0.5, 1.0], (4, 1)), 2)
    assert posterior.rates() == pytest.approx(np.full(4, posterior.rates()[0]))
