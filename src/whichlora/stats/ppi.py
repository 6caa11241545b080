"""Few labels by people and many by a judge: a rate that is right even when the judge is not.

Does: prediction-powered estimate with tuned weight (PPI++), errors clustered by photograph. Does not: trust the judge;
a useless one gets weight 0 and the labels stand alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from whichlora.stats.rates import wilson

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Powered:
    """A rate from labels and a judge."""

    value: float
    """Estimate, 0 to 1."""
    low: float
    """Lower end of the interval for new photographs."""
    high: float
    """Upper end of the same."""
    weight: float
    """Share of the judge's answers that is used, 0 to 1."""
    labels: int
    """Labelled cells."""
    photos: int
    """Photographs with labels."""


def powered_rate(
    labels: ArrayLike, judged: ArrayLike, judged_only: ArrayLike, photo: ArrayLike, photo_only: ArrayLike, *,
    level: float = 0.95,
) -> Powered:
    """Estimate a rate from labelled and merely judged cells of the same photographs.

    Args:
        labels: People's answers, 0 or 1, shape (n,).
        judged: Judge's answers for the same cells, 0 to 1, shape (n,).
        judged_only: Judge's answers for cells without a label, shape (N,); labels must have been asked for at random.
        photo: Photograph of each labelled cell, shape (n,).
        photo_only: Photograph of each judged cell, shape (N,).
        level: Confidence of the interval.

    Returns:
        Source: Angelopoulos, Duchi & Zrnic (2023), PPI++, arXiv 2311.01453, with the variance of their estimator
        summed over photographs instead of rows.

    Raises:
        ValueError: Fewer than two photographs carry labels.
    """
    y, f, g = (np.asarray(item, dtype=float) for item in (labels, judged, judged_only))
    names, code = np.unique(np.concatenate([np.asarray(photo), np.asarray(photo_only)]), return_inverse=True)
    own, other = code[: len(y)], code[len(y) :]
    units = len(np.unique(own))
    if units < 2:
        raise ValueError(f"a rate from labels needs labels on two photographs or more, got {units}")

    def summed(values: Floats, at: NDArray[np.intp]) -> Floats:
        return np.bincount(at, weights=values - values.mean(), minlength=len(names)) / len(values)

    told = summed(y, own)
    drift = summed(f, own) - (summed(g, other) if len(g) else 0.0)
    spread = float((drift**2).sum())
    weight = float(np.clip((told * drift).sum() / spread, 0.0, 1.0)) if spread > 0 and len(g) else 0.0
    value = float(y.mean() + weight * ((g.mean() if len(g) else 0.0) - f.mean())) if weight else float(y.mean())
    clusters = units if weight == 0 else len(names)
    clustered = clusters / (clusters - 1) * float(((told - weight * drift) ** 2).sum())
    # Luck can make photographs look more alike than independent cells would be; they never are.
    independent = float((y - weight * f).var()) / len(y) + (weight**2 * float(g.var()) / len(g) if len(g) else 0.0)
    error = float(np.sqrt(max(clustered, independent)))
    # All labels alike leave no spread to see: fall back on what that many labels can exclude.
    error = max(error, 0.5 / (len(y) + 1))
    value = float(np.clip(value, 0, 1))
    # Wilson's interval of the size that the error is worth: a symmetric one covers too little away from a half.
    padded = float(np.clip(value, 0.02, 0.98))
    quantile = float(student.ppf(0.5 + level / 2, max(units - 2 if weight else units - 1, 1)))
    low, high = wilson(value, padded * (1 - padded) / error**2, quantile)
    return Powered(value, float(low), float(high), weight, len(y), units)
