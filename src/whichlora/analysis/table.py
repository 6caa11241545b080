"""Verdicts as arrays: candidate × capability × photograph.

Does: arrange and count. Does not: estimate.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from whichlora.analysis.cells import Verdict
from whichlora.plan.screening import Screening
from whichlora.types import Candidate, Plan

Floats = NDArray[np.float64]

IDENTITY = "identity"
ARTEFACTS = "artefacts"
WHOLE = (IDENTITY, ARTEFACTS)
"""Capabilities that run through all edits; they carry no weight of their own in the consistency rate."""


@dataclass(frozen=True)
class Table:
    """Pass counts of everything that was attempted."""

    candidates: tuple[Candidate, ...]
    """Rows, in the plan's order."""
    families: tuple[str, ...]
    """Edit families, in order of first appearance in the plan."""
    photos: tuple[str, ...]
    """Ids of the sources that are different pictures."""
    passed: Floats
    """Passed cells, shape (candidates, families, photos)."""
    scored: Floats
    """Cells with an answer, failures included, same shape."""
    unscored: Floats
    """Attempted cells without an answer, same shape; all of a row that made no picture."""
    whole_passed: Floats
    """Passed gates of 'identity' and 'artefacts', shape (candidates, 2, photos)."""
    whole_scored: Floats
    """Answered gates of the same."""
    whole_unscored: Floats
    """Gates of the same that nobody could answer."""
    verdicts: Mapping[str, tuple[Verdict, ...]]
    """By candidate."""
    planned: Mapping[str, int]
    """Planned cells by candidate."""
    screening: Screening = field(default_factory=Screening)
    """Who was dropped on the way, and on which cells."""

    def index(self, name: str) -> int:
        """Row of a candidate."""
        return [candidate.name for candidate in self.candidates].index(name)

    def without(self, photo: int) -> Table:
        """The same table as if one photograph had never been used."""
        keep = [i for i in range(len(self.photos)) if i != photo]
        cut = {
            name: getattr(self, name)[:, :, keep]
            for name in ("passed", "scored", "unscored", "whole_passed", "whole_scored", "whole_unscored")
        }
        return replace(self, photos=tuple(self.photos[i] for i in keep), **cut)

    def counts(self, candidate: int, capability: str) -> tuple[Floats, Floats]:
        """Passed and scored cells per photograph of one candidate at one capability, shapes (photos,)."""
        if capability in WHOLE:
            at = WHOLE.index(capability)
            return self.whole_passed[candidate, at], self.whole_scored[candidate, at]
        if capability not in self.families:
            empty = np.zeros(len(self.photos))
            return empty, empty
        at = self.families.index(capability)
        return self.passed[candidate, at], self.scored[candidate, at]

    def silent(self, candidate: int, capability: str) -> Floats:
        """Attempted cells without an answer per photograph, shape (photos,)."""
        if capability in WHOLE:
            return self.whole_unscored[candidate, WHOLE.index(capability)]
        if capability not in self.families:
            return np.zeros(len(self.photos))
        return self.unscored[candidate, self.families.index(capability)]

    def rates(self, candidate: int) -> tuple[Floats, Floats]:
        """Pass rate per family and photograph (NaN where nothing is scored) and the scored cells."""
        scored = self.scored[candidate]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(scored > 0, self.passed[candidate] / scored, np.nan), scored


def tabulate(plan: Plan, verdicts: Sequence[Verdict], screening: Screening | None = None) -> Table:
    """Arrange verdicts by the plan's rows, families and photographs.

    After a screening, cells on which candidates were chosen count for nobody who is left, base included: what led to
    a choice looks too good afterwards. They stay among the `verdicts`.

    A failed generation is a failure of its row, but a row that made no picture at all is unscored: after three crashes
    a run tries no more of it, and that tells of the machine or the file, not of what the LoRA does to pictures.
    """
    screening = screening or Screening()
    used = frozenset(screening.chosen_on)
    fresh = {c.name for c in plan.candidates if c.role != "control" and c.name not in screening.out} if used else set()
    families = tuple(dict.fromkeys(case.family for case in plan.cases))
    same = same_pictures(plan)
    photos = tuple(dict.fromkeys(same[source.id] for source in plan.sources))
    row = {candidate.name: i for i, candidate in enumerate(plan.candidates)}
    column = {family: i for i, family in enumerate(families)}
    photo = {name: photos.index(first) for name, first in same.items()}
    shape = (len(plan.candidates), len(families), len(photos))
    passed, scored, unscored = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    whole_passed, whole_scored, whole_silent = (np.zeros((shape[0], len(WHOLE), shape[2])) for _ in range(3))
    mine: dict[str, list[Verdict]] = defaultdict(list)
    made = {verdict.cell.candidate for verdict in verdicts if verdict.generated}
    for verdict in verdicts:
        mine[verdict.cell.candidate].append(verdict)
        if verdict.cell.candidate in fresh and (verdict.cell.case, verdict.cell.seed) in used:
            continue
        r, p = row[verdict.cell.candidate], photo[verdict.case.source]
        at = (r, column[verdict.case.family], p)
        if verdict.passed is None or verdict.cell.candidate not in made:
            unscored[at] += 1
        else:
            scored[at] += 1
            passed[at] += verdict.passed
        for w, gate in enumerate(("identity", "artefact")):
            answer = verdict.gates[gate]
            if answer is None or verdict.cell.candidate not in made:
                whole_silent[r, w, p] += 1
            else:
                whole_scored[r, w, p] += 1
                whole_passed[r, w, p] += answer
    planned = Counter(name for name, _, _ in {(cell.candidate, cell.case, cell.id) for cell in plan.cells})
    return Table(plan.candidates, families, photos, passed, scored, unscored, whole_passed, whole_scored,
                 whole_silent, {name: tuple(found) for name, found in mine.items()}, planned, screening)


def same_pictures(plan: Plan) -> dict[str, str]:
    """Source id → id of the first source with the same picture: one picture under two names is one photograph."""
    first: dict[str, str] = {}
    return {source.id: first.setdefault(source.sha256 or source.id, source.id) for source in plan.sources}


def share(verdicts: Sequence[Verdict], answer: Callable[[Verdict], bool | None]) -> float | None:
    """Share of yes among those that can be answered; None if none can."""
    told = [value for value in map(answer, verdicts) if value is not None]
    return sum(told) / len(told) if told else None
