"""Plans that grow: further rows beside those that were measured, and cells for a part of the cases only.

What is asked of a new row is what was asked of the base: the same cases and seeds, so that everything stays paired.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from whichlora.types import Candidate, Cell, EditCase, Plan, cell_id


def cells_for(plan: Plan, row: Candidate, keep: Callable[[EditCase], bool] = lambda _: True) -> tuple[Cell, ...]:
    """Cells of a row on the cases and seeds that the base has, without any candidate's own advertised prompt.

    Args:
        plan: The measured plan.
        row: A row; it need not be in the plan.
        keep: Which cases are wanted.
    """
    base = next(candidate.name for candidate in plan.candidates if candidate.role == "base")
    cases = {case.id: case for case in plan.cases}
    hashes = {source.id: source.sha256 for source in plan.sources}
    found: list[Cell] = []
    for cell in plan.cells:
        case = cases[cell.case]
        if cell.candidate != base or case.edit.startswith("own-") or not keep(case):
            continue
        pictures = tuple(hashes[name] for name in (case.source, *case.references))
        identity = cell_id(plan.base, row, case, pictures, cell.seed, plan.libraries)
        found.append(Cell(identity, row.name, cell.case, cell.seed))
    return tuple(found)


def with_rows(plan: Plan, rows: Sequence[Candidate]) -> Plan:
    """The plan with further rows before its controls; a row whose name it has replaces that row and its cells."""
    names = {row.name for row in rows}
    kept = [row for row in plan.candidates if row.name not in names]
    ordered = [*(row for row in kept if row.role != "control"), *rows, *(row for row in kept if row.role == "control")]
    cells = [cell for cell in plan.cells if cell.candidate not in names]
    cells += [cell for row in rows for cell in cells_for(plan, row)]
    return replace(plan, candidates=tuple(ordered), cells=tuple(cells))


def part_of(
    plan: Plan, rows: Sequence[Candidate], *, photos: Collection[str] = (), families: Collection[str] = ()
) -> Plan:
    """A plan of some rows on some photographs and families (all when empty), for rounds of their own.

    Calibration photographs stay what they are, so that scores are shared with the measured plan.
    """
    def keep(case: EditCase) -> bool:
        return (not photos or case.source in photos) and (not families or case.family in families)

    cells = [cell for row in rows for cell in cells_for(plan, row, keep)]
    return replace(plan, candidates=tuple(rows), cells=tuple(dict.fromkeys(cells)))
