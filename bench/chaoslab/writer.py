"""The process that is broken: it fills a project's real store with made-up cells, and says what is safe.

No torch, no model: pictures are bytes that follow from a cell's number, so that every outcome can be compared with the
one that is right. What the product does around the store (lock, plan, scrub, resume) is done here in the same order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from whichlora.store import Store, VoteRow
from whichlora.types import Generation, Score, fingerprint
from whichlora.workspace import Workspace

Tell = Callable[[str], None]
CONTEXT = "made-up"
BATCH = 3
"""Cells per transaction of scores."""


def cell_name(number: int) -> str:
    """Id of a made-up cell."""
    return f"c1-{fingerprint(number)}"


def picture(number: int) -> bytes:
    """Bytes of a made-up picture, 0.4 to 9 kB: within one sector, one page, and several pages."""
    seed = hashlib.sha256(f"picture {number}".encode()).digest()
    return seed * (13 + (number * 97) % 270)


def generation(number: int, image: str) -> Generation:
    """Row of a made-up cell."""
    return Generation(cell_name(number), "done", image, {"total": number / 4}, number, "", {"number": number})


def score(number: int) -> Score:
    """A made-up score of a cell."""
    return Score(cell_name(number), "made/up", 1, number / 8, "", True, "valid", "", {"number": number})


PLAN = {"cells": "made up", "version": 1}
VOTE = VoteRow("vote-1", "ada", "2026-01-01T00:00:00Z", "rating", {"cell": cell_name(0), "identity": 5, "edit": 4})


def work(folder: Path, count: int, tell: Tell) -> None:
    """Fill the store, or go on where an earlier life ended.

    Args:
        folder: Project folder.
        count: Number of cells.
        tell: Given what happens: 'making N' before a cell, 'cell N', 'score N', 'plan' and 'vote' once they are safe,
            'forgot' when a damaged picture was found, 'end' after closing.
    """
    with Workspace(folder).owned() as lease, Store(folder, create=True, guard=lease.check) as store:
        tell("owner")
        store.add_document("plan", PLAN)
        tell("plan")
        for _ in store.forget_rotten():
            tell("forgot")
        finished = store.finished()
        for number in range(count):
            if cell_name(number) not in finished:
                make(store, number, tell)
            if number % BATCH == BATCH - 1:
                add_scores(store, range(number + 1), tell)
        add_scores(store, range(count), tell)
        store.add_votes([VOTE])
        tell("vote")
    tell("end")


def make(store: Store, number: int, tell: Tell) -> None:
    """One cell: the picture first, then its row, then the word that both are safe."""
    tell(f"making {number}")
    image = store.images.put(picture(number))
    store.add_generation(generation(number, image))
    tell(f"cell {number}")


def add_scores(store: Store, numbers: range, tell: Tell) -> None:
    """Score what lacks a score, in one transaction."""
    known = {cell for cell, _, _ in store.scored(context=CONTEXT)}
    missing = [number for number in numbers if cell_name(number) not in known]
    if missing:
        store.add_scores([score(number) for number in missing], context=CONTEXT)
        for number in missing:
            tell(f"score {number}")
