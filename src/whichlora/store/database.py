"""Opening the project's SQLite file: schema, durability, and disks on which WAL is unsafe.

A commit survives a power cut. WAL needs shared memory, which network file systems do not have, so the journal mode is
chosen by disk and read back.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from whichlora.errors import MachineError, ProjectError
from whichlora.lease import on_network_disk
from whichlora.quoting import quoted
from whichlora.store import votes

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE generations (
  cell TEXT PRIMARY KEY,
  status TEXT NOT NULL CHECK (status IN ('done', 'failed')),
  image TEXT,
  seconds TEXT NOT NULL,
  peak_memory_bytes INTEGER NOT NULL,
  error TEXT NOT NULL,
  facts TEXT NOT NULL,
  CHECK ((status = 'done') = (image IS NOT NULL))
) WITHOUT ROWID;
CREATE TABLE scores (
  cell TEXT NOT NULL,
  metric TEXT NOT NULL,
  version INTEGER NOT NULL,
  rater TEXT NOT NULL,
  context TEXT NOT NULL,
  value REAL,
  reason TEXT NOT NULL,
  passed INTEGER,
  gate TEXT,
  detail TEXT NOT NULL,
  PRIMARY KEY (cell, metric, version, rater, context)
) WITHOUT ROWID;
CREATE TABLE documents (
  name TEXT NOT NULL,
  number INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (name, number)
) WITHOUT ROWID;
"""


READ_ONLY = "Nothing is wrong with it; copy the project to a folder that you may write into, and work there."
"""What helps where a project lies on a disk, or in a folder, without leave to write."""


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open the project's database, creating it when asked.

    Raises:
        ProjectError: The file is missing, is no database, or was written by a newer whichlora.
        MachineError: The disk refused.
    """
    if not create and not path.exists():
        raise ProjectError(f"'{path.parent}' holds no project store.",
                           fix=f"Run first: whichlora run {quoted(path.parent)}")
    try:
        connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        _prepare(connection, "DELETE" if on_network_disk(path) else "WAL")
        _migrate(connection)
    except sqlite3.DatabaseError as error:
        told = str(error).replace("database disk image is malformed", "the database is malformed")
        if "disk" in told or "I/O" in told or "unable to open" in told:
            raise MachineError(
                f"'{path}' could not be opened: {error}.", fix="Check the disk and its rights."
            ) from error
        if "readonly" in str(error):
            raise MachineError(f"'{path}' may not be written: {error}.", fix=READ_ONLY) from error
        raise ProjectError(
            f"'{path}' is not a store that whichlora can read: {error}.",
            fix=f"Save what can be saved with: whichlora doctor {quoted(path.parent)} --repair",
        ) from error
    return connection


def _prepare(connection: sqlite3.Connection, mode: str) -> None:
    """Choose journal and durability, and read back what the disk made of it.

    In WAL mode FULL makes a commit durable. With a rollback journal a commit is the removal of a file, which FULL does
    not flush: only EXTRA does, and without it a power cut could take back what was acknowledged.
    """
    got = str(connection.execute(f"PRAGMA journal_mode={mode}").fetchone()[0]).upper()
    connection.execute(f"PRAGMA synchronous={'FULL' if got == 'WAL' else 'EXTRA'}")
    if got not in {"WAL", "DELETE", "TRUNCATE", "PERSIST"}:
        raise sqlite3.OperationalError(f"the disk offers no safe journal ('{got}')")


def _migrate(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise ProjectError(
            f"This project was written by a newer whichlora (store version {version}, known {SCHEMA_VERSION}).",
            fix="Upgrade with: pip install -U whichlora",
        )
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
    connection.execute(votes.SCHEMA)
