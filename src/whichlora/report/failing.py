"""Counts what went wrong in the pictures that are compared: one count for the page, its first screen and the plot."""

from __future__ import annotations

from whichlora.report.page import Page


def compared(page: Page) -> set[str]:
    """Cells of base and candidates. Control rows are left out of every count: they must fail."""
    controls = {row.name for row in page.plan.candidates if row.role == "control"}
    return {cell.id for cell in page.plan.cells if cell.candidate not in controls}


def kinds(page: Page) -> list[tuple[str, list[int], float]]:
    """(kind, numbers of its cells, share of the compared pictures in percent), most frequent first."""
    mine = compared(page)
    found = [(kind, [page.cell_numbers[cell] for cell in page.known(cells) if cell in mine])
             for kind, cells in page.findings.failures.items()]
    found = sorted((item for item in found if item[1]), key=lambda item: -len(item[1]))
    return [(kind, cells, round(100 * len(cells) / max(1, len(mine)), 2)) for kind, cells in found]
