"""A rate over photographs that each carry several cells: two intervals, and what the photographs have in common.

Does: point estimate, interval for NEW photographs, interval for THESE photographs, one-sided bounds, intraclass
correlation. Does not: compare two candidates (`paired.py`) or correct for having picked the best (`winner.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

Floats = NDArray[np.float64]

ICC_PRIOR_MEAN = 0.40
ICC_PRIOR_SD = 0.20
"""Weak prior on the intraclass correlation of photographs, worth a handful of photographs where each carries many
cells and much where each carries two. Chosen in simulation so that the 95 % interval covers at least 93 % for 5–40
photographs, correlations 0–0.4 and rates 50–90 %; with few photographs an estimated correlation of 0 is no evidence
of 0."""


@dataclass(frozen=True, slots=True)
class RateInterval:
    """A rate with its two 95 % intervals and its one-sided bounds; all between 0 and 1."""

    value: float
    """Mean over photographs."""
    low: float
    """Lower end for new photographs of the same kind."""
    high: float
    """Upper end of the same."""
    low_here: float
    """Lower end for exactly these photographs and instructions, under new seeds."""
    high_here: float
    """Upper end of the same."""
    floor: float
    """One-sided 95 % lower bound for new photographs."""
    ceiling: float
    """One-sided 95 % upper bound for new photographs."""
    icc: float
    """Intraclass correlation of cells within a photograph, 0 to 1 (moments, not shrunken)."""
    n_eff: float
    """Independent cells that the evidence is worth for new photographs."""
    photos: int
    """Photographs with at least one cell."""
    cells: float
    """Cells, or their equivalent when weights are unequal."""
    note: str = ""
    """What a reader must know."""


def wilson(value: ArrayLike, n: ArrayLike, quantile: ArrayLike = 1.959963984540054) -> tuple[Floats, Floats]:
    """Wilson score interval of a proportion.

    Args:
        value: Observed proportion(s), 0 to 1.
        n: Number of independent trials (need not be whole), > 0.
        quantile: Standard normal or t quantile.

    Returns:
        Lower and upper ends, clipped to 0..1. Source: Wilson (1927), JASA 22, 209–212.
    """
    p, size, q = (np.asarray(item, dtype=float) for item in (value, n, quantile))
    ratio = q * q / size
    centre = (p + ratio / 2) / (1 + ratio)
    half = q * np.sqrt(np.maximum(p * (1 - p), 0.0) / size + q * q / (4 * size * size)) / (1 + ratio)
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)


def icc_anova(successes: ArrayLike, cells: ArrayLike) -> float:
    """Intraclass correlation of 0/1 cells within photographs, by one-way analysis of variance.

    Args:
        successes: Passed cells per photograph, shape (K,).
        cells: Cells per photograph, shape (K,).

    Returns:
        Between 0 and 1; 0 where it cannot be estimated (one photograph, one cell each, or no variation).
        Source: Donner & Koval (1980), Biometrics 36, 19–25.
    """
    between, within, size = _mean_squares(successes, cells)
    total = between + (size - 1) * within
    if total <= 0:
        return 0.0
    return float(np.clip((between - within) / total, 0.0, 1.0))


def _mean_squares(successes: ArrayLike, cells: ArrayLike) -> tuple[float, float, float]:
    """Mean squares between and within photographs and the cells per photograph; zeros where there is no telling."""
    x, m = np.asarray(successes, dtype=float), np.asarray(cells, dtype=float)
    keep = m > 0
    x, m = x[keep], m[keep]
    k, n = len(m), float(m.sum())
    if k < 2 or n <= k:
        return 0.0, 0.0, 1.0
    rate = x / m
    grand = x.sum() / n
    between = float((m * (rate - grand) ** 2).sum()) / (k - 1)
    within = float((m * rate * (1 - rate)).sum()) / (n - k)
    return between, within, (n - float((m * m).sum()) / n) / (k - 1)


def pooled_icc(counts: Sequence[tuple[Floats, Floats]]) -> float:
    """One intraclass correlation for many rates, by the analysis of variance of all together.

    With few photographs the correlation of a single rate is mostly noise, and one that is cut off at 0 is too high on
    average.

    Args:
        counts: Passed and scored cells per photograph, (K,) each, of every rate.

    Returns:
        Between 0 and 1; 0 where it cannot be estimated.
    """
    apart = total = 0.0
    for passed, scored in counts:
        between, within, size = _mean_squares(passed, scored)
        apart += between - within
        total += between + (size - 1) * within
    return float(np.clip(apart / total, 0.0, 1.0)) if total > 0 else 0.0


def effective_size(values: ArrayLike, cells_per_photo: float) -> tuple[Floats, float]:
    """How many independent cells the photographs are worth for a statement about new photographs.

    The variance of the photograph means is shrunken towards the one that `ICC_PRIOR_MEAN` implies, as a scaled
    chi-square whose degrees of freedom match `ICC_PRIOR_SD`. With one cell a photograph nothing needs estimating
    and the effective size is the number of photographs.

    Args:
        values: Photograph means, shape (…, K), K ≥ 2.
        cells_per_photo: Cells per photograph (may be fractional), ≥ 1.

    Returns:
        Effective size, shape (…), between K and K × cells, and the degrees of freedom of the t quantile.
    """
    y = np.asarray(values, dtype=float)
    return _size(y.mean(-1), y.var(-1, ddof=1), y.shape[-1], max(float(cells_per_photo), 1.0))


def _size(value: Floats, variance: Floats, k: int, m: float) -> tuple[Floats, float]:
    """Effective size and degrees of freedom from mean and variance of k photograph means of m cells."""
    n = k * m
    padded = (n * np.clip(value, 0.0, 1.0) + 1) / (n + 2)
    spread = padded * (1 - padded)
    design = 1 + (m - 1) * ICC_PRIOR_MEAN
    relative = (m - 1) * ICC_PRIOR_SD / design
    if relative < 1e-3:
        return np.full(np.shape(value), n), 2.0 * k - 1
    weight = 2 / relative**2
    mixed = ((k - 1) * variance + weight * spread / m * design) / (k - 1 + weight)
    return np.clip(spread * k / mixed, k, n), k - 1 + min(weight, float(k))


@lru_cache(maxsize=4096)
def t_quantile(level: float, dof: float) -> float:
    """Quantile of Student's t."""
    return float(student.ppf(level, dof))


def new_photo_bounds(values: ArrayLike, cells_per_photo: float) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Bounds of a rate for new photographs, many studies at once.

    Args:
        values: Photograph means, shape (…, K), K ≥ 2.
        cells_per_photo: Cells behind each, ≥ 1.

    Returns:
        Two-sided 95 % low and high, one-sided 95 % floor and ceiling, effective size; each of shape (…).
    """
    y = np.asarray(values, dtype=float)
    p = np.clip(y.mean(-1), 0.0, 1.0)
    size, dof = effective_size(y, cells_per_photo)
    low, high = wilson(p, size, t_quantile(0.975, dof))
    floor, ceiling = wilson(p, size, t_quantile(0.95, dof))
    return low, high, floor, ceiling, size


def rate_interval(values: ArrayLike, cells_per_photo: float, icc: float = 0.0) -> RateInterval:
    """Both intervals of a rate from photograph means.

    New photographs: Wilson with the effective size and a t quantile. These photographs: Wilson with all cells, as
    only the seeds are left to vary (conservative, since the spread between photographs is not taken out).

    Args:
        values: Mean per photograph (pseudo-values of an equally weighted rate are allowed), shape (K,).
        cells_per_photo: Cells behind each, on harmonic average.
        icc: Reported as given; see `icc_anova`.
    """
    y = np.asarray(values, dtype=float)
    k = len(y)
    if k == 0:
        raise ValueError("a rate needs at least one photograph with a scored cell")
    n = k * max(cells_per_photo, 1.0)
    p = float(np.clip(y.mean(), 0.0, 1.0))
    here = wilson(p, n)
    if k == 1:
        return RateInterval(p, 0.0, 1.0, float(here[0]), float(here[1]), 0.0, 1.0, icc, 1.0, 1, n,
                            "one photograph: nothing can be said of new ones")
    low, high, floor, ceiling, size = (float(item) for item in new_photo_bounds(y, cells_per_photo))
    note = "fewer than 6 photographs: direction only" if k < 6 else ""
    return RateInterval(p, low, high, float(here[0]), float(here[1]), floor, ceiling, icc, size, k, n, note)


def clustered_rate(successes: ArrayLike, cells: ArrayLike) -> RateInterval:
    """Rate of 0/1 cells that come in photographs; every photograph counts alike.

    Args:
        successes: Passed cells per photograph, shape (K,).
        cells: Scored cells per photograph, shape (K,); photographs without cells are left out.
    """
    x, m = np.asarray(successes, dtype=float), np.asarray(cells, dtype=float)
    keep = m > 0
    x, m = x[keep], m[keep]
    harmonic = float(len(m) / np.sum(1 / m)) if len(m) else 0.0
    return rate_interval(x / m, harmonic, icc_anova(x, m))


def pooled_capabilities(rates: Floats, cells: Floats) -> tuple[Floats, float]:
    """Pseudo-values of the rate that weighs capabilities equally, one a photograph.

    The mean of the pseudo-values is the rate; their spread is its linearised error, also when a photograph lacks
    some capability.

    Args:
        rates: Pass rate per capability and photograph, shape (C, K); NaN where there is no scored cell.
        cells: Scored cells, same shape.

    Returns:
        Pseudo-values of the photographs that have any cell, and the cells per photograph they are worth.
    """
    has = (cells > 0) & ~np.isnan(rates)
    rows = has.any(axis=1)
    rates, cells, has = rates[rows], cells[rows], has[rows]
    used = has.any(axis=0)
    rates, cells, has = rates[:, used], cells[:, used], has[:, used]
    count, photos = rates.shape
    if count == 0:
        return np.empty(0), 0.0
    each = has.sum(axis=1, keepdims=True)
    filled = np.where(has, rates, 0.0)
    means = filled.sum(axis=1, keepdims=True) / each
    weights = has / (count * each)
    pseudo = means.mean() + photos * np.where(has, weights * (filled - means), 0.0).sum(axis=0)
    error = float(np.sum(np.where(has, weights**2 / np.maximum(cells, 1), 0.0)))
    return pseudo, max(1.0, 1.0 / error / photos)
