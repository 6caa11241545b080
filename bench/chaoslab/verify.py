"""Is everything that was called safe there, whole and once? Reads the files by itself, not through the store."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from chaoslab import writer


def problems_after(folder: Path, said: Iterable[str], count: int) -> list[str]:
    """What is wrong in a folder whose writer just died.

    Args:
        folder: Project folder; it is not changed (the database is looked at as a copy).
        said: Everything that writers said so far.
        count: Number of cells.
    """
    said = list(said)
    try:
        tables = read_tables(folder)
    except sqlite3.DatabaseError as error:
        return [f"corrupt: the database cannot be read: {error}"] if "plan" in said else []
    found = [f"corrupt: {line}" for line in tables.pop("integrity")]
    found += _rows(folder, tables["generations"], count)
    cells = {row[0] for row in tables["generations"] if row[1] == "done"}
    scored = {row[0] for row in tables["scores"]}
    for words in said:
        kind, _, number = words.partition(" ")
        if kind == "cell" and writer.cell_name(int(number)) not in cells:
            found.append(f"lost: cell {number}")
        if kind == "score" and writer.cell_name(int(number)) not in scored and "forgot" not in said:
            found.append(f"lost: score of {number}")
    if "plan" in said and not any(row[0] == "plan" for row in tables["documents"]):
        found.append("lost: plan")
    if "vote" in said and not tables["votes"]:
        found.append("lost: vote")
    return found


def _rows(folder: Path, rows: list[Any], count: int) -> list[str]:
    """Rows that lie about their picture, or are there twice."""
    right = {writer.cell_name(number): writer.picture(number) for number in range(count)}
    found = [f"duplicated: {cell}" for cell, times in Counter(row[0] for row in rows).items() if times > 1]
    for row in rows:
        cell, status, image = row[0], row[1], row[2]
        if status != "done":
            found.append(f"corrupt: {cell} is {status}")
            continue
        path = folder / "images" / image[:2] / f"{image}.png"
        try:
            data = path.read_bytes()
        except OSError:
            found.append(f"corrupt: {cell} has no picture")
            continue
        if hashlib.sha256(data).hexdigest() != image or data != right.get(cell):
            found.append(f"corrupt: picture of {cell} ({len(data)} bytes)")
    return found


def problems_at_the_end(folder: Path, count: int) -> list[str]:
    """Differences from the only right table, once a writer came to its end."""
    try:
        tables = read_tables(folder)
    except sqlite3.DatabaseError as error:
        return [f"corrupt: the database cannot be read: {error}"]
    found = [f"corrupt: {line}" for line in tables.pop("integrity")]
    want = right_tables(count)
    found += [f"table: {name} differs" for name in want if tables[name] != want[name]]
    images = {path.stem: path for path in (folder / "images").rglob("*.png") if not path.name.startswith(".")}
    hashes = {hashlib.sha256(writer.picture(number)).hexdigest() for number in range(count)}
    if set(images) != hashes:
        found.append(f"pictures: {len(hashes - set(images))} missing, {len(set(images) - hashes)} too many")
    found += [f"corrupt: {name[:12]}" for name, path in images.items()
              if hashlib.sha256(path.read_bytes()).hexdigest() != name]
    left = [path.name for path in (folder / "images").rglob("*.part")]
    return found + [f"left behind: {name}" for name in left]


def right_tables(count: int) -> dict[str, list[Any]]:
    """What a run that was never disturbed stores, written down independently of the store."""
    rows, scores = [], []
    for number in range(count):
        name = writer.cell_name(number)
        image = hashlib.sha256(writer.picture(number)).hexdigest()
        rows.append((name, "done", image, {"total": number / 4}, number, "", {"number": number}))
        scores.append((name, "made/up", 1, "", writer.CONTEXT, number / 8, "", 1, "valid", {"number": number}))
    vote = writer.VOTE
    return {
        "generations": sorted(rows, key=repr), "scores": sorted(scores, key=repr),
        "documents": [("plan", 1, writer.PLAN)],
        "votes": [(vote.id, vote.rater, vote.at, vote.kind, dict(vote.body))],
    }


_QUERIES = {
    "generations": "SELECT cell, status, image, seconds, peak_memory_bytes, error, facts FROM generations",
    "scores": "SELECT cell, metric, version, rater, context, value, reason, passed, gate, detail FROM scores",
    "documents": "SELECT name, number, body FROM documents",
    "votes": "SELECT id, rater, at, kind, body FROM votes",
}


def read_tables(folder: Path) -> dict[str, list[Any]]:
    """All rows, sorted, with JSON read; and what SQLite's own check complains about under 'integrity'."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        for path in folder.glob("store.sqlite*"):
            if not path.name.endswith("-shm"):  # rebuilt from the log by whoever opens next
                shutil.copyfile(path, Path(name) / path.name)
        if not (Path(name) / "store.sqlite").exists():
            return {**{table: [] for table in _QUERIES}, "integrity": []}
        with closing(sqlite3.connect(Path(name) / "store.sqlite")) as db:
            checked = [row[0] for row in db.execute("PRAGMA integrity_check")]
            there = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
            found: dict[str, list[Any]] = {"integrity": [line for line in checked if line != "ok"]}
            for table, query in _QUERIES.items():
                rows = db.execute(query).fetchall() if table in there else []
                found[table] = sorted((tuple(map(_plain, row)) for row in rows), key=repr)
            return found


def _plain(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value
