"""The crew's job of making cells: prepare each worker, keep it fed, store what comes back, settle what went wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from whichlora.run import canary
from whichlora.run.dispatch import Board
from whichlora.run.events import RunEvent
from whichlora.run.ledger import Ledger
from whichlora.run.runner import RunSummary
from whichlora.run.schedule import blocks, pending_cells
from whichlora.run.staff import Place, Staff, no_worker
from whichlora.types import Cell, Plan

if TYPE_CHECKING:
    from whichlora.run.wire import Head

_TRIES = 2
"""How often a cell may end its worker before it is stored as a failure."""
_HOPELESS = 3
"""Cells of one candidate that failed so, with none made, after which its other cells are not tried."""
_DEATHS = 12
"""Workers that may end one after another, over all candidates, without any finished cell in between."""


_JOINT_LOSSES = 2
"""Workers that may end while they make cells together, before every cell is made alone."""


@dataclass
class _Group:
    """Cells of one command, which share its time."""

    left: int
    """Cells not settled."""
    owed_s: float = 0.0
    """What each of them has cost so far."""

    def share(self, passed_s: float) -> float:
        """Seconds that the cell which is settled now cost, when so many passed since the last one."""
        self.owed_s += passed_s / self.left
        self.left -= 1
        return self.owed_s


@dataclass
class _Told:
    """A cell that a worker was told of."""

    cell: Cell
    group: _Group
    began: bool = False
    computed: bool = False
    switch_s: float = 0.0


class CellJob:
    """See `crew.Job`."""

    def __init__(
        self, crew: Staff, plan: Plan, wanted: Collection[str] | None, watch: Callable[[RunEvent], None]
    ) -> None:
        self._crew, self._plan, self._watch = crew, plan, watch
        self._started = time.monotonic()
        self._missing = pending_cells(plan, crew.store.finished())
        only = None if wanted is None else set(wanted)
        self._pending = [cell for cell in self._missing if only is None or cell.id in only]
        self._ledger = Ledger(plan, crew.store, watch, self._pending, crew.patience)
        self._board = Board(blocks(plan, self._pending), lambda cell: self._ledger.pace.kind(cell)[1] or 1e-6)
        self._canary = canary.choose_canary(plan)
        self._restarts_before = crew.restarts
        self._blamed: dict[str, int] = {}
        self._hopeless: dict[str, int] = {}
        self._made: set[str] = set()
        """Candidates of which this run has made a cell."""
        self._settled: set[str] = set()
        self._sizes = {source.id: (source.width_px, source.height_px) for source in plan.sources}
        self._sources = {case.id: case.source for case in plan.cases}
        self._alone: set[str] = set()
        """Cells that were being made together with others when their worker ended."""
        self._joint_losses = 0
        self._deaths = 0
        self._tail = 0
        self._teller: int | None = None
        """The worker whose encoding is told to those who watch; all do the same."""
        self._message: dict[str, Any] = {}
        self._notes: set[str] = set()
        """What workers said of how they compute; said once, however many say it."""

    # ------------------------------------------------------------------ Job

    def wanted(self) -> int:
        """A worker for every cell, up to all of them."""
        return len(self._pending) - self._ledger.done

    def finished(self) -> bool:
        """True when every cell is settled."""
        return self._ledger.done == len(self._pending)

    def arrived(self, place: Place) -> None:
        """Let it encode and make the canary."""
        if not self.finished():
            self._crew.send(place, self._prepare(), self._crew.patience.load_s)

    def heard(self, place: Place, head: Head, body: bytes) -> None:
        """Act on one reply."""
        kind = head["is"]
        if kind == "step":
            self._crew.allow(place, self._crew.patience.load_s)
            self._teller = place.number if self._teller is None else self._teller
            if self._teller == place.number and self._ledger.done == 0:
                self._watch(RunEvent("encode", head["done"], head["total"],
                                     note="encoding instructions and photographs"))
        elif kind == "stale":
            self._crew.renew(place)
        elif kind == "canary":
            self._judge_canary(head)
        elif kind == "ready":
            place.begun, place.strikes = True, 0
            place.facts.update(told={}, first=True, last=time.monotonic(), next="", together=dict(head["together"]))
            self._crew.rest(place)
            self._feed(place)
        elif kind in ("began", "computed"):
            self._progress(place, head)
        elif kind in ("made", "failed"):
            self._settle(place, head, body)
        elif kind == "note" and head["text"] not in self._notes:
            self._notes.add(head["text"])
            self._crew.say(f"{place.hand.name if place.hand else 'a worker'}: {head['text']}")

    def lost(self, place: Place, reason: str) -> None:
        """Hand its cells to others; the one that it was making is to blame."""
        told: dict[str, _Told] = place.facts.get("told", {})
        working = [item for item in told.values() if item.began and not item.computed]
        guilty = working[0] if len(working) == 1 else None
        self._deaths += 1
        if len(working) > 1:
            # Whose fault it was will show when each is made alone.
            self._alone.update(item.cell.id for item in working)
            self._joint_losses += 1
        back = [item.cell for item in told.values()]
        if guilty is not None:
            self._blamed[guilty.cell.id] = self._blamed.get(guilty.cell.id, 0) + 1
            if self._blamed[guilty.cell.id] >= _TRIES:
                back.remove(guilty.cell)
                self._fail_hopeless(guilty.cell, reason)
        self._board.give_back(place.number, back)
        if self._deaths >= _DEATHS and not self.finished():
            self.give_up(reason)
        if not self.finished():
            for other in self._crew.places:
                if other is not place and other.begun:
                    self._feed(other)

    def give_up(self, reason: str) -> None:
        """Nobody is left to make the cells."""
        if not self.finished():
            raise no_worker(reason)

    def summary(self) -> RunSummary:
        """What this job did."""
        ledger = self._ledger
        return RunSummary(
            ledger.done - ledger.failed, ledger.failed, len(self._plan.cells) - len(self._pending),
            time.monotonic() - self._started, self._crew.restarts - self._restarts_before, self._tail,
        )

    # ------------------------------------------------------------------ inside

    def _prepare(self) -> dict[str, Any]:
        """The command that makes a worker ready: the plan without its cells, and all cells that it may have to make.

        All that the plan still lacks is encoded at once, so that asking for more cells later finds the work done.
        """
        if not self._message:
            self._message = {"do": "prepare", "plan": asdict(replace(self._plan, cells=())),
                             "canary": asdict(self._canary) if self._canary else None}
        missing = [_row(cell) for cell in self._missing if cell.id not in self._settled]
        return {**self._message, "cells": missing}

    def _judge_canary(self, head: Head) -> None:
        store = self._crew.store
        known = store.document(canary.DOCUMENT)
        document, note = canary.compare(known, head["key"], head["environment"], head["pixels"], head["inputs"])
        if document != known:
            store.add_document(canary.DOCUMENT, document)
        if note:
            self._crew.say(note)

    def _feed(self, place: Place) -> None:
        """Tell a worker of its next cells, and of those after them while there is plenty for everybody.

        Near the end a worker is told of one command only: what it was told of cannot be taken by an idle one.
        """
        told: dict[str, _Told] = place.facts["told"]
        team = sum(1 for other in self._crew.places if other.begun)
        while True:
            ahead = 2 if len(self._board) >= 2 * team else 1
            busy = len({id(item.group) for item in told.values() if not item.computed})
            if busy >= ahead:
                return
            cells = self._take(place, own_only=busy > 0, keep=team)
            if not cells:
                break
            if not told:
                place.facts["last"] = time.monotonic()
                self._crew.allow(place, len(cells) * self._ledger.pace.deadline_s(cells[0]))
            group = _Group(len(cells))
            told.update((cell.id, _Told(cell, group)) for cell in cells)
            self._crew.send(place, {"do": "cell", "cells": [_row(cell) for cell in cells]})
            self._prefetch(place, cells[0])
        if not told and team > 1:
            lists = (other.facts.get("told", {}).values() for other in self._crew.places)
            self._tail = max([self._tail, *(sum(not item.computed for item in items) for items in lists)])

    def _take(self, place: Place, *, own_only: bool, keep: int) -> list[Cell]:
        """The next cells for a worker: one, or as many as it would rather make at once.

        Cells are put together only if their outputs have one size and so many are left that nobody is idle for it.
        """
        cell = self._board.next(place.number, own_only=own_only)
        if cell is None:
            return []
        cells = [cell]
        most = place.facts["together"].get(cell.candidate, 1) if self._joint_losses < _JOINT_LOSSES else 1
        while len(cells) < most and len(self._board) >= keep and cell.id not in self._alone:
            other = self._board.like(place.number, lambda it: it.id not in self._alone and self._same_size(it, cell))
            if other is None:
                break
            cells.append(other)
        return cells

    def _same_size(self, one: Cell, other: Cell) -> bool:
        size = self._sizes.get(self._sources[one.case])
        return size is not None and size == self._sizes.get(self._sources[other.case])

    def _prefetch(self, place: Place, cell: Cell) -> None:
        """Tell a worker once per block which candidate it will probably visit next."""
        following = self._board.after(place.number) or ""
        if following and following not in (place.facts["next"], cell.candidate):
            place.facts["next"] = following
            self._crew.send(place, {"do": "prefetch", "candidate": following})

    def _progress(self, place: Place, head: Head) -> None:
        told: dict[str, _Told] = place.facts["told"]
        if head["is"] == "began":
            # What is not named any more waits for its turn: of a pass that failed, one cell after the other is tried.
            for item in told.values():
                item.began = item.computed or item.cell.id in head["cells"]
            item, many = told[head["cells"][0]], len(head["cells"])
        else:
            item, many = told[head["cell"]], 1
            item.computed = True
            item.switch_s = float(head["switch_s"])
            place.facts["together"][item.cell.candidate] = head["together"]
            if item.switch_s:
                self._ledger.pace.switched(item.switch_s)
            self._feed(place)
        self._crew.allow(place, many * self._ledger.pace.deadline_s(item.cell))

    def _settle(self, place: Place, head: Head, body: bytes) -> None:
        """Store a picture or a failure, and give the worker more to do."""
        item: _Told = place.facts["told"].pop(head["cell"])
        cell = item.cell
        self._settled.add(cell.id)
        self._deaths = 0
        outlook = {"workers": self._team(), "switches_left": self._board.blocks_left()}
        if head["is"] == "failed":
            item.group.left -= 1
            self._ledger.fail(cell, head["reason"], **outlook)
        else:
            now, before = time.monotonic(), place.facts["last"]
            place.facts["last"] = now
            self._made.add(cell.candidate)
            wall_s = item.group.share(max(0.0, now - before - item.switch_s))
            self._ledger.store_picture(
                cell, body, head["seconds"], head["peak_memory_bytes"], head["facts"],
                wall_s=lambda: wall_s, first=place.facts["first"], **outlook,
            )
            place.facts["first"] = place.facts["first"] and item.group.left > 0
        self._crew.allow(place, self._ledger.pace.deadline_s(cell))
        self._feed(place)
        if not place.facts["told"]:
            self._crew.rest(place)

    def _fail_hopeless(self, cell: Cell, reason: str) -> None:
        """A cell has ended its worker twice; after some such cells its candidate is not tried further."""
        outlook = {"workers": self._team(), "switches_left": self._board.blocks_left()}
        self._settled.add(cell.id)
        self._ledger.fail(cell, f"it ended its worker twice: {reason}", **outlook)
        if cell.candidate in self._made:
            return
        self._hopeless[cell.candidate] = self._hopeless.get(cell.candidate, 0) + 1
        if self._hopeless[cell.candidate] >= _HOPELESS:
            for other in self._board.drop_candidate(cell.candidate):
                self._settled.add(other.id)
                self._ledger.fail(other, f"not tried, because {_HOPELESS} other cells of '{cell.candidate}' ended "
                                         f"their workers and none was made: {reason}", **outlook)

    def _team(self) -> int:
        return max(1, sum(1 for place in self._crew.places if place.begun))


def _row(cell: Cell) -> list[Any]:
    return [cell.id, cell.candidate, cell.case, cell.seed]
