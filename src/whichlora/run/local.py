"""Workers as processes of this machine: one per visible GPU, or one for a CPU. The default.

Fresh interpreters (never a fork: CUDA does not survive one), the same on Linux, Windows and macOS.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import whichlora
from whichlora.company import SHARED_NAME, SHARED_VARIABLE, WORKERS_VARIABLE
from whichlora.errors import MachineError
from whichlora.machine.probe import read_gpus, read_ram
from whichlora.run.executor import Inbox, Setup
from whichlora.run.wire import Head, read_message, write_message

LEAST_BOUND = 8
"""So many workers may be had on a CPU of any number of cores."""


class LocalExecutor:
    """See `executor.py` for the contract."""

    def __init__(self, setup: Setup, workers: int | None = None) -> None:
        """Plan one worker per visible GPU, or one without; `workers` asks for fewer, or for more on a CPU."""
        self._setup = setup
        self._gpus = visible_gpus() if setup.device == "cuda" else []
        self.size = _size(setup.device, len(self._gpus), workers)
        self._hands: list[ChildProcess] = []
        self._shared: int | None = None
        self._company = f"{self.size}:{read_ram()[1]}" if self.size > 1 else ""

    def hire(self, number: int, inbox: Inbox) -> ChildProcess:
        """Start a process and let it load the base."""
        gpu = self._gpus[number] if number < len(self._gpus) else ""
        environment = _environment(gpu)
        if self._company:
            environment[WORKERS_VARIABLE] = self._company
            # An empty file in memory without a name: it costs nothing until a worker puts weights there for all.
            self._shared = _shared_file() if self._shared is None else self._shared
        if self._shared is not None:
            environment[SHARED_VARIABLE] = str(self._shared)
        name = f"GPU {gpu}" if gpu else f"worker {number + 1}"
        hand = ChildProcess(name, self._setup, inbox, environment, () if self._shared is None else (self._shared,))
        self._hands = [old for old in self._hands if not old.ended] + [hand]
        return hand

    def shared_bytes(self) -> int:
        """Host memory that the workers hold once for all of them."""
        return 0 if self._shared is None else os.fstat(self._shared).st_blocks * 512

    def close(self) -> None:
        """Kill what is left."""
        for hand in self._hands:
            hand.stop()
        for hand in self._hands:
            hand.wait()
        self._hands = []
        if self._shared is not None:
            os.close(self._shared)
            self._shared = None


class ChildProcess:
    """A worker process with its three pipes; see `executor.Hand`."""

    def __init__(
        self, name: str, setup: Setup, inbox: Inbox, environment: Mapping[str, str], files: tuple[int, ...] = ()
    ) -> None:
        self.name = name
        self.ended = False
        self._inbox = inbox
        self._why = ""
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._commands: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        # -P: a file in the user's folder that happens to be called torch.py is nobody's torch.
        words = [sys.executable, "-P", "-m", "whichlora.run.worker"]
        flags = subprocess.CREATE_NEW_PROCESS_GROUP if sys.platform == "win32" else 0
        try:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, env=dict(environment),
                creationflags=flags, pass_fds=files,
            )
        except OSError as error:
            raise MachineError(f"No worker process can be started: {error.strerror or error}.",
                               fix="Check memory and the limit on processes.") from error
        self.pid = self._process.pid
        self._commands.put({"base": asdict(setup.base), "device": setup.device, "folder": str(setup.folder.resolve())})
        self._commands.put({"do": "load"})
        threading.Thread(target=self._write, daemon=True).start()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, command: Mapping[str, Any]) -> None:
        """Queue a command."""
        self._commands.put(command)

    def stop(self) -> None:
        """Kill the process."""
        self._commands.put(None)
        if self._process.poll() is None:
            self._process.kill()

    def wait(self) -> None:
        """Wait until it is gone."""
        self._process.wait()
        self._reader.join(10)

    def _write(self) -> None:
        """Pass commands on; a process that has stopped reading must not block the parent."""
        stream = self._process.stdin
        assert stream is not None
        while (command := self._commands.get()) is not None:
            try:
                write_message(stream, command)
            except (OSError, ValueError):
                return

    def _read(self) -> None:
        """Pass replies on, and say how it ended."""
        stream = self._process.stdout
        assert stream is not None
        try:
            while (message := read_message(stream)) is not None:
                head, body = message
                if head.get("is") == "broken":
                    self._why = str(head.get("reason", ""))
                else:
                    self._inbox.put((self, head, body))
        except (MachineError, OSError) as error:
            self._why = str(error)
            self._process.kill()
        code = self._process.wait()
        self.ended = True
        self._commands.put(None)
        head: Head = {"is": "ended", "reason": self._why or _how_it_ended(code, self._errors)}
        self._errors.close()
        self._inbox.put((self, head, b""))


def _how_it_ended(code: int, errors: IO[bytes]) -> str:
    """A worker's end in words: the signal, and the last thing that it said."""
    errors.seek(0)
    lines = [line.strip() for line in errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
    # faulthandler's headline says more than the last frame of its trace.
    said = next((line for line in reversed(lines) if line.startswith("Fatal Python error")), lines[-1] if lines else "")
    if code >= 0:
        how = f"the worker ended with status {code}"
    else:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        how = f"the worker was ended by {name}"
        if name == "SIGKILL":
            how += " (often because the system ran out of memory)"
    return f"{how}: {said[:200]}" if said else how


def _environment(gpu: str) -> dict[str, str]:
    """The parent's variables, so that the child finds this very whichlora and sees its own GPU alone."""
    environment = dict(os.environ)
    for told in (SHARED_VARIABLE, WORKERS_VARIABLE):
        environment.pop(told, None)
    own = str(Path(whichlora.__file__).resolve().parent.parent)
    paths = [own, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    if gpu:
        environment.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    return environment


def _shared_file() -> int | None:
    """A file in memory for what all workers hold once; None where the system has no such files."""
    if sys.platform != "linux":
        return None
    try:
        return os.memfd_create(SHARED_NAME)
    except OSError:
        return None


def visible_gpus() -> list[str]:
    """GPUs as CUDA_VISIBLE_DEVICES names them: the user's own list, or every one that the driver shows."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        names = [name.strip() for name in listed.split(",")]
        return list(dict.fromkeys(name for name in names if name and name != "-1"))
    gpus, _ = read_gpus()
    return [str(gpu.index) for gpu in gpus]


def _size(device: str, gpus: int, workers: int | None) -> int:
    """How many workers: as asked, but never two on one GPU, nor far more than a CPU has cores.

    Raises:
        MachineError: More were asked for than that.
    """
    if workers is None:
        return max(1, gpus)
    if gpus and workers > gpus:
        raise MachineError(f"{workers} workers were asked for, and {gpus} GPUs are visible.",
                           fix=f"Use --workers {gpus} or fewer: the model fills a GPU.")
    if not gpus and device != "cpu" and workers > 1:
        raise MachineError(
            f"{workers} workers were asked for on '{device}', where only one GPU is known of.",
            fix="Leave --workers out; several GPUs are known by nvidia-smi, or by CUDA_VISIBLE_DEVICES=0,1,…",
        )
    cores = os.cpu_count() or 1
    most = max(LEAST_BOUND, cores)
    if not gpus and workers > most:
        raise MachineError(f"{workers} workers were asked for, and this machine has {cores} cores.",
                           fix=f"Use --workers {most} or fewer: each holds a model of its own.")
    return max(1, workers)
