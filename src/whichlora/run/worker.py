"""`python -m whichlora.run.worker`: the process that loads a base and makes pictures for its parent.

It owns the device and nothing else: it never opens the store. Pictures go back as bytes, because the process that
acknowledges a row must itself have made the file durable, because a killed worker then leaves nothing half-written,
and because a worker on another machine works the same way. Commands arrive on stdin, replies leave by stdout; when
stdin closes, the parent is gone and the process ends at once, in the middle of whatever it does.
"""

from __future__ import annotations

import faulthandler
import os
import queue
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from whichlora.findings import build
from whichlora.run.wire import Head, read_message, write_message
from whichlora.run.workbench import Picture, Reply, Workbench
from whichlora.types import BaseModel

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Obey commands until stdin closes or the session breaks."""
    replies = _private_stdout()
    commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, commands), daemon=True).start()
    start = commands.get()
    bench = Workbench(build(BaseModel, start["base"]), start["device"], Path(start["folder"]))
    speaker = _Speaker(replies)
    broken = False
    while not broken:
        for reply in bench.handle(commands.get()):
            speaker.say(reply)
            broken = isinstance(reply, dict) and reply["is"] == "broken"
    speaker.finish()
    # A device that failed may hang in its own tidying up; there is nothing here to tidy.
    os._exit(3)


def _die_with_parent() -> None:
    """Let Linux kill this process with its parent: also when it is stopped, or hangs where no thread of it can run.

    The parent is the thread that started it; a crew hires in the thread that it works in.
    """
    if sys.platform != "linux":
        return
    import ctypes

    parent = os.getppid()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _private_stdout() -> IO[bytes]:
    """Keep stdout for messages; whatever a library prints goes to stderr."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return stream


def _listen(stream: IO[bytes], commands: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Read commands; end the process when the parent is gone, so that no orphan holds a GPU."""
    while (message := read_message(stream)) is not None:
        commands.put(message[0])
    os._exit(0)


class _Speaker:
    """Writes replies at once and PNGs beside the main thread, so that the device need not wait for them.

    A small reply may overtake the picture before it: that a cell was begun must be known before it can end the process.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._pictures: queue.Queue[Picture | None] = queue.Queue(maxsize=1)
        self._thread = threading.Thread(target=self._write_pictures, daemon=True)
        self._thread.start()

    def say(self, reply: Reply) -> None:
        """Send one reply; waits while an earlier picture is still being written."""
        if isinstance(reply, Picture):
            self._pictures.put(reply)
        else:
            self._write(reply, b"")

    def finish(self) -> None:
        """Wait until everything is sent."""
        self._pictures.put(None)
        self._thread.join()

    def _write_pictures(self) -> None:
        while (picture := self._pictures.get()) is not None:
            self._write(*picture.message())

    def _write(self, head: Head, body: bytes) -> None:
        try:
            with self._lock:
                write_message(self._stream, head, body)
        except OSError:
            os._exit(0)


if __name__ == "__main__":
    faulthandler.enable()
    # Ctrl-C reaches every process of a terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    main()
