"""The weight of one LoRA: where to measure next, where the optimum lies, and what it is worth on other photographs.

Does: choose weights (a coarse grid, then closer around the best), pick one, and judge it on photographs that played no
part in the picking, so that the luck of the pick is not sold as merit. Does not: make pictures or word.

Two things the picking must cope with. Rates are counts, so neighbouring weights differ by luck: values are smoothed
over neighbours. And many weights may do equally well: of a plateau the middle is taken, which is farthest from harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichlora.stats.paired import Difference, paired_difference
from whichlora.stats.rates import RateInterval, pooled_capabilities, rate_interval

COARSE = (0.6, 0.8, 1.0, 1.25)
"""Weights of the first round."""
LOWEST, HIGHEST = 0.2, 2.0
"""Weights beyond which a sweep does not wander when the best lies at the edge of the grid."""
CLOSE = 0.051
"""Weights nearer than this count as the same: the optimum is wanted to a tenth."""
ROUNDS = 4
"""Rounds after the first at most."""
_BANDWIDTH = 0.08
"""Width of the smoothing over neighbouring weights."""
_STEP = 0.05
"""Weights are rounded to this."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Point:
    """One measured weight on some photographs."""

    weight: float
    """Adapter weight."""
    rate: float
    """Consistent pictures, capabilities weighing the same, 0 to 1."""
    edit: float
    """Edit done."""
    identity: float
    """Identity kept."""
    cells: int
    """Scored cells behind it."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """Where the curve is highest."""

    weight: float
    """Middle of the plateau, rounded."""
    low: float
    """Lower end of the plateau: weights about as good, as far as the counts can tell."""
    high: float
    """Upper end."""
    at_edge: int
    """−1 or +1 when the plateau touches the lowest or highest measured weight, so the best may lie beyond; or 0."""


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep found."""

    points: tuple[Point, ...]
    """Curve on the photographs that were used for picking, by weight."""
    optimum: Optimum
    """The pick."""
    picked_rate: float
    """Rate of the pick on the photographs it was picked on: flattered by the picking."""
    held_out: RateInterval
    """Rate of the pick on the other photographs."""
    against_own: Difference | None
    """Pick minus the weight that the suite names, on the other photographs; None when they are the same."""
    against_base: Difference | None
    """Pick minus base, on the other photographs."""
    edit: float
    """Edit done by the pick, on the other photographs."""
    identity: float
    """Identity kept by the pick, on the other photographs."""

    @property
    def use(self) -> str:
        """'pick' when the pick is shown ahead of the suite's weight, 'own' when behind or the same, else 'open'."""
        if self.against_own is None or self.against_own.high < 0:
            return "own"
        return "pick" if self.against_own.low > 0 else "open"


def halves(photos: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Photographs for picking and photographs for judging, by turns; the first half is the larger."""
    return tuple(photos[0::2]), tuple(photos[1::2])


def smoothed(points: Sequence[Point]) -> Floats:
    """Rates smoothed over neighbouring weights, each weighing as many cells as it has; same order as `points`."""
    weights = np.array([point.weight for point in points])
    rates = np.array([point.rate for point in points])
    cells = np.array([max(1, point.cells) for point in points])
    kernel = np.exp(-0.5 * ((weights[:, None] - weights[None, :]) / _BANDWIDTH) ** 2) * cells[None, :]
    return (kernel @ rates) / kernel.sum(axis=1)


def optimum(points: Sequence[Point]) -> Optimum:
    """Middle of the region where the smoothed curve comes near its highest value.

    The middle is the centre of gravity of what rises above the highest value minus one standard error (at least five
    points), so that a plateau gives its centre and a peak its top.

    Args:
        points: At least one, any order.
    """
    points = sorted(points, key=lambda point: point.weight)
    weights = np.array([point.weight for point in points])
    values = smoothed(points)
    top = int(values.argmax())
    cells = max(1, points[top].cells)
    padded = (values[top] * cells + 1) / (cells + 2)
    slack = max(0.05, float(np.sqrt(padded * (1 - padded) / cells)))
    fine = np.linspace(weights[0], weights[-1], 401) if len(points) > 1 else weights
    curve = np.interp(fine, weights, values)
    above = np.maximum(0.0, curve - (values[top] - slack))
    # Only the hill that carries the highest value counts, not another one behind a valley.
    start = int(np.abs(fine - weights[top]).argmin())
    left = right = start
    while left > 0 and above[left - 1] > 0:
        left -= 1
    while right < len(fine) - 1 and above[right + 1] > 0:
        right += 1
    hill, heights = fine[left : right + 1], above[left : right + 1]
    centre = float((hill * heights).sum() / heights.sum()) if heights.sum() > 0 else float(weights[top])
    edge = 0
    # The edge matters where the curve is still about its highest there, not where its foot reaches it.
    if curve[0] >= values[top] - 0.5 * slack and left == 0:
        edge = -1
    elif curve[-1] >= values[top] - 0.5 * slack and right == len(fine) - 1:
        edge = 1
    return Optimum(rounded(centre), float(hill[0]), float(hill[-1]), edge if len(points) > 1 else 0)


def rounded(weight: float) -> float:
    """A weight on the grid of twentieths, within the range of a sweep."""
    return round(min(HIGHEST, max(LOWEST, round(weight / _STEP) * _STEP)), 4)


def next_weights(points: Sequence[Point], done: int) -> tuple[float, ...]:
    """Weights that the next round measures; empty when the optimum is surrounded closely enough.

    Args:
        points: What is measured on the photographs for picking; empty before the first round.
        done: Rounds made.
    """
    if not points:
        return COARSE
    if done > ROUNDS:
        return ()
    best = optimum(points)
    measured = sorted(point.weight for point in points)
    wanted: list[float] = []
    if best.at_edge < 0 and measured[0] > LOWEST:
        wanted.append(rounded(measured[0] - 0.15))
    elif best.at_edge > 0 and measured[-1] < HIGHEST:
        wanted.append(rounded(measured[-1] + 0.25))
    wanted += [rounded(best.weight + step) for step in (0.0, -0.1, 0.1)]
    fresh: list[float] = []
    for weight in wanted:
        if all(abs(weight - other) >= CLOSE for other in (*measured, *fresh)):
            fresh.append(weight)
    return tuple(fresh)


def search(measure: Callable[[Sequence[float]], Sequence[Point]]) -> tuple[list[Point], Optimum]:
    """Measure round after round until the optimum is surrounded closely enough.

    Args:
        measure: Gives the points of some weights, on the photographs for picking; weights without any scored picture
            are absent.

    Returns:
        All points, and the pick.

    Raises:
        ValueError: Nothing could be measured at any weight.
    """
    points: list[Point] = []
    done = 0
    while wanted := next_weights(points, done):
        fresh = list(measure(wanted))
        points += fresh
        done += 1
        if not points or (not fresh and done > 1):
            break
    if not points:
        raise ValueError("no weight has a scored picture")
    return points, optimum(points)


def overall(rates: Floats, cells: Floats) -> RateInterval | None:
    """Rate with capabilities weighing the same, from arrays (capabilities, photographs); None without a scored cell."""
    values, per_photo = pooled_capabilities(rates, cells)
    return rate_interval(values, per_photo) if len(values) else None


def conclude(
    points: Sequence[Point], best: Optimum, held: Mapping[str, tuple[Floats, Floats]], gates: tuple[float, float]
) -> SweepResult:
    """Judge the pick on the photographs that were held out.

    Args:
        points: Curve on the photographs for picking.
        best: The pick.
        held: 'pick', 'own' (absent when the pick is the suite's weight) and 'base' → pass rates and scored cells on
            the held-out photographs, each of shape (capabilities, photographs), NaN where there is no scored cell.
        gates: Edit done and identity kept of the pick on the held-out photographs.

    Raises:
        ValueError: The pick has no scored cell there.
    """
    rate = overall(*held["pick"])
    if rate is None:
        raise ValueError("the picked weight has no scored picture on the held-out photographs")
    ordered = tuple(sorted(points, key=lambda point: point.weight))
    flattered = next((p.rate for p in ordered if abs(p.weight - best.weight) < 1e-9), None)
    if flattered is None:
        weights, values = [p.weight for p in ordered], smoothed(ordered)
        flattered = float(np.interp(best.weight, weights, values))
    return SweepResult(
        ordered, best, flattered, rate, _against(held, "own"), _against(held, "base"), gates[0], gates[1],
    )


def _against(held: Mapping[str, tuple[Floats, Floats]], other: str) -> Difference | None:
    """Pick minus another row, photograph by photograph."""
    if other not in held:
        return None
    rates = [_by_photo(*held[name]) for name in ("pick", other)]
    both = ~np.isnan(rates[0][0]) & ~np.isnan(rates[1][0])
    if not both.any():
        return None
    cells = np.minimum(rates[0][1], rates[1][1])[both]
    return paired_difference(rates[0][0][both], rates[1][0][both], float(len(cells) / np.sum(1 / np.maximum(cells, 1))))


def _by_photo(rates: Floats, cells: Floats) -> tuple[Floats, Floats]:
    """Mean over capabilities per photograph, and cells."""
    has = ~np.isnan(rates)
    count = has.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(count > 0, np.where(has, rates, 0.0).sum(axis=0) / count, np.nan)
    return mean, cells.sum(axis=0)
