"""From what the user asked for to a maker: workers here, on a Ray cluster, or no workers at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from whichlora.errors import UserError
from whichlora.run.crew import Crew
from whichlora.run.executor import Setup
from whichlora.run.inprocess import InProcessMaker
from whichlora.run.local import LocalExecutor
from whichlora.store import Store


@dataclass(frozen=True)
class Hiring:
    """Where pictures are made."""

    executor: Literal["local", "ray"] = "local"
    """'local': processes of this machine; 'ray': actors of a Ray cluster."""
    workers: int | None = None
    """How many; None: one for every GPU that can be seen, or one on a CPU."""
    ray_address: str = ""
    """Address of a running cluster ('auto' for the one of this machine); '' starts one here."""
    in_process: bool = False
    """Make everything in this very process."""


def open_maker(
    setup: Setup, store: Store, hiring: Hiring | None = None, *, say: Callable[[str], None] = lambda _: None
) -> Crew | InProcessMaker:
    """A maker, to be used as a context manager.

    Args:
        setup: What workers are built from.
        store: Where results go.
        hiring: Where pictures are made.
        say: Told in a sentence what a user should know.

    Raises:
        UserError: The wishes contradict each other.
        MachineError: Ray is not installed or cannot be reached.
    """
    hiring = hiring or Hiring()
    if hiring.workers is not None and hiring.workers < 1:
        raise UserError(f"--workers {hiring.workers} is nobody.", fix="Use 1 or more.")
    if hiring.ray_address and hiring.executor != "ray":
        raise UserError("--ray-address says where a Ray cluster is, and no Ray was asked for.",
                        fix="Add --executor ray.")
    if hiring.in_process:
        return InProcessMaker(setup, store)
    if hiring.executor == "ray":
        from whichlora.run.ray_executor import RayExecutor

        return Crew(RayExecutor(setup, hiring.workers, hiring.ray_address), setup, store, say=say)
    return Crew(LocalExecutor(setup, hiring.workers), setup, store, say=say)
