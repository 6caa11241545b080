"""How verbs get hold of a project to write in it: as its only writer, and patient when the disk is full."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from whichlora.cli.output import progress_console

if TYPE_CHECKING:
    from whichlora.store import Store
    from whichlora.types import Plan
    from whichlora.workspace import Workspace


@contextmanager
def writing(workspace: Workspace, *, create: bool = False) -> Generator[Store]:
    """The project's store, owned by this process while the context lasts.

    Every write makes sure that the project is still ours, and one for which there is no room waits for it.

    Raises:
        ProjectError: Somebody else works there, or there is no store (and `create` is False).
        MachineError: The disk refused.
    """
    from whichlora.store import Store
    from whichlora.store.room import WaitForRoom

    waiting = WaitForRoom(workspace.folder, lambda words: progress_console.print(words, markup=False))
    with workspace.owned() as lease, Store(
        workspace.folder, create=create, guard=lease.check, when_full=waiting
    ) as store:
        yield store


def refuse_if_busy(folder: Path) -> None:
    """Leave at once when somebody else works in the project, before photographs are looked at and models loaded.

    Raises:
        ProjectError: Somebody does, or it is no project.
    """
    from whichlora.workspace import Workspace

    with Workspace.open(folder).owned():
        return


def look_for_room(plan: Plan, store: Store) -> None:
    """Warn when the disk may be too small for the pictures of a plan.

    Raises:
        DiskFullError: It surely is.
    """
    from whichlora.store.room import room_for

    warning = room_for(plan, store).warning
    if warning:
        progress_console.print(f"! {warning}", markup=False)
