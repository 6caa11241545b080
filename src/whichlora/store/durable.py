"""Writing a file so that it is there whole or not at all, also after a power cut.

The order matters and is always the same: write a temporary file beside the target, flush it to the disk, rename it
over the target, flush the folder. Only then may anyone say that the file exists.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from whichlora.errors import DiskFullError, MachineError


def write_durably(path: Path, data: bytes) -> None:
    """Write `data` to `path`, atomically and durably; an existing file is replaced whole.

    Raises:
        DiskFullError: No room is left (ENOSPC or a quota); the target is untouched.
        MachineError: The disk failed in another way; the target is untouched.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        make_folder(path.parent)
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):  # what failed is told, not what failed after it
            temporary.unlink(missing_ok=True)
        raise disk_error(error, path) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably: a folder whose own name is lost takes its files with it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk; a no-op on Windows, whose renames are journalled."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below a folder, and itself: for what was written by other means before a rename."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        elif path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def free_bytes(folder: Path) -> int:
    """Room left for this user on the disk of a folder that may not exist yet; a huge number where nobody can tell."""
    there = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path.cwd())
    try:
        return shutil.disk_usage(there).free
    except OSError:
        return 2**62


def disk_error(error: OSError, path: Path) -> MachineError:
    """Turn an `OSError` into a sentence with the next step."""
    if error.errno in {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}:
        return DiskFullError(
            f"The disk is full: '{path.name}' could not be written in '{path.parent}'.",
            fix="Free some space and run the same command again; everything finished is kept.",
        )
    return MachineError(
        f"'{path}' could not be written: {error.strerror or error}.",
        fix="Check the disk and run the same command again; everything finished is kept.",
    )
