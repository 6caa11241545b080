"""A project folder: where everything of one comparison lies, and who may write in it.

<project>/whichlora.yaml     the suite: character, edits, candidates
<project>/refs/              the character's photographs, copied unchanged
<project>/impostors/         photographs of others, for calibration only
<project>/store.sqlite       rows (see store/)
<project>/images/            generated pictures by content hash
<project>/report/            the newest report
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from whichlora.errors import ProjectError

SUITE_NAME = "whichlora.yaml"


class Workspace:
    """Paths of one project folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls, folder: Path) -> Workspace:
        """Open an existing project.

        Raises:
            ProjectError: The folder is missing or holds no suite.
        """
        if not folder.is_dir():
            raise ProjectError(
                f"There is no folder '{folder}'.", fix=f"Create a project with: whichlora init {folder} --refs PHOTOS…"
            )
        workspace = cls(folder)
        if not workspace.suite_path.is_file():
            raise ProjectError(
                f"'{folder}' is not a whichlora project: it has no {SUITE_NAME}.",
                fix=f"Create one with: whichlora init {folder} --refs PHOTOS…",
            )
        return workspace

    @property
    def suite_path(self) -> Path:
        """The suite file."""
        return self.folder / SUITE_NAME

    @property
    def refs(self) -> Path:
        """The character's photographs."""
        return self.folder / "refs"

    @property
    def impostors(self) -> Path:
        """Photographs of others."""
        return self.folder / "impostors"

    @property
    def report(self) -> Path:
        """Folder of the newest report."""
        return self.folder / "report"

    @contextmanager
    def owned(self) -> Generator[None]:
        """Be the only writer of this project while the context lasts.

        Raises:
            ProjectError: Another process owns it; the message names its process id and since when.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / ".lock"
        with path.open("a+", encoding="utf-8") as file:
            if not _try_lock(file):
                owner = _owner(self.folder)
                raise ProjectError(
                    f"Another whichlora works in '{self.folder}' (process {owner.get('pid', '?')}"
                    f", since {owner.get('since', '?')}).",
                    fix="Wait for it, or stop it; both would otherwise write the same rows.",
                )
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            (self.folder / ".owner").write_text(json.dumps({"pid": os.getpid(), "since": since}), encoding="utf-8")
            try:
                yield
            finally:
                _unlock(file)


def _owner(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / ".owner").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[str]) -> bool:
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(file: IO[str]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: IO[str]) -> bool:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _unlock(file: IO[str]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_UN)
