"""The flip card: the smallest change of an input that changes the choice.

The choice is piecewise constant in every input, and its breakpoints are known: where a bound or a guess meets the
target, or where two scores cross. So each breakpoint is tried, nearest first. For the target that is exact. A rate is
moved here with its bounds and guess alike, which `rated` makes exact for the rates that are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from whichlora.analysis.decide import Contender, Row, decide

LARGEST = 0.3
"""Rate changes beyond this are not looked for: they tell a reader nothing."""
KEPT = 8
"""Rate changes kept, nearest first."""
NUDGE = 1e-7
"""How far past a breakpoint a change is taken, as meeting it exactly may still count as before."""


@dataclass(frozen=True, slots=True)
class Flip:
    """One smallest change."""

    kind: str
    """'target', 'rate', or what is left out: 'photo', 'edit', 'metric' or 'rater'."""
    what: str
    """Must-have whose rate moves ('rate'), name of what is left out, '' for the target."""
    candidate: str
    """Row whose rate moves, '' otherwise."""
    change: float
    """Signed change (0 to 1 scale); 0 for what is left out."""
    to: float
    """Target, or guessed rate, after the change; 0 for what is left out."""
    row: Row
    """What the choice becomes."""


def choice(row: Row) -> tuple[str, str, bool]:
    """What counts as 'the choice': strategy, set-up, and whether it is firm."""
    return row.strategy, row.candidate, row.firm


def flips(
    found: Sequence[Contender], must: Sequence[str], target: float,
    leave_out: Mapping[tuple[str, str], Callable[[], Row]], own: Sequence[bool] = (),
) -> list[Flip]:
    """Smallest flips of the target and of single rates, and what carries the choice on its own.

    Args:
        found: Contenders behind the choice.
        must: Must-haves.
        target: Consistency rate that is good enough.
        leave_out: (kind, name) → function that decides anew without it; see `leaveout`.
        own: Which must-haves have a threshold of their own, which another target does not move.

    Returns:
        Target first, then the `KEPT` rates that are nearest to a flip, then what was left out.
    """
    now = decide(found, must, target)
    card = [flip for flip in (flip_target(found, must, target, now, own),) if flip]
    rates: list[Flip] = []
    for i, j in product([i for i, c in enumerate(found) if not c.out], range(len(must))):
        limit = abs(rates[KEPT - 1].change) if len(rates) >= KEPT else LARGEST
        flip = flip_rate(found, must, target, now, (i, j), limit)
        if flip is not None:
            rates = sorted([*rates, flip], key=lambda flip: abs(flip.change))[:KEPT]
    card += rates
    for (kind, name), again in leave_out.items():
        row = again()
        if choice(row) != choice(now):
            card.append(Flip(kind, name, "", 0.0, 0.0, row))
    return card


def flip_target(
    found: Sequence[Contender], must: Sequence[str], target: float, now: Row, own: Sequence[bool] = (),
) -> Flip | None:
    """Smallest change of the target, up or down, that changes the choice; the target stays within 0..1."""
    levels = [value for c in found for value in (*c.low, *c.high, *c.lean)]
    stays = [at for at, mine in enumerate(own) if mine]

    def moved(change: float) -> Row | None:
        if not 0 < target + change <= 1:
            return None
        after = list(found)
        for at in stays:
            after = [c.shifted(at, change) for c in after]
        return decide(after, must, target + change)

    hit = _nearest((value - target for value in levels), moved, now)
    return None if hit is None else Flip("target", "", "", hit[0], target + hit[0], hit[1])


def flip_rate(
    found: Sequence[Contender], must: Sequence[str], target: float, now: Row, which: tuple[int, int],
    limit: float = 1.0,
) -> Flip | None:
    """Smallest change of one row's rate at one must-have that changes the choice, everything else fixed.

    Args:
        found: Contenders.
        must: Must-haves.
        target: Threshold.
        now: The choice as it is.
        which: Contender and must-have, as indices.
        limit: Changes beyond this are not looked for.
    """
    at, name = which
    mover = found[at]
    levels = [target - mover.low[name], target - mover.high[name], target - mover.lean[name]]
    score = mover.score()
    weight = mover.weights[name] if mover.weights else 1 / len(must)
    if weight > 0:
        levels += [(other.score() - score) / weight for i, other in enumerate(found) if i != at]
    # Routes go to whoever is best at the one must-have.
    levels += [other.lean[name] - mover.lean[name] for i, other in enumerate(found) if i != at]

    def moved(change: float) -> Row | None:
        if not 0 <= mover.lean[name] + change <= 1:
            return None
        changed = [c.shifted(name, change) if i == at else c for i, c in enumerate(found)]
        return decide(changed, must, target)

    hit = _nearest((level for level in levels if abs(level) <= limit), moved, now)
    return None if hit is None else Flip("rate", must[name], mover.name, hit[0], mover.lean[name] + hit[0], hit[1])


def _nearest(
    levels: Iterable[float], moved: Callable[[float], Row | None], now: Row,
) -> tuple[float, Row] | None:
    """First breakpoint, by distance, at or just past which the choice is another."""
    for change in sorted({level + side for level in levels for side in (-NUDGE, 0.0, NUDGE)}, key=abs):
        row = moved(change)
        if row is not None and choice(row) != choice(now):
            return change, row
    return None
