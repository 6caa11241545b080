"""Rows of what people said: appended, never changed; taking one back is a row of its own. SQL only, no meaning."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS votes (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  rater TEXT NOT NULL,
  at TEXT NOT NULL,
  kind TEXT NOT NULL,
  body TEXT NOT NULL
)
"""
"""Made on opening when it is missing, so that projects from before votes were stored stay readable."""


@dataclass(frozen=True, slots=True)
class VoteRow:
    """One thing that a person said."""

    id: str
    """Random and unique everywhere, so that votes brought from another machine are counted once."""
    rater: str
    """Name that the person gave."""
    at: str
    """When, as UTC in ISO 8601."""
    kind: str
    """'pair', 'rating', 'extremes' or 'undo'."""
    body: Mapping[str, Any]
    """The rest, as plain data (see review/votes.py)."""


def insert(db: sqlite3.Connection, rows: Iterable[VoteRow]) -> int:
    """Append rows inside the caller's transaction; an id that is there already is left alone. Returns rows written."""
    written = 0
    for row in rows:
        body = json.dumps(row.body, ensure_ascii=False, sort_keys=True, allow_nan=False)
        cursor = db.execute(
            "INSERT OR IGNORE INTO votes (id, rater, at, kind, body) VALUES (?,?,?,?,?)",
            (row.id, row.rater, row.at, row.kind, body),
        )
        written += cursor.rowcount
    return written


def select(db: sqlite3.Connection) -> list[VoteRow]:
    """All rows in the order in which they were written."""
    found = db.execute("SELECT id, rater, at, kind, body FROM votes ORDER BY number")
    return [VoteRow(key, rater, at, kind, json.loads(body)) for key, rater, at, kind, body in found]
