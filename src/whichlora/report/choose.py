"""Chooses the few pictures of the first screen: always the worst case, then the best, then another capability."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from whichlora.report.page import Page
from whichlora.types import Cell, EditCase


@dataclass(frozen=True)
class StripRow:
    """One case of the winner strip."""

    why: str
    """'Worst case', 'Best case', or 'Another capability'."""
    case: EditCase
    """The case."""
    cells: tuple[tuple[str, str], ...]
    """(heading, cell id) for base, winner and runner-up, as far as they exist; '' for a cell that is not planned."""


def strip(page: Page, rows: int = 3) -> list[StripRow]:
    """Rows of the winner strip, worst case first; fewer when fewer cases exist."""
    chosen: dict[str, StripRow] = {}
    for why, cell in _wanted(page):
        if cell.case not in chosen and cell.case in page.cases:
            chosen[cell.case] = StripRow(why, page.cases[cell.case], _across(page, cell))
        if len(chosen) == rows:
            break
    return list(chosen.values())


def headings(page: Page) -> list[str]:
    """Columns of the strip after the source."""
    recommendation = page.findings.recommendation
    settled = recommendation.firm and recommendation.candidate in page.facts
    if page.recommended == ["base"] or (page.base and page.recommended == [page.base.name]):
        return ["Base (recommended)", "Best LoRA"]
    lead = "Winner" if settled else "Leading" if page.recommended else "Best so far"
    return ["Base", lead, *(["Runner-up"] if page.runner_up else [])]


def _wanted(page: Page) -> Iterator[tuple[str, Cell]]:
    """Cells to build rows from, in order of preference."""
    leaders = page.recommended or [row.name for row in page.rivals[:1]]
    facts = [page.facts[name] for name in leaders]
    worst = _used(page, [cell for row in facts for cell in page.known(row.worst_cells)])
    best = _used(page, [cell for row in facts for cell in page.known(row.best_cells)])
    yield from (("Worst case", page.cells[cell]) for cell in worst[:1])
    shown = {page.cases[page.cells[c].case].source for c in worst[:1] if page.cells[c].case in page.cases}
    fresh = [c for c in best if page.cells[c].case in page.cases and page.cases[page.cells[c].case].source not in shown]
    yield from (("Best case", page.cells[cell]) for cell in [*fresh, *best][:1])
    used = {page.cases[page.cells[c].case].family for c in [*worst[:1], *[*fresh, *best][:1]]
            if page.cells[c].case in page.cases}
    own = [cell for cell in page.plan.cells if cell.candidate in leaders and cell.case in page.cases]
    wanted = [*page.findings.must_have, *page.capabilities]
    for family in dict.fromkeys(wanted):
        if family not in used:
            yield from (("Another capability", c) for c in own if page.cases[c.case].family == family)
    yield from (("Another case", cell) for cell in own)


def _used(page: Page, cells: list[str]) -> list[str]:
    """Cells of edits for which the recommendation would use that row; all, where it would use none of them."""
    mine = [cell for cell in cells if (case := page.cases.get(page.cells[cell].case)) is not None
            and page.winner_for(case) == page.cells[cell].candidate]
    return mine or cells


def _across(page: Page, cell: Cell) -> tuple[tuple[str, str], ...]:
    """The same case and seed on base, winner and runner-up."""
    case = page.cases[cell.case]
    base = page.base.name if page.base else ""
    winner = page.winner_for(case)
    # With routes the base may be the one to use for this edit: it then stands under both headings.
    alone = page.recommended == [base]
    names = [base, page.rivals[0].name if alone and page.rivals else winner]
    if not alone and page.runner_up:
        names.append(page.runner_up)
    found = [(name, page.by_place.get((name, cell.case, cell.seed))) for name in names if name]
    return tuple((name, place.id if place else "") for name, place in found)
