"""Content-addressed pictures: a file's name is the SHA-256 of its bytes, so none is overwritten or mixed up."""

from __future__ import annotations

import errno
import hashlib
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from whichlora.errors import MachineError, ProjectError
from whichlora.store.durable import make_folder, write_durably

_SHA256 = re.compile(r"[0-9a-f]{64}")
ASIDE = "set-aside"
"""Folder of the project for what is neither needed nor to be deleted."""
_DAMAGED = {errno.EIO, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, getattr(errno, "EUCLEAN", errno.EIO)}
"""Errors that say something of the file; others (no rights, too many open files) say something of this moment."""


class ImageFolder:
    """PNG files under `<root>/ab/abcdef….png`."""

    def __init__(self, root: Path, patiently: Callable[[Callable[[], str]], str] = lambda write: write()) -> None:
        self.root = root
        self._patiently = patiently

    def put(self, data: bytes) -> str:
        """Store the bytes durably and return their SHA-256; writing the same bytes twice costs nothing.

        A file of that name is looked at first: one that a crash or a bad disk left damaged is written anew.
        """
        return self._patiently(lambda: self._put(data))

    def _put(self, data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path(sha256)
        if not path.exists() or not self.intact(sha256):
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
        """True when the file is there and still has the bytes it was stored with.

        Raises:
            MachineError: The file could not be looked at just now, which says nothing about it.
        """
        path = self.path(sha256)
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                return False  # opening a pipe would wait for ever
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except OSError as error:
            if error.errno in _DAMAGED:
                return False
            raise MachineError(f"'{path}' cannot be read: {error.strerror or error}.",
                               fix="Check the disk and your rights in that folder; nothing was changed.") from error

    def discard(self, sha256: str) -> None:
        """Remove a picture that is no longer intact, so that it can be made again; a folder is moved to `set-aside/`.

        Raises:
            OSError: The disk refused.
        """
        path = self.path(sha256)
        if path.is_dir() and not path.is_symlink():
            target = self.root.parent / ASIDE / f"{path.stem}-{secrets.token_hex(4)}"
            make_folder(target.parent)
            path.replace(target)
        else:
            with suppress(NotADirectoryError):
                path.unlink(missing_ok=True)

    def unfinished(self) -> list[Path]:
        """Temporary files that a killed process left; call only while owning the project."""
        return sorted(self.root.glob("??/.*.part"))

    def all(self) -> Iterator[tuple[str, Path]]:
        """(SHA-256, path) of every file that bears a picture's name, in order."""
        for path in sorted(self.root.glob("??/*.png")):
            if _SHA256.fullmatch(path.stem) and path.parent.name == path.stem[:2]:
                yield path.stem, path
