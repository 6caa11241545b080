"""Two candidates on the same photographs: difference, interval, and a test that cannot be fooled by many seeds.

Does: mean difference per photograph with a t interval, exact sign-flip test. Does not: correct for many
comparisons (`multiple.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from whichlora.stats.rates import t_quantile

Floats = NDArray[np.float64]

EXACT_UP_TO = 13
"""Photographs up to which every sign pattern is counted; above, `RANDOM_FLIPS` patterns are drawn."""
RANDOM_FLIPS = 9_999
PRIOR_WEIGHT = 1.0
"""Photographs' worth of binomial noise mixed into the variance, so that equal differences do not claim certainty."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference, first minus second, in −1 to 1."""

    value: float
    """Mean over photographs."""
    low: float
    """Lower end of the 95 % interval for new photographs."""
    high: float
    """Upper end of the same."""
    low_here: float
    """Lower end for exactly these photographs, under new seeds."""
    high_here: float
    """Upper end of the same."""
    p_flip: float
    """Two-sided p of the sign-flip test; never below 2 / 2**K."""
    photos: int
    """Photographs with both candidates."""
    note: str = ""
    """What a reader must know."""


@lru_cache(maxsize=32)
def sign_patterns(photos: int, seed: int = 0) -> Floats:
    """Sign patterns of a sign-flip test, the observed one (all +1) first.

    All 2**K patterns while they are few; otherwise drawn with a fixed seed so that a report repeats exactly.

    Returns:
        Shape (patterns, photos), entries −1 and +1. Do not write into it.
    """
    if photos <= EXACT_UP_TO:
        bits = (np.arange(2**photos)[:, None] >> np.arange(photos)[None, :]) & 1
        return 1.0 - 2.0 * bits.astype(np.float64)
    drawn = np.random.default_rng(seed).integers(0, 2, (RANDOM_FLIPS, photos)).astype(np.float64)
    patterns: Floats = np.concatenate([np.ones((1, photos)), 1.0 - 2.0 * drawn])
    return patterns


def sign_flip_p(differences: ArrayLike, alternative: str = "two-sided") -> float:
    """Probability, were the two exchangeable on every photograph, of a mean at least this far from 0.

    Args:
        differences: One per photograph, shape (K,).
        alternative: 'two-sided', 'greater' or 'less'.
    """
    d = np.asarray(differences, dtype=float)
    if len(d) == 0:
        return 1.0
    sums = sign_patterns(len(d)) @ d
    observed = sums[0]
    slack = 1e-9 * (1 + abs(observed))
    if alternative == "greater":
        hits = sums >= observed - slack
    elif alternative == "less":
        hits = sums <= observed + slack
    else:
        hits = np.abs(sums) >= abs(observed) - slack
    return float(hits.mean())


def binomial_noise(first: Floats, second: Floats, cells_per_photo: float) -> Floats:
    """Variance of one photograph's difference from seeds alone, rates padded away from 0 and 1; shape (…)."""
    cells = max(cells_per_photo, 1.0)
    n = first.shape[-1] * cells
    total = np.zeros(first.shape[:-1])
    for side in (first, second):
        padded = (n * np.clip(side.mean(-1), 0.0, 1.0) + 1) / (n + 2)
        total = total + padded * (1 - padded) / cells
    return total


def difference_bounds(first: Floats, second: Floats, cells_per_photo: float, level: float = 0.95) -> tuple[Floats, ...]:
    """Bounds of many paired differences at once.

    Args:
        first: Photograph means, shape (…, K), K ≥ 2.
        second: The same of the other.
        cells_per_photo: Cells behind each mean.
        level: Confidence of the two-sided intervals.

    Returns:
        Low and high for new photographs, low and high for these; each of shape (…), within −1 to 1.
    """
    d, k = first - second, first.shape[-1]
    value = d.mean(-1)
    noise = binomial_noise(first, second, cells_per_photo)
    variance = ((k - 1) * d.var(-1, ddof=1) + PRIOR_WEIGHT * noise) / (k - 1 + PRIOR_WEIGHT)
    half = t_quantile(0.5 + level / 2, k - 1) * np.sqrt(variance / k)
    here = norm.ppf(0.5 + level / 2) * np.sqrt(noise / k)
    return tuple(np.clip(edge, -1.0, 1.0) for edge in (value - half, value + half, value - here, value + here))


def paired_difference(first: ArrayLike, second: ArrayLike, cells_per_photo: float, level: float = 0.95) -> Difference:
    """Difference of two candidates over the same photographs.

    The interval for new photographs is Student's t on the photographs' differences, their variance mixed with one
    photograph's worth of binomial noise. The interval for these photographs treats the cells of both as
    independent binomials, which shared seeds only make narrower.

    Args:
        first: Mean per photograph, shape (K,).
        second: Mean per photograph, shape (K,), same order.
        cells_per_photo: Cells behind each mean.
        level: Confidence of the two-sided intervals.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
        raise ValueError(f"paired differences need two equally long, non-empty lists; got {a.shape} and {b.shape}")
    d, k = a - b, len(a)
    value = float(d.mean())
    if k == 1:
        half = float(norm.ppf(0.5 + level / 2) * np.sqrt(binomial_noise(a, b, cells_per_photo)))
        return Difference(value, -1.0, 1.0, max(-1.0, value - half), min(1.0, value + half), 1.0, 1,
                          "one photograph: nothing can be said of new ones")
    low, high, low_here, high_here = (float(edge) for edge in difference_bounds(a, b, cells_per_photo, level))
    note = "fewer than 6 photographs: cannot be significant, direction only" if k < 6 else ""
    return Difference(value, low, high, low_here, high_here, sign_flip_p(d), k, note)


def non_inferior(difference: Difference, margin: float) -> str:
    """Is the first 'not worse' than the second by more than a margin?

    Args:
        difference: First minus second.
        margin: Largest loss that does not matter, > 0, such as 0.05.

    Returns:
        'shown' (the whole interval lies above −margin), 'worse' (all below −margin) or 'open'.
    """
    if margin <= 0:
        raise ValueError(f"a non-inferiority margin must be above 0, got {margin}")
    if difference.low > -margin:
        return "shown"
    return "worse" if difference.high < -margin else "open"
