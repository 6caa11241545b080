"""Paired successive rejects: spend cells on candidates that may still win.

Does: say how many steps each round gets and whom to drop. A step is one instruction and seed on one photograph, the
same for all survivors. Steps go through all photographs before any gets its second instruction (`photographs_first`):
at equal cost that tells candidates apart best. Does not: generate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a screening."""

    steps: int
    """Steps that every survivor has been measured on when the round ends."""
    keep: int
    """Candidates that stay afterwards."""


def photographs_first(photos: Sequence[str]) -> tuple[int, ...]:
    """Order in which cells are measured, as indices: every photograph once, then every photograph again, and so on.

    Args:
        photos: Photograph of each cell of one candidate, in the plan's order.
    """
    turn: dict[str, int] = {}
    keyed = []
    for index, photo in enumerate(photos):
        keyed.append((turn.get(photo, 0), index))
        turn[photo] = turn.get(photo, 0) + 1
    return tuple(index for _, index in sorted(keyed))


def schedule(
    candidates: int, steps: int, budget: float = 0.35, finalists: int = 3,
) -> tuple[Round, ...]:
    """Rounds of a successive-halving schedule that stays within a share of the full matrix.

    Args:
        candidates: Candidates at the start (base and controls not counted).
        steps: Cells of one candidate in the full matrix.
        budget: Largest share of the full matrix that may be generated, 0 to 1.
        finalists: Candidates that remain and share what is left of the budget in a last round.

    Returns:
        Rounds in order; every round halves the field, and the last one names the first among the finalists. Equal
        spending per round (Karnin, Koren & Somekh 2013). Empty where there is nothing to drop.
    """
    if candidates <= finalists or steps < 2:
        return ()
    fields = [candidates]
    while fields[-1] > finalists:
        fields.append(max(finalists, fields[-1] // 2))
    if finalists > 1:
        fields.append(finalists)
    sizes, keeps = fields[:-1], fields[1:]
    room = budget * candidates * steps
    seen, rounds, spent = 0, [], 0.0
    for index, (size, keep) in enumerate(zip(sizes, keeps, strict=True)):
        share = (room - spent) / (len(sizes) - index)
        extra = min(int(share // size), steps - seen)
        seen += extra
        spent += extra * size
        rounds.append(Round(seen, keep))
    return tuple(rounds)


def reject(rates: ArrayLike, keep: int) -> tuple[int, ...]:
    """Which candidates survive, as indices in their order.

    Args:
        rates: Passed (0, 1, or a rate) per candidate and step so far, shape (C, steps); same steps for all.
        keep: How many stay; of equals at the edge those that come first in the given order.
    """
    y = np.asarray(rates, dtype=float)
    order = np.argsort(-np.round(y.mean(axis=1), 12), kind="stable")
    return tuple(sorted(int(i) for i in order[:keep]))


def run(
    measure: Callable[[Sequence[int], int], Floats], candidates: int, rounds: Sequence[Round],
) -> tuple[tuple[int, ...], int]:
    """Screen with a function that measures some candidates on the first so many steps.

    Args:
        measure: (candidates, steps) → passed, shape (len(candidates), steps).
        candidates: Candidates at the start.
        rounds: From `schedule`.

    Returns:
        Survivors, best first, and cells measured.
    """
    alive, spent, seen, last = list(range(candidates)), 0, 0, None
    for stage in rounds:
        spent += len(alive) * (stage.steps - seen)
        seen = stage.steps
        last = np.asarray(measure(alive, seen), dtype=float)
        chosen = reject(last, stage.keep)
        alive, last = [alive[i] for i in chosen], last[list(chosen)]
    if last is not None:
        order = np.argsort(-last.mean(axis=1), kind="stable")
        alive = [alive[int(i)] for i in order]
    return tuple(alive), spent
