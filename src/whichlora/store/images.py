"""Content-addressed pictures: a file's name is the SHA-256 of its bytes, so none is overwritten or mixed up."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from whichlora.errors import ProjectError
from whichlora.store.durable import write_durably

_SHA256 = re.compile(r"[0-9a-f]{64}")


class ImageFolder:
    """PNG files under `<root>/ab/abcdef….png`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes) -> str:
        """Store the bytes durably and return their SHA-256; writing the same bytes twice costs nothing."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path(sha256)
        if not path.exists():
            write_durably(path, data)
        return sha256

    def path(self, sha256: str) -> Path:
        """Path of a picture. Only a SHA-256 is accepted, so no text of a stranger ever becomes a path.

        Raises:
            ProjectError: The id is not a SHA-256.
        """
        if not _SHA256.fullmatch(sha256):
            raise ProjectError(f"'{sha256[:80]}' is not the id of a picture.", fix="Ids are 64 hexadecimal digits.")
        return self.root / sha256[:2] / f"{sha256}.png"

    def intact(self, sha256: str) -> bool:
        """True when the file is there and still has the bytes it was stored with."""
        path = self.path(sha256)
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
        except OSError:
            return False

    def discard(self, sha256: str) -> None:
        """Remove a picture that is no longer intact, so that it can be made again."""
        self.path(sha256).unlink(missing_ok=True)
