"""The report stage: stored findings, plan and rows in, pages out. It computes nothing."""

from __future__ import annotations

from pathlib import Path

from whichlora.findings import Findings
from whichlora.report.model import ReportInput
from whichlora.store import Store
from whichlora.types import Plan, Score

FURTHER = ("sweeps", "combinations", "chains", "routing", "masks", "judge")
"""Documents of further rounds; each is shown by a section of its own."""


def report_input(store: Store, plan: Plan, findings: Findings, folder: Path, *, context: str) -> ReportInput:
    """Gather what a report reads from the store of a project folder."""
    cells = {cell.id for cell in plan.cells}
    by_cell: dict[str, list[Score]] = {}
    for score in store.scores(context=context):
        if score.cell in cells:
            by_cell.setdefault(score.cell, []).append(score)
    paths = {item.id: folder / item.path for item in (*plan.sources, *plan.calibration, *plan.impostors)}
    return ReportInput(
        findings=findings, plan=plan,
        generations={cell: item for cell, item in store.generations().items() if cell in cells},
        scores={cell: tuple(items) for cell, items in by_cell.items()},
        image_path=store.images.path, source_path=lambda name: paths[name], people=store.document("people") or {},
        more={name: found for name in FURTHER if (found := store.document(name))},
    )
