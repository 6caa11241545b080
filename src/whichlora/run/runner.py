"""Making the pictures of a plan in this process: only what is missing, each written whole or not at all.

A cell that fails is stored as a failure with its reason and tried again by the next run; a candidate that cannot be
switched on fails all its cells, never silently the base's. For rehearsals, debugging and tests: a crash of the model
ends this process, which is why runs of a user go through workers (see `crew.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from whichlora.errors import MachineError
from whichlora.families.base import Picture, Session
from whichlora.run.cellwork import CellWork, failure_reason
from whichlora.run.events import RunEvent
from whichlora.run.ledger import Ledger
from whichlora.run.made import Made
from whichlora.run.pictures import picture_bytes
from whichlora.run.schedule import blocks, in_groups, pending_cells
from whichlora.store import Store
from whichlora.types import Cell, Plan

Watcher = Callable[[RunEvent], None]


@dataclass(frozen=True)
class RunSummary:
    """What a run did."""

    made: int
    """Pictures made by this run."""
    failed: int
    """Cells that failed in this run."""
    skipped: int
    """Cells that were done before."""
    seconds: float
    """Wall-clock time."""
    restarts: int = 0
    """Workers that ended and were started again."""
    tail_cells: int = 0
    """Most cells that a worker still had before it when another one found nothing left to do."""


def run_plan(
    plan: Plan, store: Store, session: Session, picture: Callable[[str], Picture], watch: Watcher = lambda _: None,
    only: Collection[str] | None = None,
) -> RunSummary:
    """Make every missing picture of the plan.

    Args:
        plan: The resolved plan.
        store: Where generations go.
        session: The loaded base.
        picture: Source id → photograph (see `photograph_reader`).
        watch: Called after every step.
        only: Ids of the cells to make now; None for all.

    Raises:
        MachineError: The disk is full or failed; what was finished is kept.
    """
    work = CellWork(session)
    work.begin(plan, picture)
    return make_here(work, plan, store, watch, only)


def make_here(
    work: CellWork, plan: Plan, store: Store, watch: Watcher, only: Collection[str] | None
) -> RunSummary:
    """As `run_plan`, with a session that may have been at work before."""
    started = time.monotonic()
    missing = pending_cells(plan, store.finished())
    pending = [cell for cell in missing if only is None or cell.id in only]
    ledger = Ledger(plan, store, watch, pending)
    # All that the plan still lacks, so that asking for more cells later finds the encoders' work done.
    for done, total in work.encode(missing if pending else ()):
        watch(RunEvent("encode", done, total, note="encoding instructions and photographs"))
    todo = blocks(plan, pending)
    sizes = {source.id: (source.width_px, source.height_px) for source in plan.sources}
    size = {case.id: sizes.get(case.source) for case in plan.cases}
    for number, (name, cells) in enumerate(todo):
        for group in in_groups(cells, work.together(name), lambda cell: size[cell.case]):
            _make(work, name, group, ledger, len(todo) - number - 1)
    return RunSummary(ledger.done - ledger.failed, ledger.failed, len(plan.cells) - len(pending),
                      time.monotonic() - started)


def _make(work: CellWork, name: str, cells: Sequence[Cell], ledger: Ledger, switches_left: int) -> None:
    """Make cells and store them; a failure of the model is stored, a failure of the disk is raised."""
    started = time.perf_counter()
    problem, switch_s = work.activate(name)
    if switch_s:
        ledger.pace.switched(switch_s)
    if problem:
        for cell in cells:
            ledger.fail(cell, problem, switches_left=switches_left)
        return
    if len(cells) > 1 and not work.fit_together(cells):
        for cell in cells:
            _make(work, name, [cell], ledger, switches_left)
        return
    try:
        made: list[Made] = work.make_together(cells)
    except (MachineError, KeyboardInterrupt):
        raise
    except Exception as error:
        if len(cells) > 1:
            for cell in cells:
                _make(work, name, [cell], ledger, switches_left)
            return
        ledger.fail(cells[0], failure_reason(error), switches_left=switches_left)
        return
    first = ledger.done == 0
    for cell, each in zip(cells, made, strict=True):
        data = picture_bytes(each, cell)
        wall_s = (time.perf_counter() - started - switch_s) / len(cells)
        ledger.store_picture(
            cell, data, each.seconds, each.peak_memory_bytes, each.facts,
            wall_s=lambda wall_s=wall_s: wall_s, first=first, switches_left=switches_left,
        )
