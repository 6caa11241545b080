"""Rows of what people said: appended, never changed; taking one back is a row of its own.

Knows of their meaning only what turns single ratings into scores with a rater, so that every reader of scores sees
what people said beside what machines measured.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from whichlora.types import Gate, Score

GOOD_RATING = 4
"""A rating from here on (of 5) counts as 'kept' or 'done' wherever a yes or no is needed."""

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


def rating_scores(rows: Iterable[VoteRow]) -> list[Score]:
    """Single ratings that stand, as scores: 'human/identity' and 'human/edit' (1 to 5), 'human/artefacts' (marks).

    Of each person's ratings of a cell the newest counts, unless it was taken back.
    """
    rows = list(rows)
    owner = {row.id: row.rater for row in rows}
    undone = [row for row in rows if row.kind == "undo"]
    gone = {row.body["undoes"] for row in undone if owner.get(row.body["undoes"]) == row.rater}
    newest: dict[tuple[str, str], VoteRow] = {}
    for row in rows:
        if row.kind == "rating" and row.id not in gone:
            newest[row.rater, str(row.body["cell"])] = row
    found: list[Score] = []
    for (rater, cell), row in newest.items():
        detail = {"at": row.at, "note": row.body.get("note", ""), "drawn": bool(row.body.get("drawn", True))}
        for name in ("identity", "edit"):
            value = row.body.get(name)
            if value is not None:
                found.append(Score(cell, f"human/{name}", 1, float(value), "", value >= GOOD_RATING,
                                   cast("Gate", name), rater, detail))
        marks = [list(mark) for mark in row.body.get("marks", ())]
        found.append(Score(cell, "human/artefacts", 1, float(len(marks)), "", None, None, rater,
                           {**detail, "marks": marks}))
    return found
