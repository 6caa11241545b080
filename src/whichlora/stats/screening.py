"""Paired successive rejects: spend cells on candidates that may still win.

Does: say in which order cells are measured, how many each round gets and whom to drop. A step is one instruction and
seed on one photograph, the same for all survivors, so that photographs and instructions cancel out of every
comparison. Steps go through all photographs before any gets its second instruction. Does not: generate.

Tried and measured by `bench/screening.py`: dropping one candidate at a time, sampling the two likeliest winners, and
graded scores instead of passes; none is better by more than a point unless the grade is free of noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

SPECIALIST = 1.5
"""Standard errors by which a candidate must lead at one capability to be kept although it is behind overall."""
FEW = 3
"""Fields of at most so many candidates are cut with little selection bias (see `chosen_on`)."""


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


def in_turns(photos: Sequence[str], families: Sequence[str]) -> tuple[int, ...]:
    """`photographs_first`, with capabilities taking turns: photograph i begins with the i-th of its instructions.

    After any number of steps, photographs and capabilities are represented as evenly as possible.

    Args:
        photos: Photograph of each step.
        families: Capability of each step, same length.
    """
    names = list(dict.fromkeys(photos))
    queues: list[list[int]] = []
    for number, name in enumerate(names):
        mine = [i for i, photo in enumerate(photos) if photo == name]
        spread = [mine[i] for i in photographs_first([families[i] for i in mine])]
        start = number % len(spread)
        queues.append(spread[start:] + spread[:start])
    longest = max((len(queue) for queue in queues), default=0)
    return tuple(queue[turn] for turn in range(longest) for queue in queues if turn < len(queue))


def fields(candidates: int, finalists: int) -> tuple[int, ...]:
    """Sizes of the field, first to last: a third is dropped each time."""
    sizes = [candidates]
    while sizes[-1] > finalists:
        sizes.append(max(finalists, sizes[-1] * 2 // 3))
    return tuple(sizes)


def schedule(
    candidates: int, steps: int, budget: float = 0.35, finalists: int = 2,
) -> tuple[Round, ...]:
    """Rounds that stay within a share of the full matrix; the finalists are measured in full where that can be paid.

    Args:
        candidates: Candidates at the start (base and controls not counted).
        steps: Cells of one candidate in the full matrix.
        budget: Largest share of the full matrix that may be generated, 0 to 1.
        finalists: Candidates that remain and are compared at the end.

    Returns:
        Rounds in order; steps grow as fields shrink, so that every candidate's last round costs about the same
        (Audibert, Bubeck & Munos 2010, with a third of the field dropped at a time). The last round cuts nothing: it
        completes the finalists. Empty where there is nothing to drop, or too little to pay one step each.
    """
    if candidates <= finalists or steps < 2:
        return ()
    sizes = fields(candidates, finalists)
    cells = budget * candidates * steps
    free, whole = _fit(sizes, steps, cells, complete=False), _fit(sizes, steps, cells, complete=True)
    # Completing the finalists is worth up to half of the first round's cells, and no more.
    best = whole if whole and (not free or 2 * whole[0] >= free[0]) else free
    if not best:
        return ()
    rounds = [Round(seen, keep) for seen, keep in zip(best, (*sizes[1:], finalists), strict=True)]
    # Two cuts on the same steps are one cut.
    return (*(now for now, then in pairwise(rounds[:-1]) if now.steps < then.steps), *rounds[-2:])


def cost(candidates: int, rounds: Sequence[Round]) -> int:
    """Cells that a schedule spends on candidates."""
    total, seen, left = 0, 0, candidates
    for stage in rounds:
        total += left * (stage.steps - seen)
        seen, left = stage.steps, stage.keep
    return total


def chosen_on(candidates: int, rounds: Sequence[Round]) -> int:
    """Steps on which the field was cut while more than `FEW` were in it, as long as half of all steps remain.

    What led to a choice looks too good afterwards. Figures of finalists leave these steps out; cuts among a few
    candidates select so little that their steps may stay (coverage and bias are printed by `bench/screening.py`).
    """
    seen, left = 0, candidates
    for stage in rounds:
        if left > FEW and stage.keep < left and 2 * stage.steps <= rounds[-1].steps:
            seen = stage.steps
        left = stage.keep
    return seen


def _fit(sizes: Sequence[int], steps: int, cells: float, *, complete: bool) -> tuple[int, ...]:
    """Cumulative steps inversely proportional to the field, as large as the cells allow; () if not one each."""
    def spread(scale: float) -> list[int]:
        seen = [min(steps, int(scale / size)) for size in sizes]
        return [*seen[:-1], steps] if complete else seen

    def price(seen: Sequence[int]) -> int:
        before = (0, *seen[:-1])
        return sum(size * (now - then) for size, now, then in zip(sizes, seen, before, strict=True))

    low, high = 0.0, float(steps * sizes[0] + 1)
    for _ in range(60):
        middle = (low + high) / 2
        if price(spread(middle)) <= cells:
            low = middle
        else:
            high = middle
    found = spread(low)
    return tuple(found) if found[0] >= 1 and price(found) <= cells else ()


def reject(rates: ArrayLike, keep: int) -> tuple[int, ...]:
    """Which candidates survive, as indices in their order.

    Args:
        rates: Passed (0, 1, or a rate) per candidate and step so far, shape (C, steps); same steps for all.
        keep: How many stay; of equals at the edge those that come first in the given order.
    """
    y = np.asarray(rates, dtype=float)
    order = np.argsort(-np.round(y.mean(axis=1), 12), kind="stable")
    return tuple(sorted(int(i) for i in order[:keep]))


def standing(passed: ArrayLike, families: Sequence[str]) -> tuple[Floats, Floats, Floats]:
    """Rates so far, every capability weighing the same.

    Args:
        passed: 1, 0, or NaN where nobody could say; shape (C, steps).
        families: Capability of each step.

    Returns:
        Overall rate (C,), rate per capability (C, F) and answered steps (C, F); a capability that was not yet asked
        or answered counts as one half.
    """
    y = np.asarray(passed, dtype=float)
    names = list(dict.fromkeys(families))
    member = np.array([[family == name for name in names] for family in families], dtype=float).reshape(-1, len(names))
    told = (~np.isnan(y)).astype(float) @ member
    rates = np.where(told > 0, np.nan_to_num(y) @ member / np.maximum(told, 1), 0.5)
    return rates.mean(axis=1), rates, told


def survivors(passed: ArrayLike, families: Sequence[str], keep: int) -> tuple[int, ...]:
    """Which candidates survive a round, best first.

    The best overall stay. The last places go to specialists: candidates that lead at one capability by more than
    `SPECIALIST` standard errors before all who would stay, since several LoRAs side by side may be the answer.

    Args:
        passed: 1, 0, or NaN where nobody could say; shape (C, steps), same steps for all.
        families: Capability of each step that the user needs.
        keep: How many stay; of equals those that come first.
    """
    overall, rates, told = standing(passed, families)
    order = [int(i) for i in np.argsort(-np.round(overall, 12), kind="stable")]
    staying = order[:keep]
    padded = (rates * told + 1) / (told + 2)
    noise = padded * (1 - padded) / np.maximum(told, 1)
    owed: list[int] = []
    for column in range(rates.shape[1]):
        lead = max(order, key=lambda i: (rates[i, column], -order.index(i)))
        rival = max(staying, key=lambda i: rates[i, column])
        bar = SPECIALIST * float(np.sqrt(noise[lead, column] + noise[rival, column]))
        if lead not in staying and lead not in owed and rates[lead, column] - rates[rival, column] > bar:
            owed.append(lead)
    owed = sorted(owed, key=order.index)[: keep - 1]
    return tuple(sorted((*staying[: keep - len(owed)], *owed), key=order.index))


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
