"""Lives of writers: a small process forks one writer after another, and strace sits on it to kill or to fail calls.

strace counts calls per process, so `when=N` hits the N-th call of every life anew; attaching after the start means that
only the writer's own calls are counted. The forking process itself makes none of the calls that are hit.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DURABLE = ("openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "unlink", "ftruncate", "mkdir", "link")
"""Calls that change what is on the disk, as the store and SQLite make them; before each of them a life may end."""
FAILING = ("openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "ftruncate", "mkdir", "link")
"""Calls that a full or broken disk fails."""
HERE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Life:
    """How one writer's life went."""

    said: tuple[str, ...]
    """What it said, in order."""
    end: str
    """'done', 'killed', 'sentence: …' (an error meant for the user), or 'crash: …'."""


class Forker:
    """A process that forks writers on demand."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from chaoslab.lives import serve; serve()", str(theirs.fileno())],
            pass_fds=[theirs.fileno()], cwd=HERE, env={**os.environ, "PYTHONPATH": _python_path()},
        )
        theirs.close()
        self._ours.recv(100)

    @property
    def pid(self) -> int:
        """Process id, for strace."""
        return self._process.pid

    def begin(self, folder: Path, count: int, *, bug: str = "", mode: str = "wal", hold: bool = False) -> None:
        """Start a life; `finish` waits for its end. With `hold` it stops once it owns the project, until `let_go`."""
        self._ours.send(json.dumps({"folder": str(folder), "count": count, "bug": bug, "mode": mode,
                                    "hold": hold}).encode())

    def wait_for(self, words: str, timeout_s: float = 30.0) -> tuple[str, ...]:
        """Everything said until these words, or until the end."""
        said: list[str] = []
        self._ours.settimeout(timeout_s)
        while not said or (said[-1] != words and not said[-1].startswith("/")):
            said.append(self._ours.recv(65536).decode())
        return tuple(said)

    def let_go(self) -> None:
        """Let a held writer go on."""
        self._ours.send(b"go")

    def finish(self, timeout_s: float = 60.0) -> Life:
        """Wait until the life that began is over and its process is gone."""
        said = self.wait_for("/", timeout_s)
        if said[-1] == "/over" and len(said) > 1 and said[-2].startswith("="):
            return Life(said[:-2], said[-2][1:])
        return Life(said[:-1], said[-1][1:])

    def live(self, folder: Path, count: int, *, bug: str = "", mode: str = "wal") -> Life:
        """One whole life."""
        self.begin(folder, count, bug=bug, mode=mode)
        return self.finish()

    def close(self) -> None:
        """End the forker."""
        self._ours.close()
        self._process.wait(20)


def _python_path() -> str:
    return os.pathsep.join([str(HERE), str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")])


class Strace:
    """strace on a running process and its children to come; use as a context manager."""

    def __init__(
        self, pid: int, inject: Sequence[str] = (), log: Path | None = None, paths: Sequence[Path] = ()
    ) -> None:
        tool = shutil.which("strace")
        if tool is None:
            raise SystemExit("This needs strace: apt-get install strace")
        calls = sorted({rule.split(":")[0] for rule in inject})
        words = [tool, "-f", "-qq", "-p", str(pid), "-o", str(log or "/dev/null")]
        if log is not None:
            words += ["-xx", "-s", "4000000", "-e", f"trace={','.join([*DURABLE, 'close', 'sendto'])}"]
        else:
            words += ["-e", f"trace={','.join(calls)}"]
        for rule in inject:
            words += ["-e", f"inject={rule}"]
        for path in paths:  # only calls on these files are hit
            words += ["-P", str(path)]
        self._process = subprocess.Popen(words, stderr=subprocess.PIPE)
        while not _traced(pid):
            if self._process.poll() is not None:
                raise SystemExit(f"strace failed: {self._process.communicate()[1].decode()[:300]}")
            time.sleep(0.001)

    def __enter__(self) -> Strace:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def _traced(pid: int) -> bool:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(line for line in text.splitlines() if line.startswith("TracerPid")).split()[1] != "0"


# --------------------------------------------------------------------------- inside the forker


def serve() -> None:
    """Fork one writer per request, tell how it ended. Everything is imported before the first fork."""
    from chaoslab import bugs, writer

    control = socket.socket(fileno=int(sys.argv[1]))
    control.send(b"ready")
    while True:
        request = control.recv(65536)
        if not request:
            return
        asked = json.loads(request)
        child = os.fork()
        if child == 0:
            _live(control, asked, bugs, writer)
        # Only when the process is gone may strace leave: it can hang on one that is just going.
        _, status = os.waitpid(child, 0)
        control.send(f"/killed {os.WTERMSIG(status)}".encode() if os.WIFSIGNALED(status) else b"/over")


def _live(control: socket.socket, asked: dict, bugs, writer) -> None:  # noqa: ANN001
    """The writer's life; never returns."""
    from whichlora.errors import WhichloraError

    try:
        bugs.plant(asked["mode"], asked["bug"])

        def tell(words: str) -> None:
            control.send(words.encode())
            if words == "owner" and asked["hold"]:
                control.recv(100)

        writer.work(Path(asked["folder"]), asked["count"], tell)
        end = "done"
    except WhichloraError as error:
        end = f"sentence: {error.message}"
    except BaseException as error:
        end = f"crash: {type(error).__name__}: {error}"
    control.send(f"={end}"[:4000].encode())
    os._exit(0)
