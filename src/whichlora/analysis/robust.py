"""How far the choice hangs on weights and on luck: draws, acceptability, Pareto, TOPSIS, value of information.

Does: describe robustness. Does not: choose (`decide.py` does) or say what more pictures would bring (`purchase.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichlora.analysis import evidence
from whichlora.analysis.table import Table
from whichlora.stats.shrinkage import draw, probability_best

Floats = NDArray[np.float64]


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
