"""Looking a project's store over: database, pictures, rows without pictures, pictures without rows, leftovers.

`look_over` changes nothing; `mend` removes only what is damaged and moves what is not needed aside. A good picture is
never deleted.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from whichlora.errors import MachineError, WhichloraError
from whichlora.store.database import READ_ONLY
from whichlora.store.durable import make_folder, sync_folder
from whichlora.store.images import ImageFolder
from whichlora.store.salvage import ASIDE, Salvaged, salvage
from whichlora.store.store import Store


@dataclass(frozen=True)
class Checkup:
    """What was found; nothing in here is guessed."""

    database: str
    """'' when SQLite calls it sound, else its first complaint."""
    pictures: int = 0
    """Finished cells, each with a picture."""
    missing: tuple[str, ...] = ()
    """Cells whose picture is not there."""
    damaged: tuple[str, ...] = ()
    """Cells whose picture has other bytes than were stored."""
    orphans: tuple[str, ...] = ()
    """Whole pictures that no row names (such as of a run that was killed between the two)."""
    rotten_orphans: tuple[str, ...] = ()
    """Damaged files that no row names."""
    unfinished: tuple[Path, ...] = ()
    """Half-written files of processes that were killed."""
    stray_scores: int = 0
    """Machine scores of cells that have no picture."""
    failed: int = 0
    """Cells that are stored as failed; the next run tries them again."""

    @property
    def sound(self) -> bool:
        """Whether every stored row is true and readable. Orphans and leftovers are only untidy."""
        return not (self.database or self.missing or self.damaged or self.stray_scores or self.rotten_orphans)


def look_over(folder: Path) -> Checkup:
    """Check everything; reads every picture.

    Raises:
        ProjectError: There is no store.
        MachineError: The disk could not be read just now.
    """
    images = ImageFolder(folder / "images")
    trouble = database_trouble(folder)
    if trouble:
        return Checkup(trouble, unfinished=tuple(images.unfinished()))
    with Store(folder) as store:
        rows = store.generations()
        rotten = store.rotten()
        stray = store.stray_scores()
    done = {cell: row.image for cell, row in rows.items() if row.image is not None}
    named = set(done.values())
    loose = [sha256 for sha256, _ in images.all() if sha256 not in named]
    whole = {sha256: images.intact(sha256) for sha256 in loose}
    return Checkup(
        "", len(done), tuple(cell for cell, image in rotten.items() if not images.path(image).exists()),
        tuple(cell for cell, image in rotten.items() if images.path(image).exists()),
        tuple(sha256 for sha256 in loose if whole[sha256]), tuple(sha256 for sha256 in loose if not whole[sha256]),
        tuple(images.unfinished()), stray, sum(1 for row in rows.values() if row.status == "failed"),
    )


def database_trouble(folder: Path) -> str:
    """SQLite's first complaint about the database; '' when it is sound.

    Raises:
        ProjectError: There is none.
        MachineError: It may not be written, so SQLite cannot look into it.
    """
    path = folder / "store.sqlite"
    if not path.exists():
        Store(folder)  # says so
    try:
        with closing(sqlite3.connect(path, timeout=5)) as db:
            answers = [str(row[0]) for row in db.execute("PRAGMA integrity_check(5)")]
            if answers != ["ok"]:
                return answers[0].splitlines()[0]
            if db.execute("PRAGMA user_version").fetchone()[0]:
                for table in ("generations", "scores", "documents"):
                    db.execute(f"SELECT count(*) FROM {table}").fetchone()
        with Store(folder) as store:
            store.generations()
            store.scores()
            store.document("plan")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return ""  # somebody writes in it right now, which is no damage
        if "readonly" in str(error):
            raise MachineError(f"'{path}' may not be written: {error}.", fix=READ_ONLY) from error
        return str(error)
    except (sqlite3.DatabaseError, ValueError) as error:
        return str(error)
    except WhichloraError as error:
        if "newer whichlora" in error.message or error.fix == READ_ONLY:
            raise
        return error.message
    return ""


@dataclass(frozen=True)
class Mended:
    """What a repair did."""

    salvaged: Salvaged | None
    """What was saved of a damaged database; None when it was sound."""
    again: tuple[str, ...]
    """Cells that were forgotten, so that the next run makes them again."""
    aside: tuple[Path, ...]
    """Where files were moved."""
    cleared: int
    """Half-written or damaged files that were removed."""


def mend(folder: Path) -> Mended:
    """Repair a store. Call only while owning the project.

    Raises:
        MachineError: The disk refused; run it again.
        OSError: As above.
    """
    gone = not (folder / "store.sqlite").exists()
    saved = salvage(folder) if gone or database_trouble(folder) else None
    found = look_over(folder)
    images = ImageFolder(folder / "images")
    with Store(folder) as store:
        again = tuple(store.forget_rotten())
        store.forget_stray_scores()
    for sha256 in found.rotten_orphans:
        images.discard(sha256)
    moved: list[Path] = []
    for sha256 in found.orphans:
        target = folder / ASIDE / "images" / f"{sha256}.png"
        make_folder(target.parent)
        images.path(sha256).replace(target)
        moved.append(target)
    if moved:
        sync_folder(moved[0].parent)
    return Mended(saved, again, tuple(moved), len(found.unfinished) + len(found.rotten_orphans))
