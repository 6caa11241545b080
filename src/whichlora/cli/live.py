"""The live page of a run: base beside the first LoRA as soon as both pictures exist, then progress with an ETA."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whichlora.run.events import RunEvent
    from whichlora.store import Store
    from whichlora.types import Plan

_EVERY_S = 1.0


class LivePage:
    """Writes `live/` inside the project while pictures are made, and opens it once there is something to compare."""

    def __init__(self, folder: Path, store: Store, *, show: bool) -> None:
        from whichlora.report.live import write_live_page

        self.folder = folder / "live"
        self._root = folder
        self._store = store
        self._show = show
        self._plan: Plan | None = None
        self._base: dict[str, Path] = {}
        self._pairs: list[dict[str, Any]] = []
        self._started = self._written = time.monotonic()
        self._failed = 0
        self._round = ""
        self._page = write_live_page(self.folder)

    def begin(self, plan: Plan) -> None:
        """Take in the plan, so that cases can be shown with their source and instruction."""
        if self._round and self._plan is not None:
            return
        self._plan = plan
        self._cases = {case.id: case for case in plan.cases}
        self._sources = {item.id: self._root / item.path for item in plan.sources}
        self._roles = {candidate.name: candidate.role for candidate in plan.candidates}
        self._write("Starting", 0, len(plan.cells), None)

    def watch(self, event: RunEvent) -> None:
        """Take in one event of the run."""
        self._failed += event.kind == "failure"
        fresh = event.kind == "cell" and event.image is not None and self._pair(event)
        if (fresh and len(self._pairs) == 1) or time.monotonic() - self._written > _EVERY_S:
            making = ", ".join(filter(None, ("Making pictures", self._round)))
            stage = "Encoding photographs and instructions" if event.kind == "encode" else making
            self._write(stage, event.done, event.total, event.eta_s)
        if self._show and self._pairs:
            import webbrowser

            self._show = False
            webbrowser.open(self._page.resolve().as_uri())

    def say(self, sentence: str) -> None:
        """What a screened run is at, such as 'round 2 of 3: 6 candidates left'; '' when no round follows."""
        self._round = sentence
        if sentence and self._plan is not None:
            self._write(sentence.capitalize(), 0, 0, None)

    def finish(self) -> None:
        """Say on the page that all pictures are made, unless another round follows."""
        if self._round:
            return
        total = len(self._plan.cells) if self._plan else 0
        self._write("All pictures are made", total, total, 0.0, finished=True)

    def _pair(self, event: RunEvent) -> bool:
        """Add a picture beside its base; True when a new pair can be shown."""
        assert event.image is not None
        path = self._store.images.path(event.image)
        if event.candidate == "base":
            self._base[event.case] = path
            return False
        if self._roles.get(event.candidate) != "candidate" or event.case not in self._base:
            return False
        case = self._cases[event.case]
        self._pairs.append({
            "prompt": case.prompt, "source": self._sources[case.source], "base": self._base[event.case],
            "candidate": event.candidate, "picture": path,
        })
        return True

    def _write(self, stage: str, done: int, total: int, eta_s: float | None, *, finished: bool = False) -> None:
        self._written = time.monotonic()
        # The page is a comfort: a disk too full for it must not end a run that would wait for room.
        with suppress(OSError):
            self._update(stage, done, total, eta_s, finished=finished)

    def _update(self, stage: str, done: int, total: int, eta_s: float | None, *, finished: bool) -> None:
        from whichlora.report.live import update_live

        update_live(self.folder, {
            "project": self._plan.project if self._plan else "", "stage": stage, "planned": total, "done": done,
            "failed": self._failed, "eta_s": eta_s, "elapsed_s": self._written - self._started, "finished": finished,
            "report": str(self._root / "report" / "index.html") if finished else "",
            "pairs": self._pairs[-24:],
        })
