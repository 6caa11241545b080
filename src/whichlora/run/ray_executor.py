"""Workers as actors of a Ray cluster: one a GPU, on this machine or on many. Needs the extra 'ray'.

An actor holds a base and obeys the same commands as a worker process; results stream back to the driver, which alone
writes to the store. Ray is asked for no restarts of its own: an actor that came back by itself would not have made the
canary, and Ray does not know which cell is to blame. The crew hires a new actor instead, built from the same
constructor, on whatever node has room. Ray's own serialisation carries messages between our own processes only.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import whichlora
from whichlora.company import SHARED_VARIABLE, WORKERS_VARIABLE
from whichlora.errors import MachineError
from whichlora.machine.probe import read_ram
from whichlora.run.executor import Inbox, Setup
from whichlora.run.one_host import meet
from whichlora.run.wire import Head
from whichlora.run.workbench import Picture, Workbench


@dataclass(frozen=True)
class Company:
    """What an actor is told of the others of its run."""

    workers: int = 1
    """How many there are, on all machines."""
    token: str = ""
    """What those of one machine find each other by."""
    rooms: Mapping[str, int] = field(default_factory=dict)
    """Node id → how many actors it has room for."""

    def join(self, node: str) -> None:
        """Let this process share with the other actors of its machine; before the base is loaded."""
        here = min(self.workers, self.rooms.get(node, self.workers))
        for told in (SHARED_VARIABLE, WORKERS_VARIABLE):
            os.environ.pop(told, None)
        if here <= 1:
            return
        # What was free before the first actor began, nobody knows; of the whole memory each gets its part at most.
        os.environ[WORKERS_VARIABLE] = f"{here}:{read_ram()[0]}"
        file = meet(self.token)
        if file is not None:
            os.environ[SHARED_VARIABLE] = str(file)


class RayExecutor:
    """See `executor.py` for the contract."""

    def __init__(self, setup: Setup, workers: int | None = None, address: str = "") -> None:
        """Join a cluster, or start one on this machine.

        Args:
            setup: What workers are built from; the project folder must be seen by every node under the same path.
            workers: How many; None: one for every GPU of the cluster (CPU bases: one for every node).
            address: 'auto' or host:port of a running cluster; '' starts one here.

        Raises:
            MachineError: Ray is not installed, cannot be reached, or has no GPU.
        """
        self._ray = _import_ray()
        self._setup = setup
        self._gpus = 1 if setup.device.startswith("cuda") else 0
        self._joined = not self._ray.is_initialized()
        if self._joined:
            self._join(address)
        self.size = self._size(workers)
        self._token = secrets.token_hex(16)
        self._hands: list[ActorHand] = []

    def hire(self, number: int, inbox: Inbox) -> ActorHand:
        """Ask the cluster for an actor; while it has no room, the actor waits."""
        kind = self._ray.remote(max_restarts=0, num_gpus=self._gpus, num_cpus=1)(Actor)
        unit = "GPU" if self._gpus else "CPU"
        rooms = {node["NodeID"]: int(node["Resources"].get(unit, 0)) for node in self._ray.nodes() if node["Alive"]}
        actor = kind.remote(self._setup, Company(self.size, self._token, rooms))
        hand = ActorHand(f"actor {number + 1}", self._ray, actor, inbox)
        self._hands = [old for old in self._hands if not old.ended] + [hand]
        return hand

    def close(self) -> None:
        """End every actor, and leave the cluster if this object joined it."""
        for hand in self._hands:
            hand.stop()
        self._hands = []
        if self._joined:
            self._ray.shutdown()
            self._joined = False

    def _join(self, address: str) -> None:
        # Nodes on other machines find the same whichlora only if it is installed there; those here need the path.
        own = str(Path(whichlora.__file__).resolve().parent.parent)
        try:
            self._ray.init(
                address=address or None, include_dashboard=False, log_to_driver=False, configure_logging=False,
                runtime_env={"env_vars": {"PYTHONPATH": _with_own(own)}},
            )
        except Exception as error:
            words = str(error).strip().splitlines() or [type(error).__name__]
            raise MachineError(f"Ray could not be reached{f' at {address!r}' if address else ''}: {words[0][:300]}",
                               fix="Start it with 'ray start --head' and give --ray-address.") from error

    def _size(self, workers: int | None) -> int:
        resources = self._ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        if self._gpus:
            if not gpus:
                raise MachineError("The Ray cluster has no GPU.", fix="Add nodes with GPUs, or use --device cpu.")
            if workers is not None and workers > gpus:
                raise MachineError(f"{workers} workers were asked for, and the Ray cluster has {gpus} GPUs.",
                                   fix=f"Use --workers {gpus} or fewer.")
            return workers or gpus
        cores = int(resources.get("CPU", 0))
        if workers is not None and workers > max(1, cores):
            raise MachineError(f"{workers} workers were asked for, and the Ray cluster has {cores} cores.",
                               fix=f"Use --workers {max(1, cores)} or fewer: each takes one.")
        return workers or max(1, sum(1 for node in self._ray.nodes() if node["Alive"]))


class Actor:
    """What runs on a node: a workbench, rebuilt from these arguments whenever an actor is hired."""

    def __init__(self, setup: Setup, company: Company) -> None:
        import ray

        company.join(ray.get_runtime_context().get_node_id())
        self._bench = Workbench(setup.base, setup.device, setup.folder)

    def obey(self, command: Mapping[str, Any]) -> Iterator[tuple[Head, bytes]]:
        """Do what a command says; replies leave as they come."""
        for reply in self._bench.handle(command):
            yield reply.message() if isinstance(reply, Picture) else (reply, b"")


class ActorHand:
    """One actor, seen from the driver; see `executor.Hand`."""

    def __init__(self, name: str, ray: Any, actor: Any, inbox: Inbox) -> None:
        self.name = name
        self.ended = False
        self.actor = actor
        """Ray's own handle."""
        self._ray, self._inbox = ray, inbox
        self._calls: SimpleQueue[Any] = SimpleQueue()
        self.send({"do": "load"})
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, command: Mapping[str, Any]) -> None:
        """Call the actor; it obeys one call after the other."""
        if not self.ended:
            self._calls.put(self.actor.obey.options(num_returns="streaming").remote(dict(command)))

    def stop(self) -> None:
        """Kill the actor."""
        self._calls.put(None)
        # Ray may be gone already, and the actor with it.
        if self._ray.is_initialized():
            self._ray.kill(self.actor, no_restart=True)

    def _listen(self) -> None:
        """Pass replies on, call by call, and say how it ended."""
        reason = "it was stopped"
        try:
            while (replies := self._calls.get()) is not None:
                for reference in replies:
                    head, body = self._ray.get(reference)
                    if head["is"] == "broken":
                        reason = head["reason"]
                        self._ray.kill(self.actor, no_restart=True)
                        return
                    self._inbox.put((self, head, body))
        except Exception as error:
            # Actor died, its node was lost, the cluster was shut down: all the same to the run.
            words = [line.strip() for line in str(error).splitlines() if line.strip()]
            reason = f"{type(error).__name__}: {words[0] if words else 'the actor is gone'}"
        finally:
            self.ended = True
            self._inbox.put((self, {"is": "ended", "reason": reason}, b""))


def _import_ray() -> Any:
    if importlib.util.find_spec("ray") is None:
        raise MachineError("Ray is not installed.", fix="Install it with: pip install 'whichlora[ray]'")
    import ray

    return ray


def _with_own(own: str) -> str:
    paths = [own, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return os.pathsep.join(dict.fromkeys(paths))
