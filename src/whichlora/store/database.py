"""Opening the project's SQLite file: schema, durability, and disks on which WAL is unsafe.

`synchronous=FULL` makes a commit survive a power cut. WAL needs shared memory, which network file systems do not
have, so the journal mode is chosen by disk and read back.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from whichlora.errors import MachineError, ProjectError
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

_NETWORK_DISKS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "glusterfs", "lustre", "gpfs", "beegfs", "ceph"}


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open the project's database, creating it when asked.

    Raises:
        ProjectError: The file is missing, is no database, or was written by a newer whichlora.
        MachineError: The disk refused.
    """
    if not create and not path.exists():
        raise ProjectError(f"'{path.parent}' holds no project store.", fix="Run 'whichlora run' there first.")
    try:
        connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        mode = "DELETE" if on_network_disk(path) else "WAL"
        connection.execute(f"PRAGMA journal_mode={mode}").fetchone()
        connection.execute("PRAGMA synchronous=FULL")
        _migrate(connection)
    except sqlite3.DatabaseError as error:
        if "disk" in str(error) or "I/O" in str(error) or "unable to open" in str(error):
            raise MachineError(
                f"'{path}' could not be opened: {error}.", fix="Check the disk and its rights."
            ) from error
        raise ProjectError(
            f"'{path}' is not a store that whichlora can read: {error}.",
            fix="Move it away and run again; pictures in 'images' are kept.",
        ) from error
    return connection


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


def on_network_disk(path: Path) -> bool:
    """True when the path lies on a file system without the shared memory that WAL needs (Linux only; else False)."""
    if sys.platform != "linux":
        return False
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    best, kind = "", ""
    target = str(path.resolve())
    for line in mounts:
        fields = line.split()
        point = fields[1].replace("\\040", " ")
        if len(point) >= len(best) and (target == point or target.startswith(point.rstrip("/") + "/")):
            best, kind = point, fields[2]
    return kind in _NETWORK_DISKS or kind.startswith("fuse.")
