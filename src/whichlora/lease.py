"""Being the only writer of a folder: a lock of the operating system, and a lease for disks that two machines share.

On a disk of this computer the lock decides alone: it dies with its process, so a killed run leaves nothing to clear
away. On a network disk locks may silently do nothing, so a lease file says who works there, on which machine, and is
touched as long as they do. Reads and writes nothing but its own three files.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from whichlora.errors import MachineError, ProjectError

LOCK_NAME = ".lock"
LEASE_NAME = ".owner"
HEARTBEAT_S = 10.0
"""How often a lease on a network disk is touched."""
STALE_AFTER_S = 60.0
"""A lease of another machine that was not touched for so long is taken over."""
_TURN_S = 0.05
"""Pause while somebody else removes a stale lease."""

_NETWORK_DISKS = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "afpfs", "webdav", "9p", "glusterfs", "lustre", "gpfs", "beegfs",
    "ceph", "vboxsf",
}


@dataclass
class Lease:
    """The right to write in a folder; hand `check` to whoever writes."""

    folder: Path
    """The folder."""
    token: str
    """Random name of this ownership."""
    shared: bool
    """Whether another machine might reach the folder, so that a heartbeat is needed."""
    _lost: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Make sure that the folder is still ours; costs nothing.

        Raises:
            ProjectError: Another machine took it over, for example while this one slept.
        """
        if self._lost.is_set():
            raise ProjectError(
                f"Another machine took over '{self.folder}' while this one did not answer.",
                fix="Nothing finished was lost; run the same command again when the other is done.",
            )

    def beat(self) -> None:
        """Touch the lease, or learn that it is no longer ours."""
        path = self.folder / LEASE_NAME
        try:
            if _read(path).get("token") != self.token:
                self._lost.set()
            else:
                os.utime(path)
        except OSError:
            return  # the disk is away for a moment; the next beat tells

    def keep(self) -> None:
        """Beat until the lease is over; runs in a thread of its own."""
        while not self._over.wait(HEARTBEAT_S) and not self._lost.is_set():
            self.beat()

    def release(self) -> None:
        """Give the folder back."""
        self._over.set()
        path = self.folder / LEASE_NAME
        with suppress(OSError):
            if _read(path).get("token") == self.token:
                path.unlink(missing_ok=True)


@contextmanager
def owned(folder: Path) -> Generator[Lease]:
    """Be the only writer of a folder while the context lasts.

    Raises:
        ProjectError: Somebody else is; the message names machine, process and since when.
        MachineError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK_NAME).open("a+", encoding="utf-8")
    except OSError as error:
        raise MachineError(f"'{folder}' cannot be written: {error.strerror or error}.",
                           fix="Check the disk and your rights in that folder.") from error
    with file:
        locked = _try_lock(file)
        if locked is False:
            raise _busy(folder, _read(folder / LEASE_NAME))
        try:
            lease = _claim(folder, shared=locked is None or on_network_disk(folder))
            if lease.shared:
                threading.Thread(target=lease.keep, name="whichlora-lease", daemon=True).start()
            try:
                yield lease
            finally:
                lease.release()
        finally:
            if locked:
                _unlock(file)


def owner(folder: Path) -> str:
    """Who works in the folder right now, in words; '' when nobody does.

    Raises:
        MachineError: The folder cannot be looked at.
    """
    try:
        with owned(folder):
            return ""
    except ProjectError as error:
        return error.message


def _claim(folder: Path, *, shared: bool) -> Lease:
    """Write the lease file, atomically; a stale one is moved aside first."""
    lease = Lease(folder, secrets.token_hex(12), shared)
    path = folder / LEASE_NAME
    claim = folder / f"{LEASE_NAME}.{lease.token}.part"
    facts = {"token": lease.token, "since": time.strftime("%Y-%m-%d %H:%M:%S"), **_here(started=shared)}
    try:
        claim.write_text(json.dumps(facts), encoding="utf-8")
        if not shared:
            claim.replace(path)  # the lock has decided; the file only tells who it is
            return lease
        for _ in range(20):
            if _name(claim, path):
                return lease
            found = _bytes(path)
            if found is None:
                continue  # given back meanwhile
            holder = _understood(found)
            if _alive(holder, path, claim):
                raise _busy(folder, holder)
            _remove(path, found, claim)
        raise _busy(folder, _read(path))
    except OSError as error:
        raise MachineError(f"'{folder}' cannot be written: {error.strerror or error}.",
                           fix="Check the disk and your rights in that folder.") from error
    finally:
        with suppress(OSError):
            claim.unlink(missing_ok=True)


def _name(claim: Path, path: Path) -> bool:
    """Give a written claim the lease's name, unless there is one: the step that only one machine can win."""
    try:
        os.link(claim, path)
    except FileExistsError:
        return False
    except OSError:
        # A disk without hard links: creating the name is exclusive too, only not in one step with its content.
        try:
            with path.open("xb") as file:
                file.write(claim.read_bytes())
        except FileExistsError:
            return False
    return True


def _remove(path: Path, judged: bytes, claim: Path) -> None:
    """Remove a stale lease, for everybody who judged it so.

    Between judging and removing another may have taken the folder over, and removing its lease would let in a third. So
    whoever removes takes a turn first, a name made from the lease's content that only one can have, and looks again:
    while it has the turn nobody else removes that lease, and a lease of other content is left alone.
    """
    turn = path.with_name(f"{path.name}.{hashlib.sha256(judged).hexdigest()[:16]}.turn")
    if not _name(claim, turn):
        if _age_s(turn, claim) >= STALE_AFTER_S:
            turn.unlink(missing_ok=True)  # its taker died in the middle
        time.sleep(_TURN_S)
        return
    try:
        if _bytes(path) == judged:
            path.unlink(missing_ok=True)
    finally:
        turn.unlink(missing_ok=True)


def _alive(holder: dict[str, Any], path: Path, clock: Path) -> bool:
    """Whether the holder of a lease still works.

    Args:
        holder: Content of the lease.
        path: The lease file.
        clock: A file of ours on the same disk, written just now: clocks of two machines differ, the disk's does not.
    """
    here = _here(started=False)
    if holder and holder.get("boot") == here["boot"] and holder.get("host") == here["host"]:
        return _process_lives(holder)
    # What cannot be read may be half written, on a disk without hard links.
    return _age_s(path, clock) < STALE_AFTER_S


def _age_s(path: Path, clock: Path) -> float:
    """Seconds since a file was touched, by the disk's own clock; 0 when it is gone or the disk does not answer."""
    try:
        os.utime(clock)
        return clock.stat().st_mtime - path.stat().st_mtime
    except OSError:
        return 0.0


def _process_lives(holder: dict[str, Any]) -> bool:
    """Whether the process that wrote a lease on this machine is still there, and not another with its number."""
    import psutil

    try:
        started = psutil.Process(int(holder["pid"])).create_time()
        return abs(started - float(holder["started"])) < 2.0
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def _here(*, started: bool) -> dict[str, Any]:
    """This process on this machine; with its start, which tells it from a later one with its number."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    facts: dict[str, Any] = {"pid": os.getpid(), "host": socket.gethostname(), "boot": boot}
    if started:
        import psutil

        facts["started"] = psutil.Process().create_time()
    return facts


def _bytes(path: Path) -> bytes | None:
    """Content of a file; None when there is none.

    Raises:
        OSError: The disk does not answer.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _read(path: Path) -> dict[str, Any]:
    """Content of a lease; {} when there is none, or it is damaged."""
    try:
        return _understood(path.read_bytes())
    except OSError:
        return {}


def _understood(content: bytes) -> dict[str, Any]:
    """A lease's facts; {} of a damaged one."""
    try:
        found: Any = json.loads(content.decode("utf-8"))
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _busy(folder: Path, holder: dict[str, Any]) -> ProjectError:
    where = "" if holder.get("host") in (None, socket.gethostname()) else f" on {str(holder['host'])[:80]}"
    return ProjectError(
        f"Another whichlora works in '{folder}' (process {str(holder.get('pid', '?'))[:20]}{where}, "
        f"since {str(holder.get('since', '?'))[:40]}).",
        fix="Wait for it, or stop it; both would otherwise write the same rows.",
    )


# --------------------------------------------------------------------------- what the system offers


def on_network_disk(path: Path) -> bool:
    """True when other machines may reach the disk under the path, so that its locks and shared memory may not work."""
    if sys.platform == "win32":
        return _network_drive(path)
    try:
        if sys.platform == "linux":
            text = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace")
            mounts = [(fields[1].replace("\\040", " "), fields[2]) for fields in map(str.split, text.splitlines())]
        else:
            text = subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=5, check=False).stdout
            mounts = [
                (point, kind.split(",")[0].strip(" ()"))
                for _, _, rest in (line.partition(" on ") for line in text.splitlines())
                for point, _, kind in [rest.rpartition(" (")]
            ]
    except (OSError, subprocess.SubprocessError):
        return False
    kind = kind_of_disk(path.resolve().as_posix(), mounts)
    return kind in _NETWORK_DISKS or kind.startswith("fuse.")


def kind_of_disk(path: str, mounts: list[tuple[str, str]]) -> str:
    """File system under an absolute path, given (mount point, file system); the deepest and latest mount counts."""
    best, kind = "", ""
    for point, name in mounts:
        if len(point) >= len(best) and (path == point or path.startswith(point.rstrip("/") + "/")):
            best, kind = point, name
    return kind


def _network_drive(path: Path) -> bool:
    import ctypes

    root = path.resolve().anchor
    windll: Any = getattr(ctypes, "windll", None)
    return root.startswith("\\\\") or (windll is not None and windll.kernel32.GetDriveTypeW(root) == 4)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[str]) -> bool | None:
        """True: locked; False: somebody else has it; None: this disk knows no locks."""
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            return False if error.errno in {errno.EACCES, errno.EDEADLOCK} else None
        return True

    def _unlock(file: IO[str]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: IO[str]) -> bool | None:
        """True: locked; False: somebody else has it; None: this disk knows no locks."""
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return False if error.errno in {errno.EWOULDBLOCK, errno.EACCES} else None
        return True

    def _unlock(file: IO[str]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_UN)
