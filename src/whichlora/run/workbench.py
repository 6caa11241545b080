"""What a worker does with commands: load, check a LoRA, encode, make cells. The same in a process and in a Ray actor.

Commands ('do') and their replies ('is'), which bear the command's 'job' number:

    load                            → loaded
    admit {row}                     → began (the base alone works), admitted {report, reason}
    prepare {plan, cells, canary}   → step {done, total}*, canary {pixels, inputs, environment}, ready   or: stale
    cell {cells}                    → began {cells}, then of each: computed {switch_s, together} and `Picture` (made),
                                      or failed {reason}
    prefetch {candidate}            → nothing

Besides, 'note' {text} before 'ready' and 'computed': what the user should know of how this worker computes.

Cells of one command are made in one pass where that is cheaper. If the pass fails, each is made alone, and 'began' says
which one is at work, so that whatever ends the worker is blamed on the right cell.

A reply 'broken' {reason} means that this session can no longer be trusted (CUDA error, out of memory, anything that
nobody foresaw): the worker is to be ended. A reply 'error' carries an error of the user's that stops the run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from whichlora import registry
from whichlora.errors import MachineError, RefusedError, UserError, WhichloraError
from whichlora.findings import build
from whichlora.run.admit import AdmitReport, admit_all, noise_floor
from whichlora.run.canary import Canary
from whichlora.run.cellwork import CellWork, failure_reason
from whichlora.run.environment import environment
from whichlora.run.made import Made
from whichlora.run.pictures import photograph_reader, picture_bytes
from whichlora.run.wire import Head
from whichlora.types import BaseModel, Candidate, Cell, Plan


@dataclass(frozen=True)
class Picture:
    """A made cell whose PNG is not written yet: whoever carries it decides when."""

    cell: Cell
    """The cell."""
    made: Made
    """The picture."""
    job: int | None = None
    """Number that came with the command."""

    def message(self) -> tuple[Head, bytes]:
        """The reply 'made' and the PNG's bytes."""
        started = time.perf_counter()
        data = picture_bytes(self.made, self.cell)
        seconds = dict(self.made.seconds)
        seconds["png"] = time.perf_counter() - started
        seconds["total"] += seconds["png"]
        return {
            "is": "made", "job": self.job, "cell": self.cell.id, "seconds": seconds, "facts": self.made.facts,
            "peak_memory_bytes": self.made.peak_memory_bytes,
        }, data


Reply = Head | Picture


class Workbench:
    """A worker's state: everything in it can be rebuilt from the constructor and a 'prepare' command."""

    def __init__(self, base: BaseModel, device: str, folder: Path) -> None:
        self._base, self._device, self._folder = base, device, folder
        self._work: CellWork | None = None
        self._canaries: dict[str, tuple[str, dict[str, str]]] = {}
        self._floor: float | None = None
        self._told: set[str] = set()

    def handle(self, command: Mapping[str, Any]) -> Iterator[Reply]:
        """Do what a command says; never raises anything but KeyboardInterrupt and SystemExit."""
        job = command.get("job")
        try:
            for reply in getattr(self, f"_{command['do']}")(command):
                yield replace(reply, job=job) if isinstance(reply, Picture) else {**reply, "job": job}
        except (UserError, RefusedError) as error:
            yield {"is": "error", "type": type(error).__name__, "message": error.message, "fix": error.fix, "job": job}
        except WhichloraError as error:
            yield {"is": "broken", "reason": str(error)}
        except Exception as error:
            yield {"is": "broken", "reason": failure_reason(error)}

    def _load(self, command: Mapping[str, Any]) -> Iterator[Reply]:
        family = registry.load("families", self._base.family)
        self._work = CellWork(family.load(self._base, self._device))
        yield {"is": "loaded"}

    def _admit(self, command: Mapping[str, Any]) -> Iterator[Reply]:
        work = self._ready_work()
        reports: list[AdmitReport] = []
        row = build(Candidate, command["row"])
        work.forget_active()
        if self._floor is None:
            self._floor = noise_floor(work.session, row)
        # The base alone works here: if the worker ends from now on, the file is to blame.
        yield {"is": "began"}
        _, refused = admit_all(work.session, [row], reports.append, self._floor)
        yield {
            "is": "admitted", "report": asdict(reports[0]) if reports else None,
            "reason": refused[0]["reason"] if refused else "",
        }

    def _prepare(self, command: Mapping[str, Any]) -> Iterator[Reply]:
        work = self._ready_work()
        plan = build(Plan, command["plan"])
        _see_files(plan, self._folder)
        cells = [Cell(*row) for row in command["cells"]]
        canary = build(Canary, command["canary"]) if command.get("canary") else None
        work.begin(plan, photograph_reader(plan, self._folder))
        if not work.can_encode(cells, canary):
            yield {"is": "stale"}
            return
        for done, total in work.encode(cells, canary):
            yield {"is": "step", "done": done, "total": total}
        if canary is not None:
            key = canary.cell.id
            self._canaries[key] = self._canaries.get(key) or work.canary_pixels(canary)
            pixels, inputs = self._canaries[key]
            yield {"is": "canary", "key": key, "pixels": pixels, "inputs": inputs, "environment": environment()}
        yield from self._notes()
        yield {"is": "ready", "together": {name: many for name in {cell.candidate for cell in cells}
                                           if (many := work.together(name)) > 1}}

    def _cell(self, command: Mapping[str, Any]) -> Iterator[Reply]:
        work = self._ready_work()
        cells = [Cell(*row) for row in command["cells"]]
        at_once = [cells] if len(cells) > 1 and work.fit_together(cells) else []
        switch_s = 0.0
        for group in (*at_once, *([cell] for cell in cells)):
            yield {"is": "began", "cells": [cell.id for cell in group]}
            problem, seconds = work.activate(group[0].candidate)
            switch_s += seconds
            if problem:
                yield from ({"is": "failed", "cell": cell.id, "reason": problem} for cell in group)
            else:
                try:
                    made = work.make_together(group)
                except (UserError, RefusedError) as error:
                    # Understood and without consequence for the session: trying again would end the same way.
                    if len(group) == 1:
                        yield {"is": "failed", "cell": group[0].id, "reason": failure_reason(error)}
                    continue
                many = work.together(group[0].candidate)
                yield from self._notes()
                for cell in group:
                    yield {"is": "computed", "cell": cell.id, "switch_s": switch_s, "together": many}
                    switch_s = 0.0
                yield from map(Picture, group, made)
            if len(group) == len(cells):
                return

    def _prefetch(self, command: Mapping[str, Any]) -> Iterator[Reply]:
        self._ready_work().prefetch(command["candidate"])
        yield from ()

    def _notes(self) -> Iterator[Reply]:
        """Remarks of the session that were not passed on yet."""
        tell: Any = getattr(self._ready_work().session, "remarks", None)
        for text in tell() if tell is not None else ():
            if text not in self._told:
                self._told.add(text)
                yield {"is": "note", "text": text}

    def _ready_work(self) -> CellWork:
        if self._work is None:
            raise MachineError("A worker was asked to work before it had loaded the base.")
        return self._work


def _see_files(plan: Plan, folder: Path) -> None:
    """Make sure that this machine sees the project and the LoRAs, so that no cell fails for a missing disk.

    Raises:
        MachineError: It does not.
    """
    uses = [use for row in plan.candidates for use in (*row.applied, *row.sampler.adapters)]
    missing = [path for path in (folder, *(Path(use.path) for use in uses)) if not path.exists()]
    if missing:
        import platform

        raise MachineError(
            f"The machine '{platform.node()}' does not see '{missing[0]}'.",
            fix="Put project, LoRAs and base on a disk that every machine sees under the same path.",
        )
