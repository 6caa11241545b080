"""Paired successive rejects: spend cells on candidates that may still win.

Does: say how many photographs each round gets and whom to drop. Does not: generate; it is handed pass rates of all
surviving candidates on the same photographs, instructions and seeds.
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

    photos: int
    """Photographs that every survivor has been measured on when the round ends."""
    keep: int
    """Candidates that stay afterwards."""


def schedule(candidates: int, photos: int, budget: float = 0.35, finalists: int = 1) -> tuple[Round, ...]:
    """Rounds of a successive-halving schedule that stays within a share of the full matrix.

    Args:
        candidates: Candidates at the start (base and controls not counted).
        photos: Photographs of the full matrix.
        budget: Largest share of the full matrix that may be generated, 0 to 1.
        finalists: Candidates measured on all photographs.

    Returns:
        Rounds in order, the last with `photos` photographs; every round halves the field. Equal spending per round
        (Karnin, Koren & Somekh 2013). Empty where there is nothing to drop.
    """
    if candidates <= finalists or photos < 2:
        return ()
    fields = [candidates]
    while fields[-1] > finalists:
        fields.append(max(finalists, fields[-1] // 2))
    sizes, keeps = fields[:-1], fields[1:]
    room = budget * candidates * photos
    seen, rounds, spent = 0, [], 0.0
    for index, (size, keep) in enumerate(zip(sizes, keeps, strict=True)):
        share = (room - spent) / (len(sizes) - index)
        extra = max(1 if seen < photos else 0, min(int(share // size), photos - seen))
        seen += extra
        spent += extra * size
        rounds.append(Round(min(seen, photos), keep))
    return tuple(rounds)


def reject(rates: ArrayLike, keep: int) -> tuple[int, ...]:
    """Which candidates survive, as indices in their order.

    Args:
        rates: Pass rate per candidate and photograph so far, shape (C, K); every candidate on the same photographs.
        keep: How many stay; a tie at the edge keeps all that are tied, so that luck of order decides nothing.
    """
    y = np.asarray(rates, dtype=float)
    means = y.mean(axis=1)
    if keep >= len(means):
        return tuple(range(len(means)))
    edge = np.sort(means)[::-1][keep - 1]
    return tuple(int(i) for i in np.flatnonzero(means >= edge - 1e-12))


def run(
    measure: Callable[[Sequence[int], int], Floats], candidates: int, rounds: Sequence[Round],
) -> tuple[tuple[int, ...], int]:
    """Screen with a function that returns the rates of some candidates on the first so many photographs.

    Args:
        measure: (candidates, photographs) → rates, shape (len(candidates), photographs).
        candidates: Candidates at the start.
        rounds: From `schedule`.

    Returns:
        Survivors, best first, and photographs × candidates measured.
    """
    alive, spent, seen, last = list(range(candidates)), 0, 0, None
    for stage in rounds:
        spent += len(alive) * (stage.photos - seen)
        seen = stage.photos
        last = np.asarray(measure(alive, seen), dtype=float)
        chosen = reject(last, stage.keep)
        alive, last = [alive[i] for i in chosen], last[list(chosen)]
    if last is not None:
        order = np.argsort(-last.mean(axis=1), kind="stable")
        alive = [alive[int(i)] for i in order]
    return tuple(alive), spent
