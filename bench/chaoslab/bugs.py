"""Planted storage bugs: each one a mistake that real programs made. They exist only here, never in the product.

`plant` changes the writer's own process, so that the harness can show that it would find such a mistake.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from chaoslab import writer
from whichlora import lease
from whichlora.errors import DiskFullError, MachineError
from whichlora.store import database, durable, images, store


def plant(mode: str, bug: str) -> None:
    """Choose the journal ('wal', or 'journal' as on network disks), and make the named mistake."""
    if mode == "journal":
        database.on_network_disk = lambda _: True
    if bug:
        BUGS[bug]()


def _write_with(step: Callable[[Path, Path, bytes], None]) -> None:
    """Replace the durable write by another order of steps."""

    def write(path: Path, data: bytes) -> None:
        durable.make_folder(path.parent)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        step(path, temporary, data)

    images.write_durably = write


def _flushed(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def no_file_flush() -> None:
    """The picture is renamed before its bytes are on the disk."""

    def step(path: Path, temporary: Path, data: bytes) -> None:
        temporary.write_bytes(data)
        temporary.replace(path)
        durable.sync_folder(path.parent)

    _write_with(step)


def flush_before_write() -> None:
    """The file is flushed while its bytes are still in the program."""

    def step(path: Path, temporary: Path, data: bytes) -> None:
        with temporary.open("wb") as file:
            file.write(data)
            os.fsync(file.fileno())
        temporary.replace(path)
        durable.sync_folder(path.parent)

    _write_with(step)


def no_folder_flush() -> None:
    """The name of the picture is never flushed."""
    durable.sync_folder = lambda _: None


def no_parent_flush() -> None:
    """A new folder's own name is never flushed."""
    durable.make_folder = lambda folder: folder.mkdir(parents=True, exist_ok=True)


def rename_first() -> None:
    """The picture gets its name before it is complete, and the next life trusts the name."""

    def step(path: Path, temporary: Path, data: bytes) -> None:
        temporary.touch()
        temporary.replace(path)
        half = len(data) // 2
        with path.open("r+b", buffering=0) as file:
            file.write(data[:half])
            file.write(data[half:])
            os.fsync(file.fileno())
        durable.sync_folder(path.parent)

    _write_with(step)
    _trust_names()


def write_in_place() -> None:
    """The picture is written under its final name, and a file that is there is taken as whole."""
    _write_with(lambda path, _, data: (_flushed(path, data), durable.sync_folder(path.parent))[0])
    _trust_names()


def _trust_names() -> None:
    """What bears a picture's name is not written again."""

    def put(self: images.ImageFolder, data: bytes) -> str:
        import hashlib

        sha256 = hashlib.sha256(data).hexdigest()
        if not self.path(sha256).exists():
            images.write_durably(self.path(sha256), data)
        return sha256

    images.ImageFolder._put = put


def truncated_accepted() -> None:
    """A picture counts as intact when its file exists."""
    images.ImageFolder.intact = lambda self, sha256: self.path(sha256).exists()


def row_first() -> None:
    """The row is written before its picture."""

    def make(rows: store.Store, number: int, tell: writer.Tell) -> None:
        import hashlib

        tell(f"making {number}")
        rows.add_generation(writer.generation(number, hashlib.sha256(writer.picture(number)).hexdigest()))
        rows.images.put(writer.picture(number))
        tell(f"cell {number}")

    writer.make = make


def word_first() -> None:
    """A cell is called safe before its transaction is over."""

    def make(rows: store.Store, number: int, tell: writer.Tell) -> None:
        tell(f"making {number}")
        image = rows.images.put(writer.picture(number))
        tell(f"cell {number}")
        rows.add_generation(writer.generation(number, image))

    writer.make = make


def _pragma(text: str) -> Callable[[], None]:
    def plant_it() -> None:
        real = database._prepare

        def prepare(connection: sqlite3.Connection, mode: str) -> None:
            real(connection, mode)
            connection.execute(text)

        database._prepare = prepare

    return plant_it


def journal_in_memory() -> None:
    """The rollback journal is kept in memory."""

    def prepare(connection: sqlite3.Connection, _: str) -> None:
        connection.execute("PRAGMA journal_mode=MEMORY")
        connection.execute("PRAGMA synchronous=FULL")

    database._prepare = prepare


def swallow_full_picture() -> None:
    """A picture that could not be written is taken as written."""
    real = images.write_durably

    def write(path: Path, data: bytes) -> None:
        with contextlib.suppress(DiskFullError, MachineError):
            real(path, data)

    images.write_durably = write


def swallow_full_row() -> None:
    """A row that could not be written is taken as written."""
    real = store.Store.add_generation

    def add(self: store.Store, generation: object) -> bool:
        with contextlib.suppress(DiskFullError, MachineError):
            return real(self, generation)
        return True

    store.Store.add_generation = add


def done_again() -> None:
    """What is finished is not looked up, so every life makes it again."""
    store.Store.finished = lambda self: set()


def duplicate_rows() -> None:
    """Rows are appended without looking whether they are there."""
    database._SCHEMA = database._SCHEMA.replace("cell TEXT PRIMARY KEY", "cell TEXT").replace(
        "IS NOT NULL))\n) WITHOUT ROWID;", "IS NOT NULL))\n);", 1)
    store.Store.finished = lambda self: set()

    def add(self: store.Store, generation: object) -> bool:
        with self._transaction():
            self._db.execute("INSERT INTO generations VALUES (?,?,?,?,?,?,?)", (
                generation.cell, generation.status, generation.image, store._dump(generation.seconds),
                generation.peak_memory_bytes, generation.error, store._dump(generation.facts)))
        return True

    store.Store.add_generation = add


def tidy_log_away() -> None:
    """At the start, SQLite's log is removed as if it were rubbish."""
    real = store.connect

    def connect(path: Path, *, create: bool) -> sqlite3.Connection:
        for ending in ("-wal", "-journal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        return real(path, create=create)

    store.connect = connect


def no_lock() -> None:
    """The lock is asked for, and its answer ignored."""
    lease._try_lock = lambda _: True


def lock_by_existence() -> None:
    """The project is locked by a file that only a clean end removes."""

    @contextlib.contextmanager
    def owned(folder: Path):  # noqa: ANN202
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / ".taken"
        try:
            path.open("x").close()
        except FileExistsError:
            raise lease._busy(folder, {}) from None
        yield lease.Lease(folder, "", False)
        path.unlink()

    from whichlora import workspace

    workspace.owned = owned


def part_left() -> None:
    """Half-written files are never cleared away."""
    images.ImageFolder.unfinished = lambda self: []


def tidy_by_guess() -> None:
    """A picture that cannot be looked at right now is thrown away, row and all."""

    def intact(self: images.ImageFolder, sha256: str) -> bool:
        import hashlib

        try:
            return hashlib.sha256(self.path(sha256).read_bytes()).hexdigest() == sha256
        except OSError:
            return False

    images.ImageFolder.intact = intact


BUGS: dict[str, Callable[[], None]] = {
    "no-file-flush": no_file_flush, "flush-before-write": flush_before_write, "no-folder-flush": no_folder_flush,
    "no-parent-flush": no_parent_flush, "rename-first": rename_first, "write-in-place": write_in_place,
    "truncated-accepted": truncated_accepted, "row-before-picture": row_first, "word-before-commit": word_first,
    "synchronous-off": _pragma("PRAGMA synchronous=OFF"), "synchronous-normal": _pragma("PRAGMA synchronous=NORMAL"),
    "journal-without-extra": _pragma("PRAGMA synchronous=FULL"), "journal-in-memory": journal_in_memory,
    "full-disk-swallowed-picture": swallow_full_picture,
    "full-disk-swallowed-row": swallow_full_row, "finished-not-looked-up": done_again,
    "rows-appended-twice": duplicate_rows, "log-tidied-away": tidy_log_away, "lock-ignored": no_lock,
    "lock-never-stale": lock_by_existence, "parts-left": part_left, "tidied-by-guess": tidy_by_guess,
}
"""Mistakes by name."""
JOURNAL_ONLY = {"journal-without-extra"}
"""Mistakes that only matter with a rollback journal, as on network disks."""
