"""How processes of one machine that have no parent in common come to share one file in memory.

Local workers inherit its descriptor; Ray's actors are nobody's children. The first to come makes the file and the
others find it among the open files of those that have it, through /proc. So nothing has a name in any folder, and
nothing is left behind however the processes end. Processes that do not see each other (other containers, other users)
share nothing.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from whichlora.company import SHARED_NAME

_PATIENCE_S = 30.0


def meet(token: str) -> int | None:
    """A descriptor of the file that everybody on this machine who calls with this token shares.

    Args:
        token: A secret of the run, of letters and digits: whoever knows it can join.

    Returns:
        None where the system has no such files, or somebody else has been looking for it for half a minute.
    """
    if sys.platform != "linux":
        return None
    name = f"{SHARED_NAME}-{token}"
    try:
        with _alone(name):
            found = _found(name)
            return os.memfd_create(name) if found is None else found
    except OSError:
        return None


def _found(name: str) -> int | None:
    """Open the file of that name that another process has; None when nobody has it."""
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        # Other users' files cannot be listed, and processes end while one looks.
        with suppress(OSError):
            for link in (process / "fd").iterdir():
                with suppress(OSError):
                    if str(link.readlink()).startswith(f"/memfd:{name} "):
                        return os.open(link, os.O_RDWR | os.O_CLOEXEC)
    return None


@contextmanager
def _alone(name: str) -> Generator[None]:
    """Nobody else on this machine is inside under this name: an address that the system frees with its owner."""
    deadline = time.monotonic() + _PATIENCE_S
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as owner:
        while True:
            try:
                owner.bind(f"\0{name}")
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        yield
