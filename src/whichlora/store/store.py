"""Typed rows over the project's database: append-only, the only meeting point of the stages.

A generation is written once, after its picture is durable; a score is written once per metric, version, rater and
context. Documents (plan, findings) are numbered; the newest counts and the older ones stay.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

from whichlora.errors import DiskFullError, MachineError, ProjectError
from whichlora.store.database import connect
from whichlora.store.durable import disk_error, free_bytes, make_folder
from whichlora.store.images import ImageFolder
from whichlora.store.votes import VoteRow, insert, rating_scores, select
from whichlora.types import Gate, Generation, Score

T = TypeVar("T")
_GENERATION = "cell, status, image, seconds, peak_memory_bytes, error, facts"
_STRAY = "rater='' AND cell NOT IN (SELECT cell FROM generations WHERE status='done')"


class Store:
    """The rows and pictures of one project."""

    def __init__(
        self, folder: Path, *, create: bool = False, guard: Callable[[], None] | None = None,
        when_full: Callable[[DiskFullError], None] | None = None,
    ) -> None:
        """Open the store inside a project folder.

        Args:
            folder: The project folder.
            create: Make the store if there is none.
            guard: Called before every write; raises when the project is no longer ours (see `Lease.check`).
            when_full: Called when the disk is full: it returns when there is room again and the write is repeated, or
                raises (see `room.wait_for_room`). Without it a full disk is an error.

        Raises:
            ProjectError: There is none (and `create` is False), or it cannot be read.
            MachineError: The disk refused.
        """
        self.folder = folder
        self._guard = guard or (lambda: None)
        self._when_full = when_full
        self.images = ImageFolder(folder / "images", self._patiently)
        if create:
            try:
                make_folder(folder)
            except OSError as error:
                raise disk_error(error, folder) from error
        self._db = connect(folder / "store.sqlite", create=create)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; safe to call twice."""
        self._db.close()

    # ------------------------------------------------------------------ generations

    def add_generation(self, generation: Generation) -> bool:
        """Write what became of a cell. A finished cell is never overwritten; a failed one may be tried again.

        Returns:
            True when the row was written, False when the cell was already done.
        """
        return self._patiently(lambda: self._add_generation(generation))

    def _add_generation(self, generation: Generation) -> bool:
        with self._transaction():
            cursor = self._db.execute(
                "INSERT INTO generations VALUES (?,?,?,?,?,?,?) ON CONFLICT(cell) DO UPDATE SET"
                " status=excluded.status, image=excluded.image, seconds=excluded.seconds,"
                " peak_memory_bytes=excluded.peak_memory_bytes, error=excluded.error, facts=excluded.facts"
                " WHERE generations.status='failed'",
                (
                    generation.cell, generation.status, generation.image, _dump(generation.seconds),
                    generation.peak_memory_bytes, generation.error, _dump(generation.facts),
                ),
            )
            return cursor.rowcount > 0

    def generations(self) -> dict[str, Generation]:
        """All generations by cell id."""
        return {row[0]: _generation(row) for row in self._db.execute(f"SELECT {_GENERATION} FROM generations")}

    def generation(self, cell: str) -> Generation | None:
        """What became of one cell; None when it was not tried."""
        row = self._db.execute(f"SELECT {_GENERATION} FROM generations WHERE cell=?", (cell,)).fetchone()
        return _generation(row) if row else None

    def finished(self) -> set[str]:
        """Ids of cells that need no further work (done; failures are tried again by the next run)."""
        return {row[0] for row in self._db.execute("SELECT cell FROM generations WHERE status='done'")}

    def forget_rotten(self) -> list[str]:
        """Check every stored picture against its hash; rows of rotten ones are removed so that they are made again.

        Also clears away what a killed process left half written. Call only while owning the project.

        Returns:
            Ids of the cells that were forgotten.
        """
        for path in self.images.unfinished():
            path.unlink(missing_ok=True)
        rotten = self.rotten()
        for cell, image in rotten.items():
            self.forget(cell)
            # The row goes first: a row without its picture would lie, a picture without its row does not.
            self.images.discard(image)
        return list(rotten)

    def rotten(self) -> dict[str, str]:
        """Cell → picture of those finished whose picture is missing or no longer what was stored. Reads every file."""
        rows = self._db.execute("SELECT cell, image FROM generations WHERE status='done' ORDER BY cell").fetchall()
        with ThreadPoolExecutor(4) as pool:  # hashing and reading run beside each other
            sound = pool.map(lambda row: self.images.intact(row[1]), rows, chunksize=1)
            return {cell: image for (cell, image), ok in zip(rows, sound, strict=True) if not ok}

    def forget(self, cell: str) -> None:
        """Remove a cell's row and what machines scored of it, so that it is made again; people's words stay."""
        with self._transaction():
            self._db.execute("DELETE FROM generations WHERE cell=?", (cell,))
            self._db.execute("DELETE FROM scores WHERE cell=? AND rater=''", (cell,))

    # ------------------------------------------------------------------ scores

    def add_scores(self, scores: Iterable[Score], *, context: str = "") -> int:
        """Write scores in one transaction; one that exists already stays as it is.

        Args:
            scores: The scores.
            context: Fingerprint of what else decided them, such as the calibration photographs.

        Returns:
            Number of rows written.
        """
        rows = list(scores)
        return self._patiently(lambda: self._add_scores(rows, context))

    def _add_scores(self, scores: list[Score], context: str) -> int:
        written = 0
        with self._transaction():
            for score in scores:
                cursor = self._db.execute(
                    "INSERT OR IGNORE INTO scores VALUES (?,?,?,?,?,?,?,?,?,?)",
                    (
                        score.cell, score.metric, score.version, score.rater, context, score.value, score.reason,
                        None if score.passed is None else int(score.passed), score.gate, _dump(score.detail),
                    ),
                )
                written += cursor.rowcount
        return written

    def scores(self, *, context: str | None = None) -> list[Score]:
        """Scores, of one context or of all; people's single ratings are among them in every context."""
        query = "SELECT cell, metric, version, value, reason, passed, gate, rater, detail FROM scores"
        rows = (
            self._db.execute(query) if context is None
            else self._db.execute(query + " WHERE context IN (?, '')", (context,))
        )
        measured = [
            Score(cell, metric, version, value, reason, None if passed is None else bool(passed),
                  cast("Gate | None", gate), rater, json.loads(detail))
            for cell, metric, version, value, reason, passed, gate, rater, detail in rows
        ]
        return measured + rating_scores(self.votes())

    def scored(self, *, context: str) -> set[tuple[str, str, int]]:
        """(cell, metric, version) that a machine has scored in this context."""
        rows = self._db.execute(
            "SELECT cell, metric, version FROM scores WHERE rater='' AND context=?", (context,)
        )
        return set(rows)

    def stray_scores(self) -> int:
        """How many scores of machines belong to cells without a picture."""
        return int(self._db.execute(f"SELECT count(*) FROM scores WHERE {_STRAY}").fetchone()[0])

    def forget_stray_scores(self) -> None:
        """Remove scores of machines that belong to cells without a picture."""
        with self._transaction():
            self._db.execute(f"DELETE FROM scores WHERE {_STRAY}")

    # ------------------------------------------------------------------ votes

    def add_votes(self, rows: Iterable[VoteRow]) -> int:
        """Append what people said, in one durable transaction; ids already there are left alone.

        Returns:
            Number of rows written.
        """
        listed = list(rows)
        return self._patiently(lambda: self._add_votes(listed))

    def _add_votes(self, rows: list[VoteRow]) -> int:
        with self._transaction():
            return insert(self._db, rows)

    def votes(self) -> list[VoteRow]:
        """Everything people said, oldest first, taken-back votes included."""
        return select(self._db)

    def foreign_commits(self) -> int:
        """A number that changes whenever another connection has written; asking costs next to nothing."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    # ------------------------------------------------------------------ documents

    def add_document(self, name: str, body: Mapping[str, Any]) -> int:
        """Append a document; writing the newest one again changes nothing. Returns its number."""
        text = json.dumps(body, ensure_ascii=False, sort_keys=True)
        return self._patiently(lambda: self._add_document(name, text))

    def _add_document(self, name: str, text: str) -> int:
        with self._transaction():
            row = self._db.execute(
                "SELECT number, body FROM documents WHERE name=? ORDER BY number DESC LIMIT 1", (name,)
            ).fetchone()
            if row and row[1] == text:
                return int(row[0])
            number = int(row[0]) + 1 if row else 1
            self._db.execute("INSERT INTO documents VALUES (?,?,?)", (name, number, text))
            return number

    def document(self, name: str) -> dict[str, Any] | None:
        """The newest document of that name, or None.

        Raises:
            ProjectError: It is damaged.
        """
        row = self._db.execute(
            "SELECT body FROM documents WHERE name=? ORDER BY number DESC LIMIT 1", (name,)
        ).fetchone()
        try:
            return json.loads(row[0]) if row else None
        except ValueError as error:
            raise ProjectError(f"What the store holds as '{name}' is damaged.",
                               fix="Save what can be saved with: whichlora doctor PROJECT --repair") from error

    # ------------------------------------------------------------------ inner

    def _patiently(self, write: Callable[[], T]) -> T:
        """Do a write that leaves nothing behind when it fails; again when there is room again."""
        while True:
            self._guard()
            try:
                return write()
            except DiskFullError as error:
                if self._when_full is None:
                    raise
                self._when_full(error)

    @contextmanager
    def _transaction(self) -> Generator[None]:
        """One durable transaction; anything raised inside rolls it back."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            # SQLite names a full disk only when it was the database itself that found no room.
            if "full" in str(error) or ("I/O" in str(error) and free_bytes(self.folder) < 1_000_000):
                raise DiskFullError(
                    f"The disk is full: a row could not be written in '{self.folder}'.",
                    fix="Free some space and run the same command again; everything finished is kept.",
                ) from error
            raise MachineError(
                f"The project store in '{self.folder}' could not be written: {error}.",
                fix="Check the disk, and that no other program holds the file; then run the same command again.",
            ) from error


def _generation(row: tuple[Any, ...]) -> Generation:
    cell, status, image, seconds, peak, error, facts = row
    return Generation(cell, status, image, json.loads(seconds), peak, error, json.loads(facts))


def _dump(value: Any) -> str:
    """JSON as stored: plain data, NaN refused (a NaN that reached the store would be a silent wrong answer)."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)
