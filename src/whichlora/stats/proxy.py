"""May a cheaper measurement say who is probably out? Rank agreement with the real one, on the same steps.

Does: correlate two rankings of the same candidates, with an interval over photographs. Does not: drop anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]

TRUSTED = 0.15
"""Lower end of the agreement from which a cheaper measurement may propose. Low, since both rankings are noisy and full
pictures confirm every proposal; a sampler that knows nothing reaches it in one screening of thirty."""
FEWEST = 5
"""Candidates below which a rank agreement says nothing."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Rank correlation of candidates' rates under two measurements."""

    value: float
    """Spearman's correlation, −1 to 1; 0 where one of the two ranks nobody."""
    low: float
    """Lower end of the 90 % interval over photographs."""
    high: float
    """Upper end of the same."""

    @property
    def trusted(self) -> bool:
        """May the cheaper measurement propose who leaves?"""
        return self.low >= TRUSTED


def rank_agreement(full: ArrayLike, cheap: ArrayLike, photos: Sequence[str], draws: int = 400) -> Agreement:
    """Agreement of two rankings on the same candidates and steps; photographs are resampled.

    Both rankings are noisy, so the value understates how well the true rates agree: the error is on the safe side.

    Args:
        full: 1, 0 or NaN, shape (C, steps).
        cheap: The same measured more cheaply.
        photos: Photograph of each step.
        draws: Bootstrap draws; the seed is fixed.
    """
    a, b = np.asarray(full, dtype=float), np.asarray(cheap, dtype=float)
    if a.shape != b.shape or a.shape[1] != len(photos):
        raise ValueError(f"two rankings need the same candidates and steps, got {a.shape} and {b.shape}")
    names = sorted(set(photos))
    if len(a) < FEWEST or len(names) < 2:
        return Agreement(0.0, -1.0, 1.0)
    member = np.array([[photo == name for name in names] for photo in photos], dtype=float)
    sums = [(np.nan_to_num(y) @ member, (~np.isnan(y)).astype(float) @ member) for y in (a, b)]

    def value(weights: Floats) -> float:
        return _spearman(*((won @ weights) / np.maximum(told @ weights, 1e-9) for won, told in sums))

    rng = np.random.default_rng(20_250_101)
    found = [value(rng.multinomial(len(names), np.full(len(names), 1 / len(names))).astype(float))
             for _ in range(draws)]
    low, high = np.quantile(found, [0.05, 0.95])
    return Agreement(value(np.ones(len(names))), float(low), float(high))


def _spearman(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation; 0 where a side has no spread."""
    x, y = rankdata(np.round(first, 12)), rankdata(np.round(second, 12))
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / scale if scale > 0 else 0.0
