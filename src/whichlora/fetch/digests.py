"""SHA-256 of files on disk, remembered by path, size and time, so that 20 GB are hashed once and not at every call."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

_PIECE = 4 * 1024 * 1024


def sha256_of(path: Path, tell: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file; `tell` is given the bytes of each piece."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            if tell is not None:
                tell(len(piece))
    return digest.hexdigest()


def git_sha1_of(path: Path) -> str:
    """Git's hash of a file's content, by which the Hub identifies small files."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


class DigestBook:
    """Remembered digests; a file that changed size or time is hashed again.

    Args:
        path: Where they are kept; the user's cache folder without it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or _default_path()
        self._known = self._load()
        self._changed = False

    def sha256(self, path: Path, tell: Callable[[int], None] | None = None) -> str:
        """SHA-256 of a file, remembered or computed."""
        real = path.resolve()
        state = real.stat()
        mark = [state.st_size, state.st_mtime_ns]
        known = self._known.get(str(real))
        if isinstance(known, list) and known[:2] == mark and isinstance(known[2], str):
            return known[2]
        digest = sha256_of(real, tell)
        self._known[str(real)] = [*mark, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        """Keep what was computed; a folder that cannot be written to is no error."""
        if not self._changed:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
            part.write_text(json.dumps(self._known), encoding="utf-8")
            part.replace(self.path)
            self._changed = False
        except OSError:
            return

    def _load(self) -> dict[str, list[object]]:
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {key: value for key, value in data.items() if isinstance(value, list) and len(value) == 3} if isinstance(
            data, dict) else {}


def _default_path() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if os.name == "nt" else None)
    return (Path(root) if root else Path.home() / ".cache") / "whichlora" / "digests.json"
