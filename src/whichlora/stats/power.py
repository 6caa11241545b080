"""What a plan can show before it is paid for, and how many photographs would settle an open question.

Does: detectable difference (by `promise`, a simulation of the very test that the report makes), power by a quick
formula, and photographs to settle a threshold. Does not: price or schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import cast

import numpy as np
from scipy.optimize import brentq
from scipy.stats import nct, norm
from scipy.stats import t as student

from whichlora.stats.promise import Plan, simulated_power
from whichlora.stats.rates import ICC_PRIOR_MEAN
from whichlora.stats.screening import Round

TOO_CLOSE = 0.02
"""Distance to the threshold below which no affordable number of photographs settles it."""
MOST_PHOTOS = 2_000


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
    wanted: float = 0.8, rounds: tuple[Round, ...] = (), families: tuple[str, ...] = (),
) -> float | None:
    """Smallest true gain over base, in percentage points, that is shown with the wanted probability.

    Found by simulating the report's own test (see `promise`): with 8 photographs the formula of `power` promises up to
    13 points of power too much. With a screening, being dropped, the pictures that the choice used up and the
    correction for those who left are part of what is simulated. Takes seconds; `rough_points` is the formula alone.

    Args:
        photos: Source photographs, the independent units.
        cells_per_photo: Cells of one candidate per photograph (edits × seeds) in what is compared.
        icc: Intraclass correlation of cells within a photograph; 0.2 where no pilot exists.
        candidates: Candidates compared with base, those who may be screened out included.
        rate: Base's rate.
        wanted: Wanted probability.
        rounds: Screening schedule; empty where everybody is measured in full.
        families: Capability of each instruction; one for all when empty.

    Returns:
        Points between 0 and 100, or None where no gain could be shown (fewer than 6 photographs, or base already
        too high).
    """
    if photos < 6 or cells_per_photo <= 0:
        return None
    plan = Plan(photos, max(1, round(cells_per_photo)), max(candidates, 1), icc, rate, rounds, families)
    rough = rough_points(photos, plan.fresh_per_photo(), icc, plan.candidates, rate=rate, wanted=wanted)
    top = 1 - rate - 1e-6
    start = top if rough is None else rough / 100
    gains = np.unique(np.minimum(start * np.linspace(0.75, 1.6, 9), top))
    reached = np.maximum.accumulate(simulated_power(gains, plan))
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
