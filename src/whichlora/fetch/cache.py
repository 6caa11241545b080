"""Put a verified file into the Hub's own cache, in the layout that its client reads: blobs, snapshots, refs.

The layout is the documented one (`models--owner--name/{blobs,snapshots,refs}`); no cache of our own is kept.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from whichlora.errors import DiskFullError, MachineError, RefusedError
from whichlora.survey.names import is_sound_path
from whichlora.survey.text import clean


def repo_folder(cache: Path, repo_id: str) -> Path:
    """Folder of a repository."""
    return cache / f"models--{repo_id.replace('/', '--')}"


def blob_path(cache: Path, repo_id: str, key: str) -> Path:
    """Where the content lies."""
    return repo_folder(cache, repo_id) / "blobs" / key


def snapshot_path(cache: Path, repo_id: str, commit: str, file: str) -> Path:
    """Where programs look for a file.

    Raises:
        RefusedError: Its name would lead out of the cache, or no system could bear it.
    """
    if not is_sound_path(file):
        raise RefusedError(f"The file name '{clean(file)[:80]}' is refused: it could lead out of the cache.")
    return repo_folder(cache, repo_id) / "snapshots" / commit / Path(*file.split("/"))


def place(cache: Path, repo_id: str, commit: str, file: str, key: str, part: Path, revision: str) -> Path:
    """Move a verified file into the cache and name it under its commit and revision.

    Where links are not allowed (Windows without Developer Mode) the file goes to the snapshot itself, as the Hub's
    client does it, so that it does not lie there twice.

    Returns:
        The path that programs open.
    """
    blob, pointer = blob_path(cache, repo_id, key), snapshot_path(cache, repo_id, commit, file)
    pointer.parent.mkdir(parents=True, exist_ok=True)
    # The content is safe on disk before any name points to it.
    _flush(part)
    part.replace(blob)
    _link(blob, pointer)
    name_revision(cache, repo_id, revision, commit)
    return pointer


def _link(blob: Path, pointer: Path) -> None:
    if pointer.is_symlink() or pointer.exists():
        pointer.unlink()
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except (OSError, NotImplementedError):
        blob.replace(pointer)


def name_revision(cache: Path, repo_id: str, revision: str, commit: str) -> None:
    """Write down which commit a branch or tag stands for."""
    if revision == commit:
        return
    if not is_sound_path(revision):
        raise RefusedError(f"'{revision[:80]}' is no name of a branch or tag.", fix="Name a branch, a tag or a commit.")
    ref = repo_folder(cache, repo_id) / "refs" / Path(*revision.split("/"))
    ref.parent.mkdir(parents=True, exist_ok=True)
    new = ref.with_name(f"{ref.name}.{uuid.uuid4().hex[:12]}.part")  # files of one repository arrive side by side
    new.write_text(commit, encoding="ascii")
    new.replace(ref)


def link_into(folder: Path, source: Path, name: str) -> Path:
    """Make a file available in a folder: hard link, else symbolic link, else copy. The source is never moved."""
    folder.mkdir(parents=True, exist_ok=True)
    target, real = folder / name, source.resolve()
    if target.exists() and target.samefile(real):
        return target
    new = folder / f".{name}.{uuid.uuid4().hex[:12]}.part"
    new.unlink(missing_ok=True)
    for way in (os.link, os.symlink, shutil.copyfile):
        try:
            way(real, new)
            break
        except (OSError, NotImplementedError):
            new.unlink(missing_ok=True)
    else:
        raise MachineError(f"'{target}' cannot be written.", fix="Check the folder's rights and free space.")
    new.replace(target)
    return target


def check_disk(cache: Path, missing_bytes: int, reserve: float = 1.5) -> tuple[int, int]:
    """Free and needed bytes on the cache's disk.

    Raises:
        DiskFullError: Less is free than the missing bytes with their reserve.
    """
    there = next(path for path in (cache, *cache.parents) if path.exists())
    free, needed = shutil.disk_usage(there).free, int(missing_bytes * reserve)
    if free < needed:
        raise DiskFullError(
            f"{missing_bytes / 1e9:.1f} GB are missing and {needed / 1e9:.1f} GB should be free (half as much again), "
            f"but '{there}' has {free / 1e9:.1f} GB.",
            fix="Free space (hf cache prune), or set HF_HOME to a larger disk.",
        )
    return free, needed


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
