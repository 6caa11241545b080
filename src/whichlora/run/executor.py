"""The contract between the parent of a run and the places where its workers live: processes here, or a Ray cluster.

An executor hires; a hand is one hired worker. A hand gets commands and puts replies into the parent's inbox; its last
reply is always {'is': 'ended', 'reason': …}, however it came to its end. Commands and replies are the same everywhere
(see `workbench.py`), and so is the parent (see `crew.py`), which alone writes to the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from whichlora.run.wire import Head
from whichlora.types import BaseModel

Inbox = SimpleQueue[tuple[object, Head, bytes]]
"""Replies as (hand, head, body), from every hand, in the order of arrival."""


@dataclass(frozen=True)
class Setup:
    """What every worker is built from, again and again if need be."""

    base: BaseModel
    """The identified base."""
    device: str
    """'cpu', 'cuda', 'cuda:1', 'mps': as the family understands it."""
    folder: Path
    """The project folder."""
    libraries: Mapping[str, str]
    """Versions that enter every cell's identity."""


class Hand(Protocol):
    """One worker."""

    name: str
    """For people: 'worker 1', 'GPU 0', …"""

    def send(self, command: Mapping[str, Any]) -> None:
        """Give it a command; returns at once. A hand that has ended ignores it."""
        ...

    def stop(self) -> None:
        """End it now, whatever it is doing; its 'ended' reply follows."""
        ...


class Executor(Protocol):
    """Where workers come from."""

    size: int
    """Workers that it can have at the same time."""

    def hire(self, number: int, inbox: Inbox) -> Hand:
        """Start worker `number` (0 to size − 1), which begins by loading the base.

        Raises:
            MachineError: It cannot be started.
        """
        ...

    def close(self) -> None:
        """End every worker and give the devices back; safe to call twice."""
        ...
