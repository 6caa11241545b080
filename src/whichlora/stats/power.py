"""What a plan can show before it is paid for, and how many photographs would settle an open question.

Does: detectable difference, power (a quick formula, and a simulation of the very test that the report makes), and
photographs to settle a threshold. Does not: price or schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import nct, norm
from scipy.stats import t as student

from whichlora.stats.paired import sign_patterns
from whichlora.stats.rates import ICC_PRIOR_MEAN

TOO_CLOSE = 0.02
"""Distance to the threshold below which no affordable number of photographs settles it."""
MOST_PHOTOS = 2_000
STUDIES = 2_000
"""Simulated studies behind a promise: a standard error of 0.9 points of power."""
_FLIPS = 1_000
_BLOCK = 100

Floats = NDArray[np.float64]


@lru_cache(maxsize=256)
def single_level(comparisons: int, level: float = 0.05, correlation: float = 0.5) -> float:
    """Two-sided level of one comparison when many share a base and the family is held at `level`.

    Dunnett's (1955, JASA 50, 1096–1121) problem for large samples: comparisons against one base have
    correlation 0.5 if all have the same noise.

    Returns:
        Between `level / comparisons` (Bonferroni) and `level`.
    """
    if comparisons <= 1:
        return level
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    shared, own = math.sqrt(correlation), math.sqrt(1 - correlation)

    def miss(critical: float) -> float:
        inside = norm.cdf((critical - shared * nodes) / own) - norm.cdf((-critical - shared * nodes) / own)
        return float((weights * inside**comparisons).sum()) - (1 - level)

    return float(2 * norm.sf(_root(miss, 1.0, 8.0)))


def difference_sd(rate: float, gain: float, cells_per_photo: float, icc: float, shared: float = 0.5) -> float:
    """Standard deviation of one photograph's difference between a candidate and base.

    Args:
        rate: Base's rate.
        gain: Candidate's rate minus base's.
        cells_per_photo: Cells of each per photograph.
        icc: Intraclass correlation of a candidate's cells within a photograph.
        shared: Share of a photograph's effect that candidate and base have in common and that cancels.
    """
    spread = rate * (1 - rate) + (rate + gain) * (1 - rate - gain)
    return math.sqrt(max(spread, 0.0) * ((1 - icc) / cells_per_photo + icc * (1 - shared)))


def power(
    gain: float, photos: int, cells_per_photo: float, icc: float, candidates: int, *, rate: float = 0.5,
) -> float:
    """Probability of showing a true gain over base with the corrected test, family-wise level 5 %.

    Zero below 6 photographs: a sign-flip test cannot reach 5 % there. Non-central t approximation.
    """
    if photos < 6 or gain <= 0:
        return 0.0
    sd = difference_sd(rate, gain, cells_per_photo, icc)
    if sd == 0:
        return 1.0
    critical = float(student.ppf(1 - single_level(max(candidates, 1)) / 2, photos - 1))
    # One photograph is given away for what the sign-flip test loses to Student's t with few photographs.
    value = float(nct.sf(critical, photos - 1, gain * math.sqrt(photos - 1) / sd))
    return 1.0 if math.isnan(value) else value


@lru_cache(maxsize=256)
def detectable_points(
    photos: int, cells_per_photo: float, icc: float = 0.2, candidates: int = 8, *, rate: float = 0.5,
    wanted: float = 0.8,
) -> float | None:
    """Smallest true gain over base, in percentage points, that is shown with the wanted probability.

    Found by simulating the report's own test (see `simulated_power`): with 8 photographs the formula of `power`
    promises up to 13 points of power too much. Takes about a second; `rough_points` is the formula alone.

    Args:
        photos: Source photographs, the independent units.
        cells_per_photo: Cells of one candidate per photograph (edits × seeds) in what is compared.
        icc: Intraclass correlation of cells within a photograph; 0.2 where no pilot exists.
        candidates: Candidates compared with base.
        rate: Base's rate.
        wanted: Wanted probability.

    Returns:
        Points between 0 and 100, or None where no gain could be shown (fewer than 6 photographs, or base already
        too high).
    """
    if photos < 6 or cells_per_photo <= 0:
        return None
    rough = rough_points(photos, cells_per_photo, icc, candidates, rate=rate, wanted=wanted)
    top = 1 - rate - 1e-6
    start = top if rough is None else rough / 100
    gains = np.unique(np.minimum(start * np.linspace(0.75, 1.6, 12), top))
    found = simulated_power(gains, photos, max(1, round(cells_per_photo)), icc, max(candidates, 1), rate=rate)
    reached = np.maximum.accumulate(found)
    if reached[-1] < wanted:
        return None
    return 100 * float(np.interp(wanted, reached, gains))


@lru_cache(maxsize=4096)
def rough_points(
    photos: int, cells_per_photo: float, icc: float = 0.2, candidates: int = 8, *, rate: float = 0.5,
    wanted: float = 0.8,
) -> float | None:
    """`detectable_points` by formula: instant, and too hopeful below about 12 photographs. For comparing plans."""
    if photos < 6 or cells_per_photo <= 0:
        return None
    top = 1 - rate - 1e-6

    def short(gain: float) -> float:
        return power(gain, photos, cells_per_photo, icc, candidates, rate=rate) - wanted

    if short(top) < 0:
        return None
    return 100 * _root(short, 1e-4, top)


def simulated_power(
    gains: Floats, photos: int, cells_per_photo: int, icc: float, candidates: int, *, rate: float = 0.5,
    studies: int = STUDIES,
) -> Floats:
    """Probability of showing each gain over base with max-t by sign flips, one good candidate among equals of base.

    A cell passes when a normal variable lies below the quantile of its rate; half of a photograph's effect is shared
    by all candidates. The same draws serve all gains, so that the curve is smooth. The first step of the step-down
    test is simulated; later steps only matter when another candidate is better still.

    Args:
        gains: True gains of the good candidate, shape (G,).
        photos: Photographs.
        cells_per_photo: Cells of one candidate per photograph.
        icc: Intraclass correlation of 0/1 cells of a photograph at a rate of one half.
        candidates: Candidates compared with base, the good one included.
        rate: Rate of base and of the other candidates.
        studies: Simulated studies.

    Returns:
        Shape (G,), 0 to 1.
    """
    rng = np.random.default_rng(20_250_101)
    latent = math.sin(math.pi / 2 * icc)  # exact for cells that pass half of the time
    flips = sign_patterns(photos)[:_FLIPS].astype(np.float32)
    shown = np.zeros(len(gains))
    for start in range(0, studies, _BLOCK):
        size = min(_BLOCK, studies - start)
        shared = rng.standard_normal((size, 1, photos, 1))
        own = rng.standard_normal((size, candidates + 1, photos, 1))
        noise = rng.standard_normal((size, candidates + 1, photos, cells_per_photo))
        cell = math.sqrt(latent / 2) * (shared + own) + math.sqrt(1 - latent) * noise
        plain = (cell[:, 1:] < norm.ppf(rate)).mean(axis=3)
        base = plain[:, 0]
        rivals = _flipped(plain[:, 1:] - base[:, None], flips).max(axis=1, initial=0.0)
        for at, gain in enumerate(gains):
            delta = (cell[:, 0] < norm.ppf(rate + gain)).mean(axis=2) - base
            mine = _flipped(delta[:, None], flips)[:, 0]
            p = (np.maximum(mine, rivals) >= mine[:, :1] - 1e-5).mean(axis=1)
            shown[at] += ((p <= 0.05) & (delta.mean(axis=1) > 0)).sum()
    return shown / studies


def _flipped(differences: Floats, flips: NDArray[np.float32]) -> NDArray[np.float32]:
    """|Standardised sums| under every sign pattern, shape (studies, comparisons, patterns)."""
    scale = np.sqrt((differences**2).sum(axis=2, keepdims=True))
    unit = (differences / np.where(scale > 0, scale, 1.0)).astype(np.float32)
    return np.abs(unit @ flips.T)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function changes its sign."""
    return float(cast(float, brentq(function, low, high)))


def photos_to_settle(
    value: float, target: float, cells_per_photo: float, icc: float = ICC_PRIOR_MEAN, wanted: float = 0.8,
) -> int | None:
    """Photographs in all after which a rate is probably shown above (or below) a threshold.

    Args:
        value: Best guess of the rate.
        target: Threshold.
        cells_per_photo: Cells per photograph.
        icc: Intraclass correlation.
        wanted: Wanted probability that the one-sided 95 % bound clears the threshold.

    Returns:
        A number of photographs, or None if the rate is too close to the threshold to be settled.
    """
    gap = abs(value - target)
    if gap < TOO_CLOSE:
        return None
    m = max(cells_per_photo, 1.0)
    design = (1 + (m - 1) * icc) / m
    edge = min(max(value, 0.02), 0.98)
    root = norm.ppf(0.95) * math.sqrt(target * (1 - target)) + norm.ppf(wanted) * math.sqrt(edge * (1 - edge))
    needed = math.ceil(design * (root / gap) ** 2)
    return None if needed > MOST_PHOTOS else max(needed, 2)
