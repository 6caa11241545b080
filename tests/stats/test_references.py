"""Every estimator with a closed form against an independent package or formula, to 1e-6 on a thousand random sets.

| estimator | reference |
|---|---|
| Wilson | statsmodels `proportion_confint` |
| intraclass correlation | scipy `f_oneway` (statsmodels `anova_lm` in test_rates) |
| paired t interval, non-inferiority | scipy `ttest_rel`, statsmodels `ttost_paired` |
| sign flips | scipy `permutation_test` (test_paired) |
| Holm, max-t | statsmodels `multipletests`, a naive step-down here |
| clustered variance of a mean | statsmodels `OLS`, `cov_type='cluster'` |
| Bradley–Terry, its clustered covariance | statsmodels `Logit`, `cov_type='cluster'` (choix in test_pairwise) |
| Davidson ties and side | scipy `minimize` on a likelihood written out here |
| confidence sequence | scipy `betabinom`, `binom` and `brentq` |
| Krippendorff's alpha | krippendorff |
| AUC, tau-b | scipy `mannwhitneyu`, pairs counted here |
| TOPSIS, Pareto, SMAA | scipy `cdist`, pairs compared here, exact share of weights (two criteria) |
| PPI++ | the published closed form (test_sequence_screening_ppi) |
| power | statsmodels `TTestPower` (test_power) |

Estimators without a closed form (shrinkage, mixture, screening) are graded by planted truths. Where the reference fits
a model for every set, few are checked by default and a thousand with --slow.
"""

from itertools import product

import krippendorff
import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import brentq, minimize
from scipy.spatial.distance import cdist
from scipy.stats import betabinom, binom, f_oneway, mannwhitneyu, ttest_rel
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import ttost_paired

from whichlora.analysis import robust
from whichlora.analysis.robust import Draws
from whichlora.stats import paired, rates
from whichlora.stats.agreement import _tau, auc, krippendorff_alpha
from whichlora.stats.multiple import holm, max_t
from whichlora.stats.pairwise import LEFT, TIE, fit_strengths, simulate_votes
from whichlora.stats.ppi import powered_rate
from whichlora.stats.sequence import confidence_sequence, log_evidence

SETS = 1_000
FITS = [pytest.param(25, id="few"), pytest.param(SETS, id="all", marks=pytest.mark.slow)]


def sets(count=SETS, seed=0):
    rng = np.random.default_rng(seed)
    return (np.random.default_rng(rng.integers(2**32)) for _ in range(count))


def test_wilson():
    rng = np.random.default_rng(0)
    n = rng.integers(1, 900, SETS)
    x = rng.integers(0, n + 1)
    expected = proportion_confint(x, n, method="wilson")
    assert np.array(rates.wilson(x / n, n)) == pytest.approx(np.array(expected), abs=1e-6)


def test_intraclass_correlation():
    for rng in sets():
        cells = rng.integers(2, 7, int(rng.integers(3, 9)))
        passed = rng.binomial(cells, rng.beta(2, 1, len(cells)))
        if 0 < passed.sum() < cells.sum() and np.any((passed > 0) & (passed < cells)):
            f = f_oneway(*(np.arange(m) < x for x, m in zip(passed, cells, strict=True))).statistic
            size = (cells.sum() - (cells**2).sum() / cells.sum()) / (len(cells) - 1)
            assert rates.icc_anova(passed, cells) == pytest.approx(np.clip((f - 1) / (f + size - 1), 0, 1), abs=1e-6)
            assert rates.pooled_icc([(passed, cells)]) == pytest.approx(rates.icc_anova(passed, cells), abs=1e-9)


def test_paired_interval_and_non_inferiority(monkeypatch):
    monkeypatch.setattr(paired, "PRIOR_WEIGHT", 0.0)
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0.3, 0.7, (2, SETS, 8))
    interval = ttest_rel(a, b, axis=1).confidence_interval(0.95)
    low, high, *_ = paired.difference_bounds(a, b, 4)
    assert low == pytest.approx(interval.low, abs=1e-6)
    assert high == pytest.approx(interval.high, abs=1e-6)
    margin, told = 0.12, {"shown": 0, "open": 0, "worse": 0}
    for first, second in zip(a, b, strict=True):
        state = paired.non_inferior(paired.paired_difference(first, second, 4), margin)
        told[state] += 1
        # The lower of the two one-sided tests of an equivalence test, at 2.5 %.
        assert (state == "shown") == (ttost_paired(first, second, -margin, 9.0)[1][1] < 0.025)
    assert min(told["shown"], told["open"]) > 50


def test_holm(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda *_: 0)  # statsmodels collects garbage in every call
    for rng in sets():
        p = rng.uniform(0, 1, int(rng.integers(1, 20))) ** 3
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-6)


def test_max_t():
    signs = np.array(list(product((1, -1), repeat=6)))
    for rng in sets():
        d = rng.normal(0.4, 1, (6, 3)) + rng.normal(0, 1, (6, 1))
        sums = np.abs(signs @ (d / np.linalg.norm(d, axis=0)))
        expected, last = np.ones(3), 0.0
        for rank, column in enumerate(order := np.argsort(-sums[0])):
            last = max(last, (sums[:, order[rank:]].max(axis=1) >= sums[0, column] - 1e-9).mean())
            expected[column] = last
        assert max_t(d) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("count", FITS)
def test_clustered_variance_of_a_mean(count):
    for rng in sets(count):
        photo = np.repeat(np.arange(8), 4)
        y = (rng.random(32) < rng.beta(2, 2, 8)[photo]).astype(float)
        if not 0.1 < y.mean() < 0.9:
            continue
        fit = sm.OLS(y, np.ones(32)).fit(cov_type="cluster", cov_kwds={"groups": photo})
        independent = y.var() / 32
        error = max(float(fit.cov_params()[0, 0]), independent) ** 0.5
        found = powered_rate(y, y, [], photo, [])
        size = y.mean() * (1 - y.mean()) / error**2
        low, high = rates.wilson(y.mean(), size, rates.t_quantile(0.975, 7))
        assert (found.low, found.high) == pytest.approx((float(low), float(high)), abs=1e-6)


def votes(rng, items, count, tie):
    pairs = [tuple(rng.choice(items, 2, replace=False)) for _ in range(count)]
    outcome = simulate_votes(rng.normal(0, 0.5, items), pairs, rng, tie)
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs]), np.array(outcome)


@pytest.mark.parametrize("count", FITS)
def test_bradley_terry_and_its_clustered_covariance(count):
    for rng in sets(count):
        items, photos = 4, rng.integers(0, 9, 120)
        left, right, outcome = votes(rng, items, 120, 0.0)
        design = np.eye(items)[left] - np.eye(items)[right]
        fit = sm.Logit((outcome == LEFT).astype(float), design[:, 1:]).fit(
            disp=0, method="newton", tol=1e-12, cov_type="cluster", cov_kwds={"groups": photos})
        mine = fit_strengths(items, left, right, outcome, photos, prior_sd=None)
        assert mine.theta[1:] - mine.theta[0] == pytest.approx(fit.params, abs=1e-6)
        contrast = np.column_stack([-np.ones(items - 1), np.eye(items - 1)])
        # statsmodels also multiplies by (n − 1) / (n − k), which is for regressions.
        factor = (120 - items + 1) / 119
        assert contrast @ mine.clustered @ contrast.T == pytest.approx(fit.cov_params() * factor, abs=1e-6)


@pytest.mark.parametrize("count", FITS)
def test_davidson(count):
    for rng in sets(count, seed=3):
        left, right, outcome = votes(rng, 3, 90, 0.6)
        mine = fit_strengths(3, left, right, outcome, rng.integers(0, 9, 90))

        def loss(v, left=left, right=right, outcome=outcome):
            s = v[left] - v[right] + v[3]
            u = np.stack([s / 2, -s / 2, np.full(len(s), v[4])])
            chosen = u[outcome, np.arange(len(s))] - np.logaddexp.reduce(u)
            return 0.5 * (v[:3] ** 2).sum() / 4 + 0.5 * v[3] ** 2 / 0.25 + 0.5 * v[4] ** 2 / 4 - chosen.sum()

        def slope(v, loss=loss):
            return [(loss(v + step) - loss(v - step)) / 2e-5 for step in 1e-5 * np.eye(5)]

        best = minimize(loss, np.zeros(5), jac=slope, method="BFGS", options={"gtol": 1e-8})
        mean = best.x[:3].mean()
        at = np.array([*mine.theta + mean, mine.side, np.log(mine.tie)])
        assert at == pytest.approx(best.x, abs=1e-6)
        assert (outcome == TIE).any()


def test_confidence_sequence():
    rng = np.random.default_rng(2)
    n = rng.integers(1, 300, SETS)
    x, p = rng.integers(0, n + 1), rng.uniform(0.02, 0.98, SETS)
    expected = betabinom.logpmf(x, n, 1, 1) - binom.logpmf(x, n, p)
    assert log_evidence(x, n, p) == pytest.approx(expected, abs=1e-6)
    for wins, trials in zip(x[:100], n[:100], strict=True):
        low, high = confidence_sequence(int(wins), int(trials))

        def over(rate, wins=wins, trials=trials):
            return betabinom.logpmf(wins, trials, 1, 1) - binom.logpmf(wins, trials, rate) + np.log(0.05)

        guess = np.clip(wins / trials, 1e-9, 1 - 1e-9)
        assert low == pytest.approx(brentq(over, 1e-9, guess, xtol=1e-12) if over(1e-9) > 0 and wins else 0, abs=1e-6)
        top = brentq(over, guess, 1 - 1e-9, xtol=1e-12) if over(1 - 1e-9) > 0 and wins < trials else 1
        assert high == pytest.approx(top, abs=1e-6)


def test_krippendorff():
    for level in ("nominal", "ordinal", "interval"):
        for rng in sets(SETS // 3 + 1):
            table = np.clip(rng.integers(1, 6, 12) + rng.integers(-1, 2, (3, 12)), 1, 5).astype(float)
            table[rng.random(table.shape) < 0.2] = np.nan
            known = krippendorff.alpha(reliability_data=table, level_of_measurement=level)
            assert krippendorff_alpha(table, level) == pytest.approx(known, abs=1e-6)


def test_auc_and_tau():
    rng = np.random.default_rng(4)
    for count in (3, 8, 13, 17):
        values = rng.integers(0, 6, (SETS // 4, 20)).astype(float)
        known = mannwhitneyu(values[:, :count], values[:, count:], axis=1).statistic / (count * (20 - count))
        found = [auc(row, np.arange(20) < count) for row in values]
        assert found == pytest.approx(known.tolist(), abs=1e-6)
    for rng in sets():
        values, ratings = rng.integers(0, 6, 20).astype(float), rng.integers(1, 6, 20).astype(float)
        x, y = (np.sign(v[:, None] - v[None, :]) for v in (values, ratings))
        tau = (x * y).sum() / np.sqrt((x != 0).sum() * (y != 0).sum())
        assert _tau(values, ratings) == pytest.approx(tau, abs=1e-6)


def test_topsis():
    for rng in sets():
        m, w = rng.uniform(0.01, 1, (5, 4)), rng.dirichlet(np.ones(4))
        scaled = m / np.linalg.norm(m, axis=0) * w
        far, near = (cdist(scaled, end[None])[:, 0] for end in (scaled.min(axis=0), scaled.max(axis=0)))
        assert robust.topsis(m, w) == pytest.approx(far / (far + near), abs=1e-6)


def test_pareto():
    for rng in sets():
        rates_ = rng.integers(0, 4, (6, 4, 2)) / 4
        free = [[not any(all(b >= a) and any(b > a) for b in one) for a in one] for one in rates_]
        found = robust.pareto(Draws(tuple("abcd"), ("x", "y"), rates_))
        assert list(found.values()) == pytest.approx(np.mean(free, axis=0).tolist(), abs=1e-6)


def test_smaa():
    """Two criteria: a row is first for an interval of weights, whose length follows from where the lines cross."""
    draws = 2_000
    for number, rng in enumerate(sets(200)):
        rows = rng.uniform(0, 1, (4, 2))
        found = robust.acceptability(Draws(tuple("abcd"), ("x", "y"), np.tile(rows, (draws, 1, 1))), number)
        slope, start = rows[:, 0] - rows[:, 1], rows[:, 1]
        cross = [-(start[i] - start[j]) / (slope[i] - slope[j]) for i in range(4) for j in range(i)]
        edges = np.array(sorted({0.0, 1.0, *(c for c in cross if 0 < c < 1)}))
        middle = (edges[1:] + edges[:-1]) / 2
        first = (start[:, None] + slope[:, None] * middle).argmax(axis=0)
        for row, name in enumerate("abcd"):
            share = float(np.diff(edges)[first == row].sum())
            assert found[name]["first"] == pytest.approx(share, abs=5 * np.sqrt(0.25 / draws))
