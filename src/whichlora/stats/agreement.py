"""Do people agree with each other, with themselves, and with a metric?

Does: Krippendorff's α with an interval, AUC and Kendall's τ-b with intervals clustered by photograph. Does not: know
raters' names, metrics or candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau, rankdata
from scipy.stats import t as student

from whichlora.stats.rates import wilson

Floats = NDArray[np.float64]
Level = Literal["nominal", "ordinal", "interval"]

ENOUGH_ALPHA = 0.667
"""Below this α nothing should be concluded. Source: Krippendorff (2004), Content Analysis, 2nd ed., p. 241."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % interval."""

    value: float | None
    """The figure; None when it cannot be computed."""
    low: float | None = None
    """Lower end for new photographs."""
    high: float | None = None
    """Upper end for new photographs."""
    count: int = 0
    """Units behind it."""
    note: str = ""
    """Why there is no figure or no interval."""


def krippendorff_alpha(ratings: ArrayLike, level: Level = "ordinal") -> float | None:
    """Agreement beyond chance of any number of raters, with gaps.

    Args:
        ratings: Raters × units; NaN where a rater said nothing.
        level: How far apart two answers are.

    Returns:
        1: complete, 0: chance, below 0: worse than chance; None without two raters on one unit or without variety.
        Source: Krippendorff (2011), Computing Krippendorff's alpha-reliability.
    """
    data = np.asarray(ratings, dtype=float)
    data = data[:, (~np.isnan(data)).sum(axis=0) >= 2]
    answers = np.unique(data[~np.isnan(data)])
    if data.shape[1] == 0 or len(answers) < 2:
        return None
    counts = np.stack([(data == answer).sum(axis=0) for answer in answers]).astype(float)
    per_unit = counts.sum(axis=0)
    coincidence = (counts / (per_unit - 1)) @ counts.T - np.diag((counts / (per_unit - 1)).sum(axis=1))
    totals = coincidence.sum(axis=1)
    distance = _distance(answers, totals, level)
    expected = (np.outer(totals, totals) - np.diag(totals)) / (totals.sum() - 1)
    disagreement = float((expected * distance).sum())
    return None if disagreement <= 0 else 1 - float((coincidence * distance).sum()) / disagreement


def _distance(answers: Floats, totals: Floats, level: Level) -> Floats:
    if level == "nominal":
        return 1.0 - np.eye(len(answers))
    if level == "interval":
        return (answers[:, None] - answers[None, :]) ** 2
    middle = np.cumsum(totals) - totals / 2
    return (middle[:, None] - middle[None, :]) ** 2


def alpha_interval(
    ratings: ArrayLike, photos: ArrayLike, level: Level = "ordinal", draws: int = 400, seed: int = 0
) -> Figure:
    """Krippendorff's α with an interval from resampling photographs.

    Args:
        ratings: Raters × units.
        photos: Photograph of each unit.
        level: See `krippendorff_alpha`.
        draws: Resamples.
        seed: Fixed, so that a report repeats exactly.
    """
    data = np.asarray(ratings, dtype=float)
    value = krippendorff_alpha(data, level) if data.size else None
    units = int(((~np.isnan(data)).sum(axis=0) >= 2).sum()) if data.size else 0
    if value is None:
        return Figure(None, count=units, note="two raters have not judged the same pictures with different answers yet")
    names, codes = np.unique(np.asarray(photos), return_inverse=True)
    if len(names) < 3:
        return Figure(value, count=units, note="fewer than 3 photographs: no interval")
    groups = [np.flatnonzero(codes == code) for code in range(len(names))]
    rng = np.random.default_rng(seed)
    found: list[float] = []
    for _ in range(draws):
        chosen = np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])
        drawn = krippendorff_alpha(data[:, chosen], level)
        if drawn is not None:
            found.append(drawn)
    if len(found) < draws / 2:
        return Figure(value, count=units, note="too little variety for an interval")
    low, high = np.percentile(found, [2.5, 97.5])
    return Figure(value, float(low), float(high), units)


def auc(values: ArrayLike, positive: ArrayLike) -> float | None:
    """Chance that a positive has a higher value than a negative, ties counting half; None without both kinds."""
    v, y = np.asarray(values, dtype=float), np.asarray(positive, dtype=bool)
    m, n = int(y.sum()), int((~y).sum())
    if m == 0 or n == 0:
        return None
    ranks = rankdata(v)
    return float((ranks[y].sum() - m * (m + 1) / 2) / (m * n))


def clustered_auc(values: ArrayLike, positive: ArrayLike, photos: ArrayLike) -> Figure:
    """AUC with an interval for new photographs.

    Source: Obuchowski (1997), Biometrics 53, 567–578 (structural components summed within clusters).
    """
    v, y = np.asarray(values, dtype=float), np.asarray(positive, dtype=bool)
    area = auc(v, y)
    if area is None:
        return Figure(None, count=len(v), note="people found all of them alike: nothing to tell apart")
    _, codes = np.unique(np.asarray(photos), return_inverse=True)
    count = int(codes.max()) + 1
    if count < 3:
        return Figure(area, count=len(v), note="fewer than 3 photographs: no interval")
    m, n = int(y.sum()), int((~y).sum())
    whole = rankdata(v)
    within = np.empty(len(v))
    within[y], within[~y] = rankdata(v[y]), rankdata(v[~y])
    share = np.where(y, (whole - within) / n, 1 - (whole - within) / m)  # each case's part of the area
    parts = (share - area) * np.where(y, 1 / m, 1 / n)
    sums = np.bincount(codes, weights=parts, minlength=count)
    # Luck can make photographs look more alike than independent cases would be; they never are.
    variance = max(count / (count - 1) * float((sums**2).sum()), float((parts**2).sum()))
    # A perfect area still came from a finite number of cases: half a discordant pair of photographs is mixed in.
    variance = max(variance, 0.25 / (min(m, n) + 1) ** 2 / count)
    # Wilson's interval of the size that the variance is worth: on a logit scale an area of 0 or 1 would have no end.
    edge = 0.5 / (min(m, n) + 1)
    padded = float(np.clip(area, edge, 1 - edge))
    low, high = wilson(area, padded * (1 - padded) / variance, float(student.ppf(0.975, count - 1)))
    return Figure(area, float(low), float(high), len(v))


def clustered_tau(values: ArrayLike, ratings: ArrayLike, photos: ArrayLike) -> Figure:
    """Kendall's τ-b with an interval for new photographs (jackknife over photographs)."""
    v, r = np.asarray(values, dtype=float), np.asarray(ratings, dtype=float)
    return _jackknife(lambda keep: _tau(v[keep], r[keep]), np.asarray(photos), len(v))


def _tau(values: Floats, ratings: Floats) -> float | None:
    if len(values) < 3 or np.ptp(values) == 0 or np.ptp(ratings) == 0:
        return None
    found = float(kendalltau(values, ratings)[0])  # pyright: ignore[reportArgumentType]
    return found if np.isfinite(found) else None


def _jackknife(
    statistic: Callable[[NDArray[np.bool_]], float | None], photos: NDArray[np.generic], units: int
) -> Figure:
    """Interval of a statistic in −1 to 1 by leaving out one photograph at a time."""
    names, codes = np.unique(photos, return_inverse=True)
    value = statistic(np.ones(units, dtype=bool)) if units else None
    if value is None:
        return Figure(None, count=units, note="too little variety")
    if len(names) < 3:
        return Figure(value, count=units, note="fewer than 3 photographs: no interval")
    left = [statistic(codes != code) for code in range(len(names))]
    kept = np.array([item for item in left if item is not None])
    if len(kept) < len(names):
        return Figure(value, count=units, note="one photograph carries it alone: no interval")
    k = len(kept)
    error = float(np.sqrt((k - 1) / k * ((kept - kept.mean()) ** 2).sum()))
    half = float(student.ppf(0.975, k - 1)) * error
    return Figure(value, max(-1.0, value - half), min(1.0, value + half), units)
