"""Live badges, screening, and few labels with many judgements."""

import numpy as np
import pytest
from scipy.stats import betabinom, binom

from whichlora.stats.ppi import powered_rate
from whichlora.stats.screening import (
    Round,
    chosen_on,
    cost,
    fields,
    in_turns,
    photographs_first,
    reject,
    run,
    schedule,
    standing,
    survivors,
)
from whichlora.stats.sequence import confidence_sequence, log_evidence, shown_above


@pytest.mark.parametrize(("x", "n", "p"), [(3, 10, 0.5), (0, 7, 0.2), (50, 60, 0.7)])
def test_evidence_is_the_ratio_of_beta_binomial_to_binomial(x, n, p):
    expected = betabinom.logpmf(x, n, 1, 1) - binom.logpmf(x, n, p)
    assert float(log_evidence(x, n, p)) == pytest.approx(expected, abs=1e-9)


def test_continuous_looking_keeps_the_level():
    rng = np.random.default_rng(0)
    wins = np.cumsum(rng.random((800, 400)) < 0.7, axis=1)
    n = np.arange(1, 401)
    crossed = (log_evidence(wins, n, 0.7) > -np.log(0.05)).any(axis=1)
    assert crossed.mean() <= 0.05
    assert not shown_above(0, 0, 0.7)
    assert not shown_above(7, 10, 0.7)
    assert shown_above(100, 100, 0.7)


@pytest.mark.parametrize(("x", "n"), [(0, 0), (0, 20), (20, 20), (12, 20), (140, 200)])
def test_the_sequence_contains_the_estimate_and_refutes_its_edges(x, n):
    low, high = confidence_sequence(x, n)
    assert 0 <= low <= (x / n if n else 0.5) <= high <= 1
    bar = -np.log(0.05)
    if low > 0:
        assert float(log_evidence(x, n, low)) == pytest.approx(bar, abs=1e-6)
    if high < 1:
        assert float(log_evidence(x, n, high)) == pytest.approx(bar, abs=1e-6)
    with pytest.raises(ValueError, match="between 0 and trials"):
        confidence_sequence(5, 3)


@pytest.mark.parametrize("candidates", [2, 4, 7, 12, 20])
@pytest.mark.parametrize("finalists", [1, 2, 3])
def test_a_schedule_keeps_its_budget(candidates, finalists):
    rounds = schedule(candidates, 160, 0.35, finalists)
    if candidates <= finalists:
        assert rounds == ()
        return
    left, seen, spent = candidates, 0, 0
    for stage in rounds:
        assert stage.steps >= seen
        assert stage.keep <= left
        spent += left * (stage.steps - seen)
        left, seen = stage.keep, stage.steps
    assert left == finalists
    assert spent <= 0.35 * candidates * 160


def test_steps_visit_every_photograph_before_any_twice():
    photos = ["a", "a", "a", "b", "b", "c"]
    order = [photos[i] for i in photographs_first(photos)]
    assert order == ["a", "b", "c", "a", "b", "a"]
    assert sorted(photographs_first(photos)) == list(range(6))


def test_the_truly_best_survives():
    rng = np.random.default_rng(1)
    rates = np.array([0.85] + [0.6] * 11)
    hits = 0
    for _ in range(200):
        cells = (rng.random((12, 320)) < rates[:, None]).astype(float)
        alive, spent = run(lambda who, steps, c=cells: c[list(who), :steps], 12, schedule(12, 320))
        hits += alive[0] == 0
        assert spent <= 0.35 * 12 * 320
    assert hits / 200 >= 0.95


def test_rejecting_keeps_the_number_asked_for_also_among_equals():
    assert reject(np.ones((5, 3)), 2) == (0, 1)
    assert reject([[0, 0], [1, 1], [0, 1]], 2) == (1, 2)
    assert reject([[1.0], [0.0]], 5) == (0, 1)


def test_finalists_are_measured_in_full_and_rounds_grow():
    rounds = schedule(12, 80, 0.35)
    assert [stage.keep for stage in rounds] == [8, 5, 3, 2, 2]
    assert rounds[-1].steps == 80
    assert cost(12, rounds) <= 0.35 * 12 * 80
    assert fields(20, 2) == (20, 13, 8, 5, 3, 2)
    # Too little to complete anybody: the early rounds get their share all the same.
    short = schedule(12, 80, 0.1)
    assert short[0].steps >= 3
    assert short[-1].steps < 80
    assert schedule(12, 80, 0.001) == ()


def test_figures_leave_out_the_steps_on_which_many_were_cut():
    rounds = schedule(12, 80, 0.35)
    assert chosen_on(12, rounds) == rounds[2].steps
    assert chosen_on(3, schedule(3, 40, 0.8)) == 0
    # A short run keeps at least half of its pictures for figures.
    assert chosen_on(7, (Round(3, 4), Round(6, 2), Round(8, 2))) == 3


def test_photographs_and_capabilities_take_turns():
    photos = [p for p in "abcd" for _ in range(8)]
    families = ["camera", "camera", "light", "light", "place", "place", "face", "face"] * 4
    order = in_turns(photos, families)
    assert sorted(order) == list(range(32))
    for steps in (4, 8, 12, 16):
        first = order[:steps]
        assert {photos[i] for i in first} == set("abcd")
        counts = [sum(families[i] == family for i in first) for family in ("camera", "light", "place", "face")]
        assert max(counts) - min(counts) <= 1


def test_an_unasked_capability_decides_nothing():
    overall, rates, told = standing([[1, 1, np.nan], [1, 0, np.nan]], ["x", "x", "y"])
    assert overall.tolist() == [0.75, 0.5]
    assert rates[:, 1].tolist() == [0.5, 0.5]
    assert told.tolist() == [[2, 0], [2, 0]]


def test_a_specialist_stays_although_it_is_behind_overall():
    families = ["x"] * 20 + ["y"] * 20
    good = second = [1] * 20 + [1] * 8 + [0] * 12
    special = [0] * 20 + [1] * 20
    assert survivors([good, second, special], families, 2) == (0, 2)
    assert survivors([good, second, special], families, 1) == (0,)
    almost = [0] * 20 + [1] * 9 + [0] * 11
    assert survivors([good, second, almost], families, 2) == (0, 1)


def labelled(rng, judge, photos=20, asked=3):
    photo = np.repeat(np.arange(photos), 30)
    own = np.clip(0.7 + rng.normal(0, 0.1, photos), 0.05, 0.95)
    y = (rng.random(photos * 30) < own[photo]).astype(float)
    f = judge(y, rng)
    chosen = np.zeros(len(y), bool)
    for k in range(photos):
        chosen[k * 30 + rng.choice(30, asked, replace=False)] = True
    return y, f, chosen, photo


def good(y, rng):
    return np.clip(y * 0.7 + 0.15 + rng.normal(0, 0.15, len(y)), 0, 1)


def adversarial(y, rng):
    return 1 - good(y, rng)


@pytest.mark.parametrize(("judge", "most"), [(good, 0.75), (adversarial, 1.05), (lambda y, r: r.random(len(y)), 1.05)])
def test_labels_with_a_judge_cover_and_are_never_much_wider(judge, most):
    rng = np.random.default_rng(2)
    hits, both, alone = 0, 0.0, 0.0
    for _ in range(400):
        y, f, chosen, photo = labelled(rng, judge)
        found = powered_rate(y[chosen], f[chosen], f[~chosen], photo[chosen], photo[~chosen])
        only = powered_rate(y[chosen], f[chosen], [], photo[chosen], [])
        hits += found.low <= 0.7 <= found.high
        both += found.high - found.low
        alone += only.high - only.low
    assert hits / 400 >= 0.93 - 3 * np.sqrt(0.07 * 0.93 / 400)
    assert both / alone <= most


def test_with_one_cell_a_photograph_it_is_the_published_estimator():
    rng = np.random.default_rng(3)
    y = (rng.random(400) < 0.7).astype(float)
    f = y + rng.normal(0, 0.5, 400)
    g = (rng.random(4_000) < 0.7) + rng.normal(0, 0.5, 4_000)
    found = powered_rate(y, f, g, np.arange(400), 1_000 + np.arange(4_000))
    # PPI++'s closed-form weight for a mean, from its own covariance formula.
    weight = np.cov(y, f)[0, 1] / ((1 + 400 / 4_000) * np.var(np.concatenate([f, g]), ddof=1))
    assert found.weight == pytest.approx(weight, rel=0.08)
    same_sample = np.cov(y, f, ddof=0)[0, 1] / (np.var(f) + 400 / 4_000 * np.var(g))
    assert found.weight == pytest.approx(same_sample, abs=1e-9)
    value = y.mean() + found.weight * (g.mean() - f.mean())
    assert found.value == pytest.approx(value, abs=1e-9)
    se = np.sqrt(np.var(y - found.weight * f) / 400 + found.weight**2 * np.var(g) / 4_000)
    assert (found.high - found.low) / 2 == pytest.approx(1.966 * se, rel=0.01)


def test_labels_alike_are_no_certainty_and_one_photograph_is_refused():
    found = powered_rate([1, 1, 1, 1], [1, 1, 1, 1], [], [0, 1, 2, 3], [])
    assert found.high - found.low > 0.05
    with pytest.raises(ValueError, match="two photographs"):
        powered_rate([1, 0], [1, 0], [], [0, 0], [])
