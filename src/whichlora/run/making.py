"""The contract between those who decide which cells are wanted and those who make them.

Screening, sweeps and follow-up rounds ask for cells, look at the scores, and ask again; a maker keeps whatever is
expensive (a loaded base on one GPU or several) between the calls. Does not decide anything itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from whichlora.run.admit import AdmitReport
from whichlora.run.events import RunEvent
from whichlora.run.runner import RunSummary
from whichlora.types import Candidate, Plan


class Maker(Protocol):
    """Something that turns cells into stored generations. Use as a context manager, or call `close`."""

    def admit(
        self, rows: Sequence[Candidate], seen: Callable[[AdmitReport], None] = lambda _: None
    ) -> tuple[list[Candidate], list[dict[str, str]]]:
        """Let rows through the load gate (see `admit.admit_all`): admitted, and refused as {'name', 'reason'}."""
        ...

    def make(
        self, plan: Plan, cells: Collection[str] | None = None, watch: Callable[[RunEvent], None] = lambda _: None
    ) -> RunSummary:
        """Make those of the given cells (ids; None for all of the plan) that are not stored yet.

        May be called again with other cells or with a plan that gained rows. A cell that fails is stored as a failure.

        Raises:
            MachineError: The disk is full or failed, or no worker can be started; what was finished is kept.
        """
        ...

    def close(self) -> None:
        """Give the devices back."""
        ...
