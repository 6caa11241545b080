"""A project folder: where everything of one comparison lies, and who may write in it.

<project>/whichlora.yaml     the suite: character, edits, candidates
<project>/refs/              the character's photographs, copied unchanged
<project>/impostors/         photographs of others, for calibration only
<project>/store.sqlite       rows (see store/)
<project>/images/            generated pictures by content hash
<project>/combinations.yaml  combinations proposed from measured results
<project>/merged/            merged LoRAs by recipe
<project>/report/            the newest report
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from whichlora.errors import ProjectError
from whichlora.lease import Lease, owned
from whichlora.quoting import quoted

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
        if folder.is_file():
            raise ProjectError(f"'{folder}' is a file; a project is a folder.",
                               fix=f"Name the folder, such as: {quoted(folder.parent)}")
        if not folder.is_dir():
            raise ProjectError(
                f"There is no folder '{folder}'.",
                fix=f"Create a project with: whichlora init {quoted(folder)} --refs PHOTOS…",
            )
        workspace = cls(folder)
        if not workspace.suite_path.is_file():
            raise ProjectError(
                f"'{folder}' is not a whichlora project: it has no {SUITE_NAME}.",
                fix=f"Create one with: whichlora init {quoted(folder)} --refs PHOTOS…",
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
    def merged(self) -> Path:
        """Merged LoRAs, by the identity of their recipe; safe to delete, made again when needed."""
        return self.folder / "merged"

    @property
    def combinations_path(self) -> Path:
        """Combinations that were proposed from measured results, in the suite's own words (see `suite`)."""
        return self.folder / "combinations.yaml"

    @property
    def report(self) -> Path:
        """Folder of the newest report."""
        return self.folder / "report"

    @contextmanager
    def owned(self) -> Generator[Lease]:
        """Be the only writer of this project while the context lasts; see `lease.owned`.

        Raises:
            ProjectError: Another process or machine owns it; the message names it and since when.
        """
        with owned(self.folder) as lease:
            yield lease
