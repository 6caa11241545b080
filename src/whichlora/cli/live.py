"""The live page of a run: base beside the first LoRA as soon as both pictures exist, then progress with an ETA."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from whichlora.run.events import RunEvent
from whichlora.store import Store

_EVERY_S = 1.0


class LivePage:
    """Writes `live/` inside the project while pictures are made; a failure to write it never stops a run."""

    def __init__(self, folder: Path, store: Store, *, show: bool) -> None:
        from whichlora.report.live import write_live_page

        self.folder = folder / "live"
        self._store = store
        self._recent: list[dict[str, Any]] = []
        self._written = 0.0
        self._show = show
        write_live_page(self.folder)

    def watch(self, event: RunEvent) -> None:
        """Take in one event of the run."""
        if event.kind == "cell" and event.image:
            path = self._store.images.path(event.image)
            relative = Path("..") / path.relative_to(self.folder.parent)
            self._recent.append({"candidate": event.candidate, "case": event.case, "image": relative.as_posix()})
        glimpse = len(self._recent) <= 2 and event.kind == "cell"
        if glimpse or time.monotonic() - self._written > _EVERY_S:
            self._write({"stage": event.kind, "done": event.done, "total": event.total, "eta_s": event.eta_s})
        if self._show and len(self._recent) >= 2:
            import webbrowser

            self._show = False
            webbrowser.open((self.folder / "live.html").resolve().as_uri())

    def finish(self) -> None:
        """Say on the page that all pictures are made."""
        self._write({"stage": "finished", "done": len(self._recent), "total": len(self._recent), "eta_s": 0.0})

    def _write(self, state: dict[str, Any]) -> None:
        from whichlora.report.live import update_live

        self._written = time.monotonic()
        update_live(self.folder, {**state, "pictures": self._recent[:2] + self._recent[2:][-24:]})
