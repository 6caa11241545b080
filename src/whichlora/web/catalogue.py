"""What the viewer shows: every planned cell on three axes, in blocks, with filters. No HTTP, no picture bytes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.analysis.cells import judge
from whichlora.errors import UserError
from whichlora.metrics.stage import scoring_context
from whichlora.review.votes import Rating, from_row, standing
from whichlora.store import Store
from whichlora.store.votes import GOOD_RATING
from whichlora.types import Generation, Plan, Score, instruction

AXES = ("candidate", "case", "seed")
MAX_BLOCK = 600
"""Cells in one answer: the page never loads them all at once."""


@dataclass(frozen=True)
class Sheet:
    """One reading of the store."""

    generations: Mapping[str, Generation]
    scores: Mapping[str, list[Score]]
    """Cell id → scores of machines."""
    passed: Mapping[str, bool | None]
    """Cell id → did it pass every gate."""
    faults: Mapping[str, tuple[str, ...]]
    """Cell id → what went wrong, in words."""
    filters: Mapping[str, NDArray[np.int64]]
    """Label → flat positions of the cells it finds, in matrix order."""
    revision: int = 0
    """Raised with every reading that found something new."""


@dataclass
class _Axes:
    candidates: tuple[str, ...]
    cases: tuple[str, ...]
    seeds: tuple[int, ...]
    cells: NDArray[np.object_] = field(default_factory=lambda: np.empty(0, dtype=object))


class Catalogue:
    """All cells of a plan. Reads the store again when another process has written to it."""

    def __init__(self, store: Store, plan: Plan) -> None:
        """Lay out the axes and read pictures; scores follow with `refresh`.

        Args:
            store: An open store of its own.
            plan: What was compared on what.
        """
        self.plan = plan
        self._store = store
        self._context = scoring_context(plan)
        self._lock = threading.Lock()
        self._commits = -1
        self.cases = {case.id: case for case in plan.cases}
        self.candidates = {candidate.name: candidate for candidate in plan.candidates}
        seeds = tuple(sorted({cell.seed for cell in plan.cells}))
        axes = _Axes(tuple(c.name for c in plan.candidates), tuple(c.id for c in plan.cases), seeds)
        axes.cells = np.full((len(axes.candidates), len(axes.cases), len(seeds)), "", dtype=object)
        rows = {name: at for at, name in enumerate(axes.candidates)}
        columns = {name: at for at, name in enumerate(axes.cases)}
        depth = {seed: at for at, seed in enumerate(seeds)}
        for cell in plan.cells:
            if cell.candidate in rows and cell.case in columns:
                axes.cells[rows[cell.candidate], columns[cell.case], depth[cell.seed]] = cell.id
        self._axes = axes
        self.shape = axes.cells.shape
        self.sheet = Sheet(store.generations(), {}, {}, {}, {}, 0)

    def refresh(self) -> int:
        """Read what is new, scores included; returns the revision. Costs next to nothing when nothing is."""
        with self._lock:
            commits = self._store.foreign_commits()
            if commits != self._commits:
                self._commits = commits
                self.sheet = self._read(self.sheet.revision + 1)
            return self.sheet.revision

    def _read(self, revision: int) -> Sheet:
        generations = self._store.generations()
        known = {cell.id for cell in self.plan.cells}
        told = [s for s in self._store.scores(context=self._context) if s.cell in known
                and not s.metric.startswith("truth/")]
        machine = [score for score in told if not score.rater]
        votes = standing(vote for row in self._store.votes() if (vote := from_row(row)) is not None)
        verdicts = judge(self.plan.cells, self.cases, generations, told)
        passed = {verdict.cell.id: verdict.passed for verdict in verdicts}
        faults = {verdict.cell.id: verdict.faults for verdict in verdicts if verdict.faults}
        scores: dict[str, list[Score]] = {}
        for score in machine:
            scores.setdefault(score.cell, []).append(score)
        filters = self._filters(generations, passed, faults, votes.ratings)
        return Sheet(generations, scores, passed, faults, filters, revision)

    def _filters(
        self, generations: Mapping[str, Generation], passed: Mapping[str, bool | None],
        faults: Mapping[str, tuple[str, ...]], ratings: tuple[Rating, ...],
    ) -> dict[str, NDArray[np.int64]]:
        """Label → positions; labels without a cell are left out."""
        groups: dict[str, set[str]] = {"passed everything": {cell for cell, good in passed.items() if good}}
        for cell, names in faults.items():
            for name in names:
                groups.setdefault(_spoken(name), set()).add(cell)
        groups["not scored"] = {cell for cell, good in passed.items() if good is None}
        groups["rated 3 or less by a person"] = {
            vote.cell for vote in ratings
            if min(vote.identity or 5, vote.edit or 5) < GOOD_RATING
        }
        groups["artefact marked by a person"] = {vote.cell for vote in ratings if vote.marks}
        groups["with a note"] = {vote.cell for vote in ratings if vote.note}
        groups["not made yet"] = {str(cell) for cell in self._axes.cells.ravel() if cell and cell not in generations}
        flat = self._axes.cells.ravel()
        found: dict[str, NDArray[np.int64]] = {}
        for label, cells in groups.items():
            places = np.array([at for at, cell in enumerate(flat) if cell in cells], dtype=np.int64) if cells else None
            if places is not None and len(places):
                found[label] = places
        return found

    # ------------------------------------------------------------------ answers

    def axes(self) -> dict[str, list[dict[str, Any]]]:
        """Labels of the three axes; small, sent once."""
        return {
            "candidate": [{"label": c.name, "role": c.role} for c in self.plan.candidates],
            "case": [{"label": c.id, "prompt": c.prompt, "family": c.family, "source": c.source}
                     for c in self.plan.cases],
            "seed": [{"label": f"seed {seed}"} for seed in self._axes.seeds],
        }

    def counts(self) -> dict[str, int]:
        """Planned, done and failed cells, and the revision they belong to."""
        sheet = self.sheet
        ids = {str(cell) for cell in self._axes.cells.ravel() if cell}
        states = [sheet.generations[cell].status for cell in ids if cell in sheet.generations]
        return {"planned": len(ids), "done": states.count("done"), "failed": states.count("failed"),
                "revision": sheet.revision}

    def cell_at(self, flat: int) -> tuple[str, tuple[int, int, int]]:
        """Cell id ('' when none is planned there) and place of a flat position."""
        if not 0 <= flat < self._axes.cells.size:
            raise UserError(f"There is no cell {flat}.")
        at = np.unravel_index(flat, self.shape)
        place = (int(at[0]), int(at[1]), int(at[2]))
        return str(self._axes.cells[place]), place

    def seed(self, place: tuple[int, int, int]) -> int:
        """Seed at a place."""
        return self._axes.seeds[place[2]]

    def flat(self, place: tuple[int, int, int]) -> int:
        """Flat position of a place."""
        return int(np.ravel_multi_index(place, self.shape))

    def block(self, rows: str, columns: str, fixed: int, box: tuple[int, int, int, int]) -> list[int]:
        """Flat positions of a block of the matrix, row by row.

        Args:
            rows: Axis that runs down.
            columns: Axis that runs across; the third one stays at `fixed`.
            fixed: Position on the third axis.
            box: First row, last row (excluded), first column, last column (excluded).
        """
        if rows not in AXES or columns not in AXES or rows == columns:
            raise UserError(f"Rows and columns are two of {', '.join(AXES)}.")
        third = next(axis for axis in AXES if axis not in (rows, columns))
        top, bottom = min(box[0], self.extent(rows)), min(box[1], self.extent(rows))
        left, right = min(box[2], self.extent(columns)), min(box[3], self.extent(columns))
        if (bottom - top) * (right - left) > MAX_BLOCK:
            raise UserError(f"At most {MAX_BLOCK} cells are given at once.")
        if fixed >= self.extent(third):
            raise UserError(f"There is no {third} {fixed}.")
        out: list[int] = []
        for row in range(top, bottom):
            for column in range(left, right):
                at = {rows: row, columns: column, third: fixed}
                out.append(self.flat((at["candidate"], at["case"], at["seed"])))
        return out

    def extent(self, axis: str) -> int:
        """Length of an axis."""
        return int(self.shape[AXES.index(axis)])

    def found(self, label: str, first: int, count: int) -> tuple[int, list[int]]:
        """How many cells a filter finds, and some of them."""
        places = self.sheet.filters.get(label)
        if places is None:
            return 0, []
        return len(places), [int(at) for at in places[first : first + min(count, MAX_BLOCK)]]

    def said(self, cell: str) -> str:
        """What the machine says of a cell, in a few words."""
        sheet = self.sheet
        made = sheet.generations.get(cell)
        if not cell:
            return "not planned"
        if made is None:
            return "not made yet"
        if made.status == "failed":
            return "generation failed"
        if cell in sheet.faults:
            return ", ".join(_spoken(name) for name in sheet.faults[cell])
        return {True: "passed", False: "failed", None: "not scored"}[sheet.passed.get(cell)]

    def asked(self, place: tuple[int, int, int]) -> str:
        """The instruction as this candidate received it."""
        candidate = self.plan.candidates[place[0]]
        return instruction(candidate, self.plan.cases[place[1]])


def _spoken(name: str) -> str:
    return {"grid": "grid found"}.get(name, name.replace("-", " ").replace("_", " "))
