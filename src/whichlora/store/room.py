"""Is there room for the pictures, and what to do when it runs out: wait, not crash. Frees nothing by itself."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from whichlora.errors import DiskFullError
from whichlora.store.durable import free_bytes
from whichlora.store.store import Store
from whichlora.types import Plan

BYTES_PER_PX = 2.0
"""A PNG of a photograph takes 1.2 to 1.9 bytes a pixel; used until this project's own pictures tell better."""
RESERVE = 1.5
"""Less than so many times the estimate is worth a warning."""
_ENOUGH_TO_TELL = 3
_PATIENCE_S = 24 * 3600.0


@dataclass(frozen=True)
class Room:
    """What a run needs and what there is."""

    pictures: int
    """Pictures that are still to be made."""
    needed_bytes: int
    """Estimate for all of them."""
    free_bytes: int
    """Room on the project's disk."""
    measured: bool
    """Whether the estimate rests on pictures of this project."""

    @property
    def warning(self) -> str:
        """One sentence when it may not suffice; '' when it does."""
        if self.free_bytes >= RESERVE * self.needed_bytes:
            return ""
        return (f"{self.pictures} pictures need about {_size(self.needed_bytes)}, {_size(self.free_bytes)} are free: "
                "the run may have to wait for room.")


def room_for(plan: Plan, store: Store) -> Room:
    """Estimate what the missing pictures of a plan need, and look at the disk. Costs no more than a look at rows.

    Raises:
        DiskFullError: There is surely too little: less than half of the estimate.
    """
    areas = {item.name: item.sampler.reference_area_px for item in plan.candidates}
    finished = store.finished()
    pending = {cell.id: areas[cell.candidate] for cell in plan.cells if cell.id not in finished}
    sizes = _sizes(store, (cell.id for cell in plan.cells if cell.id in finished))
    measured = len(sizes) >= _ENOUGH_TO_TELL
    needed = len(pending) * sum(sizes) / len(sizes) if measured else sum(pending.values()) * BYTES_PER_PX
    room = Room(len(pending), int(needed), free_bytes(store.folder), measured)
    # Screening may stop early and the estimate may be high: what is merely short is waited for.
    if room.free_bytes < room.needed_bytes / 2:
        raise DiskFullError(
            f"{room.pictures} pictures need about {_size(room.needed_bytes)}, but the disk of '{store.folder}' has "
            f"{_size(room.free_bytes)} free.",
            fix="Free some space, or move the project to a larger disk; nothing was begun.",
        )
    return room


def _sizes(store: Store, cells: Iterable[str]) -> list[int]:
    """File sizes of up to 200 pictures."""
    rows = store.generations()
    found: list[int] = []
    for cell in cells:
        image = rows[cell].image
        try:
            if image is not None:
                found.append(store.images.path(image).stat().st_size)
        except OSError:
            continue
        if len(found) >= 200:
            break
    return found


@dataclass
class WaitForRoom:
    """What a store does when the disk is full: say so once, wait, let the write be tried again (`Store(when_full=)`).

    Whatever was finished is safe; the write in hand is repeated from its beginning.
    """

    folder: Path
    """Folder on the disk that is full."""
    tell: Callable[[str], None]
    """Given one sentence when waiting begins and one when it is over."""
    patience_s: float = field(default_factory=lambda: _seconds(os.environ.get("WHICHLORA_WAIT_FOR_ROOM_S", "")))
    """Longest wait, then the disk being full is an error; WHICHLORA_WAIT_FOR_ROOM_S, or a day."""
    poll_s: float = 2.0
    """How often the disk is looked at."""
    retry_s: float = 60.0
    """After this long the write is tried even if no room shows (quotas are not seen from outside)."""
    _since: float | None = None
    _last: float = 0.0

    def __call__(self, error: DiskFullError) -> None:
        """Wait until there is room.

        Raises:
            DiskFullError: Nobody made room in time.
        """
        now = time.monotonic()
        first = self._since is None or now - self._last > self.retry_s
        if first:
            self._since = now
            self.tell(f"{error.message} Waiting for room: free some space, and the run goes on by itself; Ctrl-C stops "
                      "it, and nothing is lost.")
        assert self._since is not None
        until = now + self.retry_s
        while True:
            # Slept first: where room shows and writes fail all the same (a quota), this must not spin.
            time.sleep(self.poll_s)
            self._last = time.monotonic()
            if self._last - self._since >= self.patience_s:
                self._since = None
                raise error
            if free_bytes(self.folder) >= _comfortable(self.folder):
                if first:
                    self.tell("There is room again; going on.")
                return
            if self._last >= until:
                return


def _comfortable(folder: Path) -> int:
    """Free bytes from which going on makes sense: 32 MB, or a twentieth of a small disk."""
    try:
        return min(32_000_000, shutil.disk_usage(folder).total // 20)
    except OSError:
        return 0


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return _PATIENCE_S


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count:.0f} B"
