"""Places the curves of a weight sweep. Geometry only; the section draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 620, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 490, 14, 262
LINES = (("rate", "whole", "both"), ("edit", "edit", "edit done"), ("identity", "identity", "identity kept"))
"""Field of a point, class of its line, and what stands at its end."""
_GAP = 15


@dataclass(frozen=True)
class Mark:
    """A mark on an axis, or a dot."""

    at: float
    """Place in pixels along its axis."""
    y: float
    """Height in pixels; 0 for a mark on an axis."""
    label: str
    """What it says."""


@dataclass(frozen=True)
class Line:
    """A curve with its name at the right end."""

    kind: str
    """'whole', 'edit' or 'identity'."""
    points: str
    """As SVG wants them."""
    label: str
    """Name."""
    label_y: float
    """Baseline of the name; names keep clear of each other."""


@dataclass(frozen=True)
class Curves:
    """One sweep in pixels."""

    lines: tuple[Line, ...]
    """The curves."""
    dots: tuple[Mark, ...]
    """Measured weights on the curve of both."""
    x_ticks: tuple[Mark, ...]
    """Measured weights."""
    y_ticks: tuple[Mark, ...]
    """Rates."""
    band: tuple[float, float]
    """Left and right end of the weights that do about equally well."""
    pick: float
    """Place of the pick."""
    own: float
    """Place of the suite's weight."""
    base: Mark | None
    """The base's rate, as a level; None where it was not measured."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM


def curves(points: Sequence[Mapping[str, Any]], optimum: Mapping[str, Any], own: float, base: float | None) -> Curves:
    """Lay out a sweep.

    Args:
        points: Stored points, by weight.
        optimum: Stored optimum.
        own: The suite's weight.
        base: The base's rate on the same photographs.
    """
    weights = [float(point["weight"]) for point in points]
    low, high = min(*weights, own, optimum["weight"]), max(*weights, own, optimum["weight"])
    room = (high - low) * 0.04 or 0.1

    def x(weight: float) -> float:
        place = LEFT + (weight - low + room) / (high - low + 2 * room) * (RIGHT - LEFT)
        return round(min(float(RIGHT), max(float(LEFT), place)), 1)

    def y(rate: float) -> float:
        return round(BOTTOM - rate * (BOTTOM - TOP), 1)

    ends = {field: y(float(points[-1][field])) for field, _, _ in LINES}
    heights = _apart(ends)
    lines = tuple(
        Line(kind, " ".join(f"{x(w)},{y(float(point[field]))}" for w, point in zip(weights, points, strict=True)),
             label, heights[field])
        for field, kind, label in LINES
    )
    return Curves(
        lines, tuple(Mark(x(w), y(float(point["rate"])), f"weight {w:g}: {round(100 * point['rate'])}%")
                     for w, point in zip(weights, points, strict=True)),
        _thinned([Mark(x(w), 0.0, f"{w:g}") for w in weights]),
        tuple(Mark(y(rate), 0.0, f"{round(100 * rate)}%") for rate in (0.0, 0.25, 0.5, 0.75, 1.0)),
        (x(float(optimum["low"])), x(float(optimum["high"]))), x(float(optimum["weight"])), x(own),
        None if base is None else Mark(LEFT, y(base), f"base {round(100 * base)}%"),
    )


def _apart(ends: Mapping[str, float]) -> dict[str, float]:
    """Baselines of the names at the right, at least a line apart."""
    found: dict[str, float] = {}
    below = float("-inf")
    for field, place in sorted(ends.items(), key=lambda item: item[1]):
        below = max(place + 4, below + _GAP)
        found[field] = round(below, 1)
    return found


def _thinned(marks: list[Mark]) -> tuple[Mark, ...]:
    """Marks whose labels do not run into each other."""
    kept: list[Mark] = []
    for mark in marks:
        if not kept or mark.at - kept[-1].at >= 30:
            kept.append(mark)
    return tuple(kept)
