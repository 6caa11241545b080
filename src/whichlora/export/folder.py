"""A new folder, there whole or not at all: written beside its place and renamed into it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from whichlora.errors import ProjectError
from whichlora.store.durable import disk_error


def check_free(target: Path) -> Path:
    """Make sure that a folder can be made at `target`; returns its place, links followed.

    Raises:
        ProjectError: Something lies there already, or its parent is no folder or may not be written into; nothing is
            changed.
    """
    elsewhere = "Name another folder with --to; nothing was changed."
    place = target.resolve()
    if place.exists() and not place.is_dir():
        raise ProjectError(f"'{target}' exists and is no folder.", fix=elsewhere)
    if place.is_dir() and any(place.iterdir()):
        raise ProjectError(f"'{target}' exists and is not empty.", fix=elsewhere)
    parent = next(above for above in place.parents if above.exists())
    if not parent.is_dir():
        raise ProjectError(f"'{target}' cannot be made: '{parent}' is no folder.", fix=elsewhere)
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ProjectError(f"'{target}' cannot be made: '{parent}' may not be written into.", fix=elsewhere)
    return place


@contextmanager
def new_folder(target: Path) -> Generator[Path]:
    """Give a draft folder; it takes the place of `target` when the context ends, and vanishes when it fails.

    Raises:
        ProjectError: As `check_free`.
        MachineError: The disk is full or failed.
    """
    target = check_free(target)
    draft: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        yield draft
        draft.chmod(0o755)
        if target.exists():
            target.rmdir()
        draft.replace(target)
    except OSError as error:
        raise disk_error(error, target) from error
    finally:
        if draft is not None and draft.exists():
            shutil.rmtree(draft, ignore_errors=True)


def write_text(path: Path, text: str) -> Path:
    """Write UTF-8 text with plain line feeds, also on Windows, so that hashes agree everywhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_json(path: Path, document: Mapping[str, Any]) -> Path:
    """Write a JSON document for people and programs: indented, not escaped."""
    return write_text(path, json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write JSON lines."""
    return write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def link(source: Path, target: Path) -> Path:
    """Give a file of the draft a second name: a hard link where the disk has them, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except (OSError, NotImplementedError):
        shutil.copyfile(source, target)
    return target
