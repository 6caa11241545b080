"""One child process that decodes pictures for this one: started with the first picture, ended with this process.

Pictures of users and of the internet are decoded nowhere else. A picture that breaks the child costs that picture; the
next gets a new child.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import MachineError
from whichlora.vision.decoder import REPLY, REQUEST, UnfitError, read_exactly, write_all

TIMEOUT_S = 30.0
"""Wall-clock seconds for one picture."""
_START_S = 120.0
_PIPE_BYTES = 1024**2
_ENVIRONMENT = ("PATH", "SYSTEMROOT", "SYSTEMDRIVE", "TEMP", "TMP", "LANG", "LD_LIBRARY_PATH", "PYTHONHOME")
"""What the child is told of the environment: no tokens, no proxies."""
_PROGRAM = (
    "import sys; sys.path[:] = {path!r}; from whichlora.vision.decoder import serve; serve()"
)


class Opener:
    """The child, and the talk with it; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def decode(self, data: bytes, max_pixels: int) -> tuple[NDArray[np.uint8], dict[str, str]]:
        """Pixels (RGB, uint8, height × width × 3) and text chunks of a file.

        Raises:
            UnfitError: The picture is refused, or broke its decoder.
            MachineError: No child can be started here.
        """
        with self._lock:
            # After a fork the child belongs to the parent: two must not speak into one pipe.
            if self._owner != os.getpid():
                self._child = None
            child = self._child if self._child is not None and self._child.poll() is None else self._start()
            late = threading.Event()
            clock = threading.Timer(TIMEOUT_S, _kill, (child, late))
            clock.daemon = True
            clock.start()
            try:
                reply = _ask(child, data, max_pixels)
            finally:
                clock.cancel()
            if reply is None:
                self._drop(child)
                raise UnfitError("damaged", "reading it took too long" if late.is_set() else "it broke its decoder")
        return reply

    def close(self) -> None:
        """End the child."""
        with self._lock:
            if self._child is not None and self._owner == os.getpid():
                self._drop(self._child)

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        program = _PROGRAM.format(path=[part or str(Path.cwd()) for part in sys.path])
        try:
            child = subprocess.Popen(
                [sys.executable, "-I", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, bufsize=0, env={**environment, "OPENBLAS_NUM_THREADS": "1",
                                                          "OMP_NUM_THREADS": "1"},
            )
        except OSError as error:
            raise MachineError(f"The process that opens pictures cannot be started: {error.strerror or error}.",
                               fix="Check that this system lets programs start others.") from error
        self._child, self._owner = child, os.getpid()
        _widen(child)
        late = threading.Event()
        clock = threading.Timer(_START_S, _kill, (child, late))
        clock.daemon = True
        clock.start()
        hello = read_exactly(_pipe(child.stdout), 5)
        clock.cancel()
        if hello != b"ready":
            self._drop(child)
            raise MachineError("The process that opens pictures did not start.",
                               fix="Check the installation: python -c 'import numpy, PIL.Image'")
        return child

    def _drop(self, child: subprocess.Popen[bytes]) -> None:
        self._child = None
        for pipe in (child.stdin, child.stdout):
            with suppress(OSError):
                _pipe(pipe).close()
        child.kill()
        child.wait()


def _ask(
    child: subprocess.Popen[bytes], data: bytes, max_pixels: int
) -> tuple[NDArray[np.uint8], dict[str, str]] | None:
    """One question and its answer; None when the child died over it."""
    try:
        write_all(_pipe(child.stdin), REQUEST.pack(len(data), max_pixels))
        write_all(_pipe(child.stdin), data)
        head = read_exactly(_pipe(child.stdout), REPLY.size)
        if head is None:
            return None
        kind, words, pixels = REPLY.unpack(head)
        body = read_exactly(_pipe(child.stdout), words)
        if body is None:
            return None
        answer: dict[str, Any] = json.loads(bytes(body))
        if kind == b"E":
            raise UnfitError(str(answer["kind"]), str(answer["words"]))
        # The child is not trusted either: its numbers must agree before they become an array.
        height, width = int(answer["height"]), int(answer["width"])
        if height * width * 3 != pixels or height * width > max_pixels:
            return None
        raw = read_exactly(_pipe(child.stdout), pixels)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if raw is None:
        return None
    text = {str(key): str(value) for key, value in dict(answer["text"]).items()}
    return np.frombuffer(raw, np.uint8).reshape(height, width, 3), text


def _pipe(stream: Any) -> BinaryIO:
    return cast(BinaryIO, stream)


def _kill(child: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    child.kill()


def _widen(child: subprocess.Popen[bytes]) -> None:
    """Larger pipes on Linux: a picture is megabytes."""
    if sys.platform == "linux":
        import fcntl

        for pipe in (child.stdin, child.stdout):
            with suppress(OSError):
                fcntl.fcntl(_pipe(pipe).fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


OPENER = Opener()
"""The one child of this process."""
atexit.register(OPENER.close)
