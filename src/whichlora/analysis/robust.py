"""How far the choice hangs on weights and on luck: draws, acceptability, Pareto, TOPSIS, value of information.

Does: describe robustness and price the next purchase. Does not: choose (`decide.py` does).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichlora.analysis import evidence
from whichlora.analysis.decide import Contender, possible_strategies
from whichlora.analysis.table import Table
from whichlora.findings import State
from whichlora.stats.mixture import mixture_draws
from whichlora.stats.rates import expected_size, t_quantile, wilson
from whichlora.stats.shrinkage import draw, probability_best

Floats = NDArray[np.float64]

PURCHASES = (5, 10, 15, 20, 30, 40, 60, 80)
"""Numbers of additional photographs that are tried."""
WANTED = 0.8
"""Probability of settling the question at which a purchase is worth naming."""
STATES: tuple[State, ...] = ("PASS", "FAIL", "OPEN")
WORLDS = 200
"""Simulated futures per purchase."""


@dataclass(frozen=True)
class Draws:
    """Joint draws of every row's rates."""

    names: tuple[str, ...]
    """Rows in play."""
    capabilities: tuple[str, ...]
    """Edit families."""
    rates: Floats
    """Shape (draws, rows, capabilities)."""


def joint_draws(table: Table, capabilities: Sequence[str], draws: int, seed: int) -> Draws:
    """Draw the rates of all rows in play, capability by capability; those without any data are left out."""
    rows = evidence.in_play(table)
    rng = np.random.default_rng(seed)
    names, found = [], []
    for capability in capabilities:
        posterior = evidence.shrunken(table, rows, capability) if rows else None
        if posterior is not None:
            names.append(capability)
            found.append(draw(posterior, draws, rng))
    rates = np.stack(found, axis=2) if found else np.empty((draws, len(rows), 0))
    return Draws(tuple(table.candidates[row].name for row in rows), tuple(names), rates)


def best_probabilities(draws: Draws) -> dict[str, float]:
    """Probability of the highest equally weighted rate, by name."""
    if draws.rates.shape[2] == 0 or not draws.names:
        return {}
    return dict(zip(draws.names, probability_best(draws.rates.mean(axis=2)).tolist(), strict=True))


def rank_ranges(draws: Draws) -> dict[str, tuple[int, int]]:
    """Best and worst rank by the equally weighted rate that the middle 95 % of the draws leave possible, by name.

    Equal draws share the better rank.
    """
    if draws.rates.shape[2] == 0 or not draws.names:
        return {}
    overall = draws.rates.mean(axis=2)
    # Position by value, ascending; ties take the place of the first, as the better rank is theirs to share.
    ordered = np.sort(overall, axis=1)
    found = {}
    for at, name in enumerate(draws.names):
        ranks = 1 + (ordered > overall[:, at : at + 1]).sum(axis=1)
        low, high = np.quantile(ranks, [0.025, 0.975], method="inverted_cdf")
        found[name] = (int(low), int(high))
    return found


def acceptability(draws: Draws, seed: int) -> dict[str, dict[str, object]]:
    """SMAA with uniformly random weights: how often each row comes first, and the weights that favour it.

    Returns:
        Name → 'first' (share of draws), 'confidence' (share under its own central weights) and 'weights'
        (capability → central weight). Source: Lahdelma & Salminen (2001), Oper. Res. 49, 444–454.
    """
    count, rows, columns = draws.rates.shape
    if rows == 0 or columns == 0:
        return {}
    weights = np.random.default_rng(seed + 1).dirichlet(np.ones(columns), count)
    first = np.einsum("drc,dc->dr", draws.rates, weights).argmax(axis=1)
    result: dict[str, dict[str, object]] = {}
    for at, name in enumerate(draws.names):
        mine = first == at
        central = weights[mine].mean(axis=0) if mine.any() else np.full(columns, 1 / columns)
        confident = float(((draws.rates @ central).argmax(axis=1) == at).mean())
        result[name] = {
            "first": float(mine.mean()), "confidence": confident,
            "weights": dict(zip(draws.capabilities, central.tolist(), strict=True)),
        }
    return result


def pareto(draws: Draws, most: int = 2_000) -> dict[str, float]:
    """Probability that no other row is at least as good everywhere and better somewhere."""
    rates = draws.rates[:most]
    if rates.shape[1] == 0 or rates.shape[2] == 0:
        return {}
    result = {}
    for at, name in enumerate(draws.names):
        no_worse = np.all(rates >= rates[:, at : at + 1], axis=2)
        ahead = np.any(rates > rates[:, at : at + 1], axis=2)
        result[name] = float((~np.any(no_worse & ahead, axis=1)).mean())
    return result


def topsis(matrix: Floats, weights: Floats | None = None) -> Floats:
    """Closeness to the ideal row, 0 to 1, higher is better. Source: Hwang & Yoon (1981).

    Args:
        matrix: Rows × benefit criteria.
        weights: Criterion weights; equal by default.
    """
    m = np.asarray(matrix, dtype=float)
    w = np.full(m.shape[1], 1 / m.shape[1]) if weights is None else np.asarray(weights, dtype=float)
    norm = np.sqrt((m**2).sum(axis=0))
    scaled = w * m / np.where(norm > 0, norm, 1.0)
    far, near = scaled.min(axis=0), scaled.max(axis=0)
    to_near = np.sqrt(((scaled - near) ** 2).sum(axis=1))
    to_far = np.sqrt(((scaled - far) ** 2).sum(axis=1))
    total = to_near + to_far
    return np.where(total > 0, to_far / np.where(total > 0, total, 1.0), 0.5)


def information_value(draws: Draws) -> dict[str, float]:
    """Expected gain in the equally weighted rate from knowing one capability exactly before choosing (EVPPI).

    Capabilities are drawn independently and the score is their mean, so the inner expectation is exact.
    """
    count = draws.rates.shape[2]
    if count == 0 or not draws.names:
        return {}
    means = draws.rates.mean(axis=0)
    now = float(means.mean(axis=1).max())
    return {
        name: max(0.0, float(
            ((draws.rates[:, :, c] + (means.sum(axis=1) - means[:, c])[None, :]) / count).max(axis=1).mean()
        ) - now)
        for c, name in enumerate(draws.capabilities)
    }


def information_per_hour(
    draws: Draws, table: Table, seconds: Mapping[str, float | None],
) -> dict[str, float]:
    """Value of knowing a capability exactly over the hours that one more photograph of it takes, all rows in play.

    Returns:
        Capability → gain in the equally weighted rate per hour of generation; empty where no row was timed.
    """
    value = information_value(draws)
    rows = [(name, table.index(name)) for name in draws.names]
    found = {}
    for name, gain in value.items():
        at = table.families.index(name) if name in table.families else None
        if at is None or any(seconds.get(row) is None for row, _ in rows):
            continue
        cells = table.scored[:, at] + table.unscored[:, at]
        photos = max(1, int((cells.sum(axis=0) > 0).sum()))
        hours = sum(float(seconds[row] or 0.0) * float(cells[i].sum()) for row, i in rows) / photos / 3600
        if hours > 0:
            found[name] = gain / hours
    return found


@dataclass(frozen=True, slots=True)
class Purchase:
    """What more photographs would probably bring."""

    photos: int
    """Photographs to add."""
    probability: float
    """Probability that the decision is then firm."""
    hours: float | None
    """Generation time for the rows still in play, on the machine that was measured."""
    rows: tuple[str, ...]
    """Rows that must be run on them."""


def next_purchase(
    table: Table, found: Sequence[Contender], must: Sequence[str], target: float, seconds: Mapping[str, float | None],
    *, seed: int, easing: Sequence[float] = (),
) -> Purchase | None:
    """Fewest photographs after which the decision is probably firm, by simulating futures.

    What the rates may truly be is drawn under a prior whose shape all rates together tell: draws that pull the
    candidates of one capability to each other leave too many near the target. A future photograph's noise follows
    the mean correlation in the table, and bounds are computed as in the report.

    Returns:
        None without contenders or photographs; otherwise the smallest purchase that settles with `WANTED`
        probability, or the largest one tried.
    """
    if len(table.photos) < 2 or not found or not must:
        return None
    rates = [evidence.capability_rate(table, table.index(c.name), name) for c in found for name in must]
    if any(rate is None for rate in rates):
        return None
    known = [rate for rate in rates if rate is not None]
    shape = (len(found), len(must))
    value = np.array([rate.value for rate in known]).reshape(shape)
    each = float(np.mean([rate.cells / rate.photos for rate in known]))
    icc = max(0.02, float(np.mean([rate.icc for rate in known])))
    sizes = np.array([rate.n_eff for rate in known]).reshape(shape)
    truths = mixture_draws(value, sizes, WORLDS, np.random.default_rng(seed + 2))
    best = Purchase(0, 0.0, None, ())
    for extra in PURCHASES:
        question = (found, must, target, tuple(easing) or (0.0,) * len(must))
        share = _settled(truths, value, (len(table.photos), extra, each, icc), question, seed)
        best = Purchase(extra, share, *_price(table, found, target, seconds, extra))
        if share >= WANTED:
            break
    return best


def _settled(
    truths: Floats, value: Floats, design: tuple[int, int, float, float],
    question: tuple[Sequence[Contender], Sequence[str], float, Sequence[float]], seed: int,
) -> float:
    """Share of simulated futures in which the decision is firm.

    `design` is photographs now, photographs to add, cells per photograph and their correlation.
    """
    found, must, target, easing = question
    photos, extra, each, icc = design
    rng = np.random.default_rng(seed + 3)
    fresh = extra * each / (1 + (each - 1) * icc)
    noise = rng.standard_normal(truths.shape) * np.sqrt(truths * (1 - truths) / fresh)
    seen = np.clip(truths + noise, 0.0, 1.0)
    pooled = (photos * value + extra * seen) / (photos + extra)
    size, dof = expected_size(pooled, photos + extra, each, icc)
    low, high = (bound + np.array(easing) for bound in wilson(pooled, size, t_quantile(0.95, dof)))
    codes = np.where(low >= target, 0, np.where(high < target, 1, 2)).astype(np.int8)
    codes[:, [c.barred for c in found]] = 1
    kinds = [c.kind for c in found]
    # Few tables of states exist, however many futures are drawn: each is decided once.
    tables, counts = np.unique(codes.reshape(len(codes), -1), axis=0, return_counts=True)
    firm = sum(
        int(count) for states, count in zip(tables, counts, strict=True)
        if len(possible_strategies(kinds, [[STATES[code] for code in row] for row in states.reshape(value.shape)],
                                   must)) == 1
    )
    return firm / len(truths)


def _price(
    table: Table, found: Sequence[Contender], target: float, seconds: Mapping[str, float | None], extra: int,
) -> tuple[float | None, tuple[str, ...]]:
    """Hours and rows: base, and everything that is not out already."""
    names = tuple(
        c.name for c in found if c.kind == "base" or not all(s == "FAIL" for s in c.states(target))
    )
    each = [seconds.get(name) for name in names]
    if not names or any(value is None for value in each) or not table.photos:
        return None, names
    cells = sum(
        float(seconds[name] or 0.0) * table.planned.get(name, 0) / len(table.photos) for name in names
    )
    return extra * cells / 3600, names


