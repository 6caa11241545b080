"""Typed rows over the project's database: append-only, the only meeting point of the stages.

A generation is written once, after its picture is durable; a score is written once per metric, version, rater and
context. Documents (plan, findings) are numbered; the newest counts and the older ones stay.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from whichlora.errors import DiskFullError, MachineError
from whichlora.store.database import connect
from whichlora.store.images import ImageFolder
from whichlora.store.votes import VoteRow, insert, rating_scores, select
from whichlora.types import Gate, Generation, Score


class Store:
    """The rows and pictures of one project."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        """Open the store inside a project folder.

        Raises:
            ProjectError: There is none (and `create` is False), or it cannot be read.
        """
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.images = ImageFolder(folder / "images")
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
        rows = self._db.execute(
            "SELECT cell, status, image, seconds, peak_memory_bytes, error, facts FROM generations"
        )
        return {
            cell: Generation(cell, status, image, json.loads(seconds), peak, error, json.loads(facts))
            for cell, status, image, seconds, peak, error, facts in rows
        }

    def finished(self) -> set[str]:
        """Ids of cells that need no further work (done; failures are tried again by the next run)."""
        return {row[0] for row in self._db.execute("SELECT cell FROM generations WHERE status='done'")}

    def forget_rotten(self) -> list[str]:
        """Check every stored picture against its hash; rows of rotten ones are removed so that they are made again.

        Returns:
            Ids of the cells that were forgotten.
        """
        rotten: list[str] = []
        for cell, image in self._db.execute("SELECT cell, image FROM generations WHERE status='done'").fetchall():
            if not self.images.intact(image):
                self.images.discard(image)
                with self._transaction():
                    self._db.execute("DELETE FROM generations WHERE cell=?", (cell,))
                    self._db.execute("DELETE FROM scores WHERE cell=? AND rater=''", (cell,))
                rotten.append(cell)
        return rotten

    # ------------------------------------------------------------------ scores

    def add_scores(self, scores: Iterable[Score], *, context: str = "") -> int:
        """Write scores in one transaction; one that exists already stays as it is.

        Args:
            scores: The scores.
            context: Fingerprint of what else decided them, such as the calibration photographs.

        Returns:
            Number of rows written.
        """
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

    # ------------------------------------------------------------------ votes

    def add_votes(self, rows: Iterable[VoteRow]) -> int:
        """Append what people said, in one durable transaction; ids already there are left alone.

        Returns:
            Number of rows written.
        """
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
        """The newest document of that name, or None."""
        row = self._db.execute(
            "SELECT body FROM documents WHERE name=? ORDER BY number DESC LIMIT 1", (name,)
        ).fetchone()
        return json.loads(row[0]) if row else None

    # ------------------------------------------------------------------ inner

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
            if "full" in str(error):
                raise DiskFullError(
                    f"The disk is full: a row could not be written in '{self.folder}'.",
                    fix="Free some space and run the same command again; everything finished is kept.",
                ) from error
            raise MachineError(
                f"The project store in '{self.folder}' could not be written: {error}.",
                fix="Check the disk, and that no other program holds the file; then run the same command again.",
            ) from error


def _dump(value: Any) -> str:
    """JSON as stored: plain data, NaN refused (a NaN that reached the store would be a silent wrong answer)."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)
