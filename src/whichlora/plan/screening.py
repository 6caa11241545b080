"""What a screened run has decided, as plain data: who left after how many pictures, and on which cells.

The run writes it after every round; the analysis, the report and the live page read it. Does not: decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from whichlora.findings import build
from whichlora.stats.screening import in_turns
from whichlora.types import Cell, Plan

DOCUMENT = "screening"
"""Name of the document in the store."""


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One finished round."""

    steps: int
    """Pictures that every candidate in it has."""
    left: tuple[str, ...]
    """Candidates that stayed, best first."""
    rates: Mapping[str, float]
    """Rate over the must-haves so far, of all that were in it."""


@dataclass(frozen=True, slots=True)
class Screening:
    """How far a screened run has come."""

    out: Mapping[str, int] = field(default_factory=dict[str, int])
    """Candidate that left → pictures it had by then."""
    finalists: tuple[str, ...] = ()
    """Those that were measured to the end, best first; empty while the run goes on."""
    chosen_on: tuple[tuple[str, int], ...] = ()
    """(case, seed) on which the field was cut while many were in it; figures of finalists leave them out."""
    rounds: tuple[RoundRecord, ...] = ()
    """Finished rounds."""
    planned: int = 0
    """Rounds in all."""
    cells: int = 0
    """Pictures of candidates that the run asked for."""
    full: int = 0
    """Pictures of candidates that the full matrix has."""
    notes: tuple[str, ...] = ()
    """Sentences on how the field was cut, such as what became of the cheap sampler."""

    @property
    def saved(self) -> int:
        """Pictures that were not needed."""
        return max(0, self.full - self.cells)


def screening_to_json(screening: Screening) -> dict[str, Any]:
    """Plain data of a screening."""
    return asdict(screening)


def screening_from_json(data: Mapping[str, Any] | None) -> Screening:
    """Rebuild a screening; an empty one where nothing was screened."""
    return build(Screening, data) if data else Screening()


def shared_steps(plan: Plan) -> tuple[tuple[str, int], ...]:
    """(case, seed) that every candidate of the plan is asked, in the order in which a screening measures them."""
    asked: dict[tuple[str, int], set[str]] = {}
    names = {candidate.name for candidate in plan.candidates if candidate.role == "candidate"}
    for cell in plan.cells:
        if cell.candidate in names:
            asked.setdefault((cell.case, cell.seed), set()).add(cell.candidate)
    cases = {case.id: case for case in plan.cases}
    found: list[tuple[str, int]] = []
    # All instructions once with the first seed, before any gets its second seed.
    for seed in dict.fromkeys(seed for _, seed in asked):
        steps = [step for step in asked if step[1] == seed and asked[step] == names]
        order = in_turns([cases[case].source for case, _ in steps], [cases[case].family for case, _ in steps])
        found += [steps[i] for i in order]
    return tuple(found)


def cells_of(plan: Plan, candidates: Iterable[str], steps: Iterable[tuple[str, int]] | None = None) -> list[Cell]:
    """Cells of some candidates at some steps (None for all that they are asked), in the plan's order."""
    names = set(candidates)
    wanted = None if steps is None else set(steps)
    return [
        cell for cell in plan.cells
        if cell.candidate in names and (wanted is None or (cell.case, cell.seed) in wanted)
    ]
