"""A maker in this very process: for debugging, and where child processes are not to be had. A crash ends the run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from types import TracebackType

from whichlora import registry
from whichlora.run.admit import AdmitReport, admit_all
from whichlora.run.cellwork import CellWork
from whichlora.run.events import RunEvent
from whichlora.run.executor import Setup
from whichlora.run.pictures import photograph_reader
from whichlora.run.runner import RunSummary, make_here
from whichlora.run.schedule import pending_cells
from whichlora.store import Store
from whichlora.types import Candidate, Plan


class InProcessMaker:
    """See `making.Maker`."""

    def __init__(self, setup: Setup, store: Store) -> None:
        self._setup, self._store = setup, store
        self._work: CellWork | None = None

    def __enter__(self) -> InProcessMaker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def admit(
        self, rows: Sequence[Candidate], seen: Callable[[AdmitReport], None] = lambda _: None
    ) -> tuple[list[Candidate], list[dict[str, str]]]:
        """See `making.Maker`."""
        work = self._loaded()
        work.forget_active()
        return admit_all(work.session, rows, seen)

    def make(
        self, plan: Plan, cells: Collection[str] | None = None, watch: Callable[[RunEvent], None] = lambda _: None
    ) -> RunSummary:
        """See `making.Maker`."""
        read = photograph_reader(plan, self._setup.folder)
        work = self._loaded()
        work.begin(plan, read)
        if not work.can_encode(pending_cells(plan, self._store.finished())):
            self._work = None
            work = self._loaded()
            work.begin(plan, read)
        return make_here(work, plan, self._store, watch, cells)

    def close(self) -> None:
        """Let go of the session."""
        self._work = None

    def _loaded(self) -> CellWork:
        if self._work is None:
            family = registry.load("families", self._setup.base.family)
            self._work = CellWork(family.load(self._setup.base, self._setup.device))
        return self._work
