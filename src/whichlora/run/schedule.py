"""In which order cells are made: a glimpse of base beside a LoRA, the control rows, then candidate after candidate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from whichlora.types import Cell, Plan


def pending_cells(plan: Plan, finished: set[str]) -> list[Cell]:
    """Cells that are still to be made, each id once: two rows with equal inputs share one picture."""
    seen = set(finished)
    pending: list[Cell] = []
    for cell in plan.cells:
        if cell.id not in seen:
            seen.add(cell.id)
            pending.append(cell)
    return pending


def blocks(plan: Plan, pending: Sequence[Cell]) -> list[tuple[str, list[Cell]]]:
    """Blocks of cells that share a candidate, in plan order, behind a glimpse of one cell each and the control rows.

    The glimpse costs two weight switches and shows the user within seconds whether the run makes sense. Control rows
    cost next to nothing and let the metrics be believed (or not) early.
    """
    glimpse = _glimpse(plan, pending)
    taken = {cell.id for cell in glimpse}
    controls = {candidate.name for candidate in plan.candidates if candidate.role == "control"}
    rest = [cell for cell in pending if cell.id not in taken]
    return [
        *((cell.candidate, [cell]) for cell in glimpse),
        *_grouped(cell for cell in rest if cell.candidate in controls),
        *_grouped(cell for cell in rest if cell.candidate not in controls),
    ]


def in_groups(cells: Sequence[Cell], most: int, alike: Callable[[Cell], object]) -> Iterator[list[Cell]]:
    """Cells in their order, each with up to `most` − 1 later ones for which `alike` says the same."""
    if most <= 1:
        yield from ([cell] for cell in cells)
        return
    left = list(cells)
    while left:
        first = left[0]
        group = [first, *[cell for cell in left[1:] if alike(cell) == alike(first)][: most - 1]]
        left = [cell for cell in left if cell not in group]
        yield group


def _glimpse(plan: Plan, pending: Sequence[Cell]) -> list[Cell]:
    base = [candidate.name for candidate in plan.candidates if candidate.role == "base"][:1]
    first = [candidate.name for candidate in plan.candidates if candidate.role == "candidate"][:1]
    by_candidate = {name: [cell for cell in pending if cell.candidate == name] for name in base + first}
    cases = [{cell.case for cell in cells} for cells in by_candidate.values()]
    if len(cases) < 2 or not all(cases):
        return []
    shared = next((cell.case for cell in by_candidate[base[0]] if cell.case in cases[1]), None)
    return [next(cell for cell in cells if cell.case == shared) for cells in by_candidate.values()] if shared else []


def _grouped(cells: Iterable[Cell]) -> list[tuple[str, list[Cell]]]:
    return [(name, list(group)) for name, group in groupby(cells, key=lambda cell: cell.candidate)]
