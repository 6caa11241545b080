"""A rate from few human labels and many machine verdicts, valid however bad the machine is (PPI++).

Does: power-tuned prediction-powered estimate with a variance clustered by photograph. Does not: choose which cells get
labels; they must be a random part of all cells, or nothing here holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from whichlora.stats.rates import wilson

Floats = NDArray[np.float64]

SHRINK = 2.0
"""Photographs' worth of 'the judge is no help' mixed into the tuning, so that luck in few labels is not believed."""


@dataclass(frozen=True, slots=True)
class PoweredRate:
    """A rate with its 95 % interval for new photographs."""

    value: float
    """Estimate, 0 to 1."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""
    trust: float
    """λ: 0 ignores the machine, 1 believes it fully; found from the labels."""
    labels: int
    """Cells that people labelled."""
    worth: float
    """Labels that people alone would have needed for the same interval."""
    photos: int
    """Photographs behind it."""
    note: str = ""
    """What a reader must know."""


def powered_rate(labels: ArrayLike, verdicts: ArrayLike, photos: ArrayLike) -> PoweredRate:
    """Estimate the rate that people would find on all cells.

    θ = mean of labels + λ (mean verdict over all − mean verdict over labelled), with λ in 0 to 1 chosen to make the
    interval narrowest. Source: Angelopoulos, Duchi & Zrnic (2023), PPI++, arXiv:2311.01453, eq. 3 and 6, with
    variances clustered by photograph instead of independent rows.

    Args:
        labels: Per cell 1, 0, or NaN where nobody judged; at least two labels.
        verdicts: Per cell what the machine says, 0 to 1; no gaps.
        photos: Photograph of each cell.
    """
    y, f = np.asarray(labels, dtype=float), np.asarray(verdicts, dtype=float)
    if y.shape != f.shape or np.isnan(f).any():
        raise ValueError("every cell needs a verdict; use 0.5 where the machine has none")
    _, codes = np.unique(np.asarray(photos), return_inverse=True)
    has = ~np.isnan(y)
    n = int(has.sum())
    if n < 2:
        raise ValueError(f"a powered rate needs at least 2 labels, got {n}")
    count = int(codes.max()) + 1
    own = _sums((y[has] - y[has].mean()) / n, codes[has], count)
    gain = _sums((f[has] - f[has].mean()) / n, codes[has], count) - _sums((f - f.mean()) / len(f), codes, count)
    trust = _tuned(y[has], f[has], own, gain, n)
    value = float(y[has].mean() + trust * (f.mean() - f[has].mean()))
    touched = max(len(np.unique(codes[has])), 2)
    alone = _variance(own, y[has], n, touched)
    both = _variance(own - trust * gain, (y - trust * f)[has], n, touched, extra=(trust * f).var() / len(f))
    both = min(both, alone)
    low, high = _interval(float(np.clip(value, 0.0, 1.0)), both, touched)
    note = "fewer than 30 labels: read the interval, not the figure" if n < 30 else ""
    if touched < 6:
        note = "fewer than 6 photographs: direction only"
    return PoweredRate(float(np.clip(value, 0.0, 1.0)), low, high, trust, n, n * alone / both, touched, note)


def _sums(parts: Floats, codes: NDArray[np.intp], count: int) -> Floats:
    out = np.zeros(count)
    np.add.at(out, codes, parts)
    return out


def _tuned(y: Floats, f: Floats, own: Floats, gain: Floats, n: int) -> float:
    """λ that makes the clustered variance least, shrunk towards 0 and kept within 0 and 1."""
    spread = float((gain**2).sum())
    if spread <= 0 or f.std() == 0:
        return 0.0
    touched = int((np.abs(own) > 0).sum())
    raw = float((own * gain).sum()) / spread
    return float(np.clip(raw * touched / (touched + SHRINK), 0.0, 1.0))


def _variance(sums: Floats, parts: Floats, n: int, photos: int, extra: float = 0.0) -> float:
    """Clustered variance of the estimate, no smaller than that of independent padded cells."""
    clustered = photos / (photos - 1) * float((sums**2).sum())
    independent = float(parts.var()) / n + extra
    return max(clustered, independent, 1e-6)


def _interval(value: float, variance: float, photos: int) -> tuple[float, float]:
    """Wilson interval of the size that the variance is worth, with Student's t for few photographs."""
    padded = float(np.clip(value, 0.02, 0.98))
    size = padded * (1 - padded) / variance
    low, high = wilson(value, size, float(student.ppf(0.975, photos - 1)))
    return float(low), float(high)
