"""The parent of workers: hires them, hands out work, replaces those that end, and alone writes to the store.

A worker that crashes, hangs or says that its session is broken is ended and replaced. What it was making is tried once
more by a fresh worker and then settled with its reason: a cell as a failure, a LoRA under examination as refused.
Replacements make the canary before anything else. Workers that end again and again before they can begin give their
place up; when no place is left, the run stops with the reason, and everything finished is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from whichlora.run.admit import AdmitReport
from whichlora.run.admitting import AdmitJob
from whichlora.run.cells import CellJob
from whichlora.run.events import RunEvent
from whichlora.run.runner import RunSummary
from whichlora.run.staff import Staff
from whichlora.types import Candidate, Plan


class Crew(Staff):
    """Workers of an executor that check rows and make cells; implements `making.Maker`."""

    def admit(
        self, rows: Sequence[Candidate], seen: Callable[[AdmitReport], None] = lambda _: None
    ) -> tuple[list[Candidate], list[dict[str, str]]]:
        """See `making.Maker`; rows that this project has checked before, with the same libraries, stay as they are."""
        job = AdmitJob(self, rows, seen)
        self.work(job)
        return job.result()

    def make(
        self, plan: Plan, cells: Collection[str] | None = None, watch: Callable[[RunEvent], None] = lambda _: None
    ) -> RunSummary:
        """See `making.Maker`."""
        job = CellJob(self, plan, cells, watch)
        self.work(job)
        return job.summary()
