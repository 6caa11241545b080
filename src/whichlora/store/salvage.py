"""Saving what can be saved from a damaged database: rows that can still be read, then pictures that say what they are.

The damaged files are copied aside first and never changed. Nothing is invented: a row is kept only if it is whole, a
picture only if its bytes are what its name says.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichlora.store.database import connect
from whichlora.store.durable import make_folder, sync_folder
from whichlora.store.images import ASIDE, ImageFolder

_ENDINGS = ("", "-wal", "-shm", "-journal")
_TABLES = {
    "generations": "cell, status, image, seconds, peak_memory_bytes, error, facts",
    "scores": "cell, metric, version, rater, context, value, reason, passed, gate, detail",
    "documents": "name, number, body",
    "votes": "number, id, rater, at, kind, body",
}
_JSON = {"generations": (3, 6), "scores": (9,), "documents": (2,), "votes": (5,)}


@dataclass(frozen=True)
class Salvaged:
    """What was saved."""

    rows: dict[str, int]
    """Rows by table."""
    from_pictures: int
    """Cells whose row was lost and that were told by their pictures."""
    complete: dict[str, bool]
    """By table: whether it could be read to its end."""
    aside: Path
    """Where the damaged files lie."""


def salvage(folder: Path) -> Salvaged:
    """Replace a damaged database by a sound one with everything that could be read.

    Call only while owning the project, with no store open.

    Raises:
        OSError: The disk refused; the damaged database is still in its place.
        MachineError: As above.
    """
    aside = folder / ASIDE / time.strftime("store-%Y%m%d-%H%M%S")
    make_folder(aside)
    for ending in _ENDINGS:
        part = folder / f"store.sqlite{ending}"
        if part.exists():
            shutil.copyfile(part, aside / part.name)
            with (aside / part.name).open("rb+") as file:
                os.fsync(file.fileno())
    sync_folder(aside)
    tables, complete = _read(aside / "store.sqlite", folder)
    images = ImageFolder(folder / "images")
    known = {row[0] for row in tables["generations"]}
    told = [row for row in from_pictures(images) if row[0] not in known]
    tables["generations"] += told
    mended = folder / ".store.sqlite.mended.part"
    _write(mended, tables)
    # The old log must be gone before the new database has the name that it belongs to.
    for ending in _ENDINGS[1:]:
        (folder / f"store.sqlite{ending}").unlink(missing_ok=True)
    sync_folder(folder)
    mended.replace(folder / "store.sqlite")
    sync_folder(folder)
    return Salvaged({name: len(rows) for name, rows in tables.items()}, len(told), complete, aside)


def _read(path: Path, folder: Path) -> tuple[dict[str, list[Any]], dict[str, bool]]:
    """Whole rows of every table, read on a copy that SQLite may change."""
    work = folder / ".salvage.part"
    shutil.rmtree(work, ignore_errors=True)
    tables: dict[str, list[Any]] = {name: [] for name in _TABLES}
    complete = dict.fromkeys(_TABLES, False)
    try:
        shutil.copytree(path.parent, work)
        (work / "store.sqlite-shm").unlink(missing_ok=True)
        with closing(sqlite3.connect(work / "store.sqlite")) as db:
            db.text_factory = lambda data: data.decode("utf-8", "strict")
            with suppress(sqlite3.DatabaseError):
                db.execute("PRAGMA cell_size_check=ON")
            for name, columns in _TABLES.items():
                found, complete[name] = _rows(db, name, columns)
                tables[name] = [row for row in found if _whole(name, row)]
                complete[name] &= len(found) == len(tables[name])
    except (sqlite3.DatabaseError, OSError):
        pass  # what was read so far counts
    finally:
        shutil.rmtree(work, ignore_errors=True)
    images = ImageFolder(folder / "images")
    tables["generations"] = [
        row for row in tables["generations"] if row[1] == "failed" or (row[2] and images.intact(row[2]))
    ]
    return tables, complete


def _rows(db: sqlite3.Connection, name: str, columns: str) -> tuple[list[Any], bool]:
    """Rows from the front until damage, then from the back until damage."""
    keys = {"generations": "cell", "scores": "cell, metric, version, rater, context", "documents": "name, number",
            "votes": "number"}[name]
    found: dict[Any, Any] = {}
    for turn in ("ASC", "DESC"):
        order = ", ".join(f"{key.strip()} {turn}" for key in keys.split(","))
        try:
            for row in db.execute(f"SELECT {columns} FROM {name} ORDER BY {order}"):
                found.setdefault(_key(name, row), row)
            return list(found.values()), True
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            continue
    return list(found.values()), False


def _key(name: str, row: Any) -> Any:
    return row[0] if name in {"generations", "votes"} else row[:5] if name == "scores" else row[:2]


def _whole(name: str, row: Any) -> bool:
    """Whether a row's JSON can be read and its types are right; a torn page may hold anything."""
    try:
        for index in _JSON[name]:
            json.loads(row[index])
        if name == "generations":
            return row[1] in ("done", "failed") and (row[1] == "done") == (row[2] is not None) and bool(row[0])
        return isinstance(row[0], str if name != "votes" else int)
    except (TypeError, ValueError, RecursionError):
        return False


def from_pictures(images: ImageFolder) -> list[tuple[Any, ...]]:
    """Rows of cells as their pictures tell: every picture carries its cell's id. Times and memory are lost.

    A cell that two different pictures claim is left out, so that it is made again.
    """
    claims: dict[str, list[tuple[Any, ...]]] = {}
    for sha256, _ in images.all():
        if images.intact(sha256) and (row := _row_of(images, sha256)) is not None:
            claims.setdefault(row[0], []).append(row)
    return [rows[0] for _, rows in sorted(claims.items()) if len(rows) == 1]


def _row_of(images: ImageFolder, sha256: str) -> tuple[Any, ...] | None:
    import numpy as np
    from PIL import Image

    try:
        with Image.open(images.path(sha256), formats=("PNG",)) as picture:
            chunk = json.loads(str(picture.info.get("whichlora", "")))
            pixels = np.asarray(picture.convert("RGB"))
        cell = chunk["cell"]
    except (OSError, ValueError, KeyError, TypeError, SyntaxError, Image.DecompressionBombError):
        return None
    if not isinstance(cell, str) or not cell.startswith("c") or len(cell) > 200:
        return None
    facts = {
        "height_px": int(pixels.shape[0]), "width_px": int(pixels.shape[1]), "recovered": True,
        "pixels": hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest(),
    }
    return cell, "done", sha256, "{}", 0, "", json.dumps(facts, sort_keys=True)


def _write(path: Path, tables: dict[str, list[Any]]) -> None:
    """A new, checked and flushed database."""
    for ending in _ENDINGS:
        path.with_name(path.name + ending).unlink(missing_ok=True)
    with closing(connect(path, create=True)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("BEGIN IMMEDIATE")
        for name, columns in _TABLES.items():
            marks = ",".join("?" * len(columns.split(",")))
            db.executemany(f"INSERT OR IGNORE INTO {name} ({columns}) VALUES ({marks})", tables[name])
        db.execute("COMMIT")
        answer = db.execute("PRAGMA integrity_check").fetchone()[0]
        if answer != "ok":
            raise sqlite3.DatabaseError(f"the mended database is not sound either: {answer}")
    with path.open("rb+") as file:
        os.fsync(file.fileno())
