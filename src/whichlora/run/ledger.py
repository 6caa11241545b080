"""The one place where results of a run reach the store: picture first, then its row, then those who watch.

Used by a run in this process and by the parent of workers; keeps count and the time left.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from whichlora.run.events import RunEvent
from whichlora.run.pace import Pace, Patience
from whichlora.store import Store
from whichlora.types import Cell, Generation, Plan


class Ledger:
    """Writes what became of cells."""

    def __init__(
        self, plan: Plan, store: Store, watch: Callable[[RunEvent], None], pending: Collection[Cell],
        patience: Patience | None = None,
    ) -> None:
        self.pace = Pace(plan, patience or Patience())
        self.pace.expect(pending)
        self.total = len(pending)
        self.done = 0
        """Cells settled, failures included."""
        self.failed = 0
        self._store = store
        self._watch = watch

    def store_picture(
        self, cell: Cell, data: bytes, seconds: Mapping[str, float], peak_memory_bytes: int, facts: Mapping[str, Any],
        *, wall_s: Callable[[], float], first: bool, workers: int = 1, switches_left: int = 0,
    ) -> None:
        """Store a finished cell durably; only then is it counted and told.

        Args:
            cell: The cell.
            data: The PNG.
            seconds: Seconds by stage.
            peak_memory_bytes: As in `Generation`.
            facts: As in `Generation`.
            wall_s: Asked after writing: what the cell cost its worker on the clock, without a change of weights.
            first: It was its worker's first.
            workers: Workers at work, for the time left.
            switches_left: Changes of weights to come, for the time left.

        Raises:
            MachineError: The disk is full or failed.
        """
        image = self._store.images.put(data)
        rounded = {name: round(value, 4) for name, value in seconds.items()}
        self._store.add_generation(Generation(cell.id, "done", image, rounded, peak_memory_bytes, "", dict(facts)))
        self.done += 1
        self.pace.finished(cell, wall_s(), seconds.get("denoise", 0.0), first=first)
        self._tell("cell", cell, workers, switches_left, image, "")

    def fail(self, cell: Cell, reason: str, *, workers: int = 1, switches_left: int = 0) -> None:
        """Store a failure with its reason."""
        self._store.add_generation(Generation(cell.id, "failed", None, {}, 0, reason))
        self.done += 1
        self.failed += 1
        self.pace.drop(cell)
        self._tell("failure", cell, workers, switches_left, None, reason)

    def _tell(self, kind: Any, cell: Cell, workers: int, switches_left: int, image: str | None, note: str) -> None:
        eta = self.pace.eta_s(workers, switches_left)
        self._watch(RunEvent(kind, self.done, self.total, eta, cell.candidate, cell.case, cell.id, image, note))
