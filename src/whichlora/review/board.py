"""Which pictures people can be shown: contestants × places, as arrays. Knows no votes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from whichlora.types import Generation, Plan


@dataclass(frozen=True)
class Place:
    """What two pictures must share to be compared: instruction, photograph and seed."""

    case: str
    """Id of the case."""
    seed: int
    source: str
    """Id of the photograph: the unit that votes are clustered by."""


@dataclass(frozen=True)
class Board:
    """Finished pictures of everything that competes (base and candidates, no control rows)."""

    contestants: tuple[str, ...]
    """Candidate names."""
    places: tuple[Place, ...]
    cells: NDArray[np.object_]
    """Cell id per contestant and place, '' where there is no picture; shape (M, P)."""
    images: NDArray[np.object_]
    """Content hash of the picture, '' where there is none; shape (M, P)."""
    where: Mapping[str, tuple[int, int]]
    """Cell id → (contestant, place)."""
    photos: NDArray[np.int64]
    """Code of the photograph per place; shape (P,)."""

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        """Pictures as numbers, equal where the bytes are, −1 where there is none; shape (M, P)."""
        known: dict[str, int] = {"": -1}
        flat = [known.setdefault(str(image), len(known)) for image in self.images.ravel()]
        return np.array(flat, dtype=np.int64).reshape(self.images.shape)

    @cached_property
    def shared(self) -> NDArray[np.int64]:
        """At how many places two contestants have pictures that differ; shape (M, M)."""
        count = len(self.contestants)
        table = np.zeros((count, count), dtype=np.int64)
        for first in range(count):
            for second in range(first + 1, count):
                table[first, second] = table[second, first] = len(self.comparable(first, second))
        return table

    @property
    def present(self) -> NDArray[np.bool_]:
        """Where there is a picture; shape (M, P)."""
        return np.asarray(self.images != "", dtype=bool)

    def comparable(self, first: int, second: int) -> NDArray[np.int64]:
        """Places at which two contestants have pictures that differ."""
        a, b = self.codes[first], self.codes[second]
        return np.flatnonzero((a >= 0) & (b >= 0) & (a != b))


def build_board(plan: Plan, generations: Mapping[str, Generation]) -> Board:
    """Lay out the finished pictures of a plan. A row whose pictures are another row's is left out.

    Args:
        plan: The plan.
        generations: Cell id → what became of it.
    """
    sources = {case.id: case.source for case in plan.cases}
    roles = {candidate.name: candidate.role for candidate in plan.candidates}
    place_of: dict[tuple[str, int], int] = {}
    row_of: dict[str, int] = {}
    found: dict[tuple[int, int], tuple[str, str]] = {}
    where: dict[str, tuple[int, int]] = {}
    for cell in plan.cells:
        made = generations.get(cell.id)
        if roles.get(cell.candidate) not in ("base", "candidate") or made is None or made.image is None:
            continue
        if cell.id in where:  # the same inputs under a second name
            continue
        row = row_of.setdefault(cell.candidate, len(row_of))
        place = place_of.setdefault((cell.case, cell.seed), len(place_of))
        found[row, place] = (cell.id, made.image)
        where[cell.id] = (row, place)
    shape = (len(row_of), len(place_of))
    cells, images = np.full(shape, "", dtype=object), np.full(shape, "", dtype=object)
    for at, (cell_id, image) in found.items():
        cells[at], images[at] = cell_id, image
    places = tuple(Place(case, seed, sources[case]) for case, seed in place_of)
    names = {source.id: code for code, source in enumerate(plan.sources)}
    photos = np.array([names.get(place.source, -1) for place in places], dtype=np.int64)
    return Board(tuple(row_of), places, cells, images, where, photos)
