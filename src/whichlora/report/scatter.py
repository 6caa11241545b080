"""Places dots and labels of the identity-against-edit plot. Geometry only; the page and matplotlib draw it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from whichlora.findings import CandidateFacts
from whichlora.report.words import shorten

WIDTH, HEIGHT = 520, 380
LEFT, RIGHT, TOP, BOTTOM = 46, 504, 24, 336
LETTER_PX, LINE_PX = 7.2, 14
STEPS = (0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    at: float
    """Place in pixels."""
    rate: float
    """Its rate."""
    label: str
    """What stands beside it."""


@dataclass(frozen=True)
class Dot:
    """A candidate's dot and its label."""

    name: str
    """Candidate."""
    label: str
    """Shortened name."""
    kind: str
    """'base', 'candidate', 'control' or 'chosen'."""
    edit: float
    """Share of cells whose edit was done."""
    identity: float
    """Share of cells whose identity was kept."""
    seconds: float | None
    """Seconds a picture."""
    x: float
    """Centre in pixels."""
    y: float
    """Centre in pixels."""
    r: float
    """Radius in pixels; area is proportional to seconds."""
    label_x: float = 0.0
    """Anchor of the label."""
    label_y: float = 0.0
    """Baseline of the label."""
    anchor: str = "start"
    """SVG text-anchor."""
    leader: bool = False
    """True when the label stands so far off that a line must lead to it."""


@dataclass(frozen=True)
class Scatter:
    """The whole plot in pixels."""

    dots: tuple[Dot, ...]
    """One per candidate with both rates."""
    x_ticks: tuple[Tick, ...]
    """Marks of 'edit done'."""
    y_ticks: tuple[Tick, ...]
    """Marks of 'identity kept'."""
    front: str
    """Points of the line through rows that no other row beats at both, as SVG wants them."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM

    @property
    def drawn(self) -> list[Dot]:
        """The dots as they are drawn, largest first: of rows at one place each stays visible."""
        return sorted(self.dots, key=lambda dot: -dot.r)


def scatter(rows: Sequence[CandidateFacts], chosen: Sequence[str]) -> Scatter:
    """Lay out the plot; rows without both rates are left out (they stand in the table as not measured)."""
    points = [(row, row.p_edit, row.p_identity) for row in rows
              if row.p_edit is not None and row.p_identity is not None]
    x_ticks, x_low, x_high = _axis([edit for _, edit, _ in points])
    y_ticks, y_low, y_high = _axis([identity for _, _, identity in points])
    slowest = max((row.seconds_per_image or 0 for row in rows), default=0)
    dots: list[Dot] = []
    for row, edit, identity in points:
        share = (row.seconds_per_image or 0) / slowest if slowest else 0.25
        dots.append(Dot(
            row.name, shorten(row.name, 22), "chosen" if row.name in chosen else row.role, edit, identity,
            row.seconds_per_image, round(_scale(edit, x_low, x_high, LEFT, RIGHT), 1),
            round(_scale(identity, y_low, y_high, BOTTOM, TOP), 1), round(4 + 8 * math.sqrt(share), 1),
        ))
    return Scatter(
        tuple(_labelled(dots)),
        tuple(Tick(round(_scale(rate, x_low, x_high, LEFT, RIGHT), 1), rate, _whole(rate)) for rate in x_ticks),
        tuple(Tick(round(_scale(rate, y_low, y_high, BOTTOM, TOP), 1), rate, _whole(rate)) for rate in y_ticks),
        _front([dot for dot in dots if dot.kind != "control"]),
    )


def _whole(rate: float) -> str:
    return f"{round(rate * 100)}%"


def _scale(value: float, low: float, high: float, start: float, end: float) -> float:
    return start + (value - low) / (high - low) * (end - start)


def _axis(rates: Iterable[float]) -> tuple[list[float], float, float]:
    """Ticks and limits that hold every rate with some air, at most seven ticks."""
    found = list(rates) or [0.0, 1.0]
    ticks = next(ticks for step in STEPS if len(ticks := _ticks(found, step)) <= 7 or step == STEPS[-1])
    air = (ticks[-1] - ticks[0]) * 0.04
    return ticks, ticks[0] - air, ticks[-1] + air


def _ticks(rates: list[float], step: float) -> list[float]:
    low = max(0.0, math.floor(min(rates) / step - 0.35) * step)
    high = min(1.0, math.ceil(max(rates) / step + 0.35) * step)
    return [round(low + n * step, 4) for n in range(round((high - low) / step) + 1)]


def _labelled(dots: list[Dot]) -> Iterator[Dot]:
    """Give every dot a label that covers no dot and no other label, nearest free place first."""
    taken = [(dot.x - dot.r, dot.y - dot.r, dot.x + dot.r, dot.y + dot.r) for dot in dots]
    for dot in dots:
        # The chosen row's label is bold.
        width = len(dot.label) * LETTER_PX * (1.15 if dot.kind == "chosen" else 1.0)
        best = None
        for far, x, y, anchor in _places(dot):
            left = x if anchor == "start" else x - width if anchor == "end" else x - width / 2
            box = (left, y - LINE_PX + 3, left + width, y + 3)
            inside = box[0] >= LEFT and box[2] <= WIDTH and box[1] >= 14 and box[3] <= BOTTOM + 2
            hits = sum(_overlap(box, other) for other in taken) + (0 if inside else 1e6)
            if best is None or hits < best[0]:
                best = (hits, far, x, y, anchor, box)
            if hits == 0:
                break
        if best is not None:
            _, far, x, y, anchor, box = best
            taken.append(box)
            yield replace(dot, label_x=round(x, 1), label_y=round(y, 1), anchor=anchor, leader=far > 12)


def _places(dot: Dot) -> Iterator[tuple[float, float, float, str]]:
    """Places for a label, nearest first: right, left, above, below, then further out."""
    for far in (4, 14, 28, 44):
        gap = dot.r + far
        yield far, dot.x + gap, dot.y + 4, "start"
        yield far, dot.x - gap, dot.y + 4, "end"
        yield far, dot.x, dot.y - gap, "middle"
        yield far, dot.x, dot.y + gap + 9, "middle"
        yield far, dot.x + gap * 0.8, dot.y - gap * 0.8, "start"
        yield far, dot.x + gap * 0.8, dot.y + gap * 0.8 + 8, "start"
        yield far, dot.x - gap * 0.8, dot.y - gap * 0.8, "end"
        yield far, dot.x - gap * 0.8, dot.y + gap * 0.8 + 8, "end"


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide * high if wide > 0 and high > 0 else 0.0


def _front(dots: list[Dot]) -> str:
    """Line through the rows that no other row matches at one and beats at the other."""
    best = [d for d in dots if not any(
        o.edit >= d.edit and o.identity >= d.identity and (o.edit, o.identity) != (d.edit, d.identity) for o in dots)]
    best.sort(key=lambda dot: (dot.x, dot.y))
    return " ".join(f"{dot.x},{dot.y}" for dot in best) if len(best) > 1 else ""
