"""Several bases side by side, each a project of its own: only what all of them were asked is counted.

Pictures of different bases are not paired, unless the user asks: another base is another model with other noise, so
equal seeds mean nothing across bases, and a difference holds for the photographs alone. Opens no stores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from whichlora.analysis.cells import Verdict
from whichlora.errors import UserError
from whichlora.stats.paired import Difference, paired_difference
from whichlora.stats.rates import RateInterval, clustered_rate
from whichlora.types import Plan, fingerprint

Key = tuple[str, str, int]
"""Photograph's hash, instruction and what it must change, seed."""


@dataclass(frozen=True, slots=True)
class Side:
    """One base's project."""

    name: str
    """How it is called in the table: the base's id, or the project where two have the same base."""
    plan: Plan
    verdicts: Sequence[Verdict]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of one base over the common cases."""

    side: str
    row: str
    capabilities: Mapping[str, tuple[int, int]]
    """Capability → (passed, judged)."""
    unknown: int
    """Pictures that could not be judged; not counted."""
    rate: RateInterval | None
    """Over photographs; None when nothing could be judged."""
    against: Difference | None
    """Paired by photograph against the same row of the first base; only when asked."""


@dataclass(frozen=True, slots=True)
class Table:
    """What the bases have in common."""

    cases: int
    """Photograph × instruction × seed that every base was asked."""
    photos: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def side_by_side(sides: Sequence[Side], *, paired: bool = False) -> Table:
    """The rows of every base over what all were asked.

    Args:
        sides: Two projects or more.
        paired: Also compare rows of equal name with the first base's, photograph by photograph.

    Raises:
        UserError: Nothing is common, or the subjects differ.
    """
    subjects = {side.plan.subject for side in sides}
    if len(subjects) > 1:
        raise UserError(f"The projects have different subjects ({', '.join(sorted(subjects))}).",
                        fix="Compare projects of the same photographs.")
    known = [_by_key(side) for side in sides]
    common = set.intersection(*(set(rows.get("base", {})) for rows in known))
    if not common:
        raise UserError("No photograph, instruction and seed was asked of every base.",
                        fix="Create the other project with: whichlora bases PROJECT --add BASE --to NEW")
    found: list[Row] = []
    for side, rows in zip(sides, known, strict=True):
        for name, answers in rows.items():
            mine = {key: verdict for key, verdict in answers.items() if key in common}
            if mine:
                first = known[0].get(name, {}) if paired and side is not sides[0] else {}
                found.append(_row(side, name, mine, {key: first[key] for key in common & set(first)}))
    return Table(len(common), len({key[0] for key in common}), tuple(found), tuple(_notes(sides, paired)))


def _by_key(side: Side) -> dict[str, dict[Key, Verdict]]:
    """Row → key → verdict; control rows are left out."""
    photos = {photo.id: photo.sha256 for photo in side.plan.sources}
    roles = {row.name: row.role for row in side.plan.candidates}
    found: dict[str, dict[Key, Verdict]] = defaultdict(dict)
    for verdict in side.verdicts:
        case = verdict.case
        if roles.get(verdict.cell.candidate) != "control":
            # the suite's instruction, not a candidate's own wording of it
            asked = fingerprint([case.prompt, case.family, dict(case.target)])
            found[verdict.cell.candidate][photos[case.source], asked, verdict.cell.seed] = verdict
    return dict(found)


def _row(side: Side, name: str, mine: Mapping[Key, Verdict], first: Mapping[Key, Verdict]) -> Row:
    capabilities: dict[str, tuple[int, int]] = {}
    for verdict in mine.values():
        passed, judged = capabilities.get(verdict.case.family, (0, 0))
        if verdict.passed is not None:
            capabilities[verdict.case.family] = passed + verdict.passed, judged + 1
    successes, cells = _per_photo(mine)
    kept = [photo for photo, count in cells.items() if count]
    rate = clustered_rate([successes[photo] for photo in kept], [cells[photo] for photo in kept]) if kept else None
    return Row(side.name, name, capabilities, sum(verdict.passed is None for verdict in mine.values()), rate,
               _difference(mine, first) if first else None)


def _per_photo(verdicts: Mapping[Key, Verdict]) -> tuple[dict[str, int], dict[str, int]]:
    successes: dict[str, int] = defaultdict(int)
    cells: dict[str, int] = defaultdict(int)
    for (photo, _, _), verdict in verdicts.items():
        if verdict.passed is not None:
            successes[photo] += verdict.passed
            cells[photo] += 1
    return dict(successes), dict(cells)


def _difference(mine: Mapping[Key, Verdict], first: Mapping[Key, Verdict]) -> Difference | None:
    """This base minus the first, over keys that both could be judged on."""
    both = [key for key in mine if key in first and mine[key].passed is not None and first[key].passed is not None]
    if not both:
        return None
    here, cells = _per_photo({key: mine[key] for key in both})
    there, _ = _per_photo({key: first[key] for key in both})
    photos = sorted(cells)
    counts = np.array([cells[photo] for photo in photos], float)
    return paired_difference(np.array([here[photo] for photo in photos]) / counts,
                             np.array([there[photo] for photo in photos]) / counts, float(counts.mean()))


def _notes(sides: Sequence[Side], paired: bool) -> list[str]:
    notes = ["Each base is one model on these photographs; nothing is claimed about other characters."]
    if paired:
        notes.append("Differences are paired by photograph and instruction. Seeds are not: equal seeds mean nothing "
                     "across bases. They are not corrected for the number of rows.")
    material = {fingerprint([
        sorted(item.sha256 for item in (*side.plan.sources, *side.plan.calibration)),
        sorted(item.sha256 for item in side.plan.impostors)]) for side in sides}
    if len(material) > 1:
        notes.append("The projects' photographs differ, so identity was calibrated differently in each.")
    areas = {side.plan.candidates[0].sampler.reference_area_px for side in sides}
    if len(areas) > 1:
        notes.append("The bases work at different picture sizes, which changes what can be seen in them.")
    return notes
