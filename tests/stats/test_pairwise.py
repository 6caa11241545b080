"""Paired votes: the fit equals an independent library, finds planted strengths, and its intervals hold."""

import choix
import numpy as np
import pytest

from whichlora.stats.pairwise import (
    LEFT,
    RIGHT,
    TIE,
    fit_strengths,
    probability_best,
    simulate_votes,
    top_two_pairs,
    votes_until_separate,
)


def play(theta, votes, rng, *, tie=0.3, side=0.0, photos=10, effect=0.0):
    """Votes on random pairs; `effect`: spread of strengths between photographs."""
    moved = np.asarray(theta)[:, None] + rng.normal(0, effect, (len(theta), photos))
    left, right, outcome, photo = [], [], [], []
    for _ in range(votes):
        i, j = rng.choice(len(theta), 2, replace=False)
        k = int(rng.integers(photos))
        shifted = moved[:, k].copy()
        shifted[i] += side
        left.append(i)
        right.append(j)
        photo.append(k)
        outcome.append(simulate_votes(shifted, [(i, j)], rng, tie)[0])
    return left, right, outcome, photo


@pytest.mark.parametrize("seed", range(20))
def test_without_ties_and_prior_it_is_the_plain_bradley_terry_model(seed):
    rng = np.random.default_rng(seed)
    items = int(rng.integers(3, 8))
    left, right, outcome, photo = play(rng.normal(0, 0.6, items), 250, rng, tie=0.0)
    wins = [(a, b) if y == LEFT else (b, a) for a, b, y in zip(left, right, outcome, strict=True)]
    known = choix.opt_pairwise(items, wins, alpha=0, method="BFGS", tol=1e-10)
    mine = fit_strengths(items, left, right, outcome, photo, prior_sd=None).theta
    assert mine == pytest.approx(known - known.mean(), abs=1e-4)


def test_the_slope_of_the_likelihood_is_zero_at_the_fit():
    # An independent check of the tie and side terms: numerical slopes of a likelihood written out here.
    rng = np.random.default_rng(3)
    left, right, outcome, photo = play([0.8, 0.0, -0.4], 400, rng, tie=0.7, side=0.4)
    fitted = fit_strengths(3, left, right, outcome, photo)

    def loss(values):
        theta, side, eta = values[:3], values[3], values[4]
        total = -0.5 * (theta**2).sum() / 4 - 0.5 * side**2 / 0.25 - 0.5 * eta**2 / 4
        for a, b, y in zip(left, right, outcome, strict=True):
            s = theta[a] - theta[b] + side
            weights = np.exp([s / 2, -s / 2, eta])
            total += np.log(weights[y] / weights.sum())
        return total

    at = np.array([*fitted.theta, fitted.side, np.log(fitted.tie)])
    for direction in np.eye(5):
        slope = (loss(at + 1e-4 * direction) - loss(at - 1e-4 * direction)) / 2e-4
        assert slope == pytest.approx(0, abs=1e-3)


def test_planted_strengths_side_and_ties_are_found():
    rng = np.random.default_rng(1)
    theta = np.array([1.0, 0.3, -0.3, -1.0])
    fitted = fit_strengths(4, *play(theta, 6000, rng, tie=0.5, side=0.35))
    assert fitted.theta == pytest.approx(theta, abs=0.15)
    assert fitted.side == pytest.approx(0.35, abs=0.1)
    assert fitted.tie == pytest.approx(0.5, abs=0.06)


def test_intervals_hold_for_new_photographs():
    rng = np.random.default_rng(2)
    theta = np.array([0.5, 0.0, 0.0, -0.5])
    held = 0
    for _ in range(150):
        fitted = fit_strengths(4, *play(theta, 160, rng, photos=12, effect=0.6))
        contrast = fitted.contrast(0, 1)
        held += contrast.low <= 0.5 <= contrast.high
    assert held / 150 >= 0.92


def test_one_item_that_always_wins_stays_finite_and_one_without_votes_is_uncertain():
    fitted = fit_strengths(3, [0] * 8, [1] * 8, [LEFT] * 8, list(range(8)))
    assert np.isfinite(fitted.theta).all()
    assert fitted.theta[0] > fitted.theta[1]
    unseen, seen = fitted.against_mean(2), fitted.contrast(0, 1)
    assert unseen.high - unseen.low > 2
    assert np.isfinite([seen.low, seen.high]).all()


def test_no_votes_at_all_leave_everything_equal():
    fitted = fit_strengths(5, [], [], [], [])
    assert fitted.theta == pytest.approx(0)
    assert probability_best(fitted, np.random.default_rng(0)) == pytest.approx(0.2, abs=0.05)
    assert votes_until_separate(fitted)[2] is None


@pytest.mark.parametrize(
    ("left", "right", "outcome"), [([0], [0], [LEFT]), ([0], [5], [RIGHT]), ([0, 1], [1], [TIE])]
)
def test_votes_that_cannot_be_are_refused(left, right, outcome):
    with pytest.raises(ValueError, match="vote"):
        fit_strengths(3, left, right, outcome, [0] * len(left))


def test_top_two_pairs_sum_to_one_and_prefer_the_leaders():
    pairs = top_two_pairs([0.5, 0.4, 0.1, 0.0])
    assert pairs.sum() == pytest.approx(1)
    assert pairs[0, 1] == pairs.max()
    assert (np.tril(pairs) == 0).all()
    certain = top_two_pairs([1.0, 0.0, 0.0])
    assert np.isfinite(certain).all()
    assert certain[0, 1] == pytest.approx(certain[0, 2])


def test_votes_left_shrink_as_votes_come_in_and_end_at_zero():
    rng = np.random.default_rng(5)
    left, right, outcome, photo = play([1.2, 0.0], 400, rng)
    counts = [votes_until_separate(fit_strengths(2, left[:n], right[:n], outcome[:n], photo[:n]))[2]
              for n in (6, 20, 400)]
    assert counts[0] is None
    assert counts[1] is None or counts[1] > 0
    assert counts[2] == 0


def test_the_number_of_votes_left_is_about_right():
    """From 30 votes on, the announced number is within a factor of three of what it took, in most sessions."""
    right_often = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        votes = play([0.9, 0.0], 600, rng, photos=20)
        said = votes_until_separate(fit_strengths(2, *(v[:30] for v in votes)), share=1.0)[2]
        if not said:
            continue
        took = next((n for n in range(32, 600, 4)
                     if votes_until_separate(fit_strengths(2, *(v[:n] for v in votes)))[2] == 0), 600) - 30
        right_often.append(said / 3 <= took <= said * 3 + 20)
    assert np.mean(right_often) >= 0.6
