"""This project against an earlier one, as paired changes: the same photograph, instruction and seed, then and now.

Does: refuse where settings differ, pair pictures, estimate and test changes. Does not: word (`changes.py`)
or open stores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from whichlora.analysis.cells import Verdict, judge
from whichlora.analysis.evidence import LEVEL
from whichlora.analysis.facts import estimate_of_difference
from whichlora.analysis.table import ARTEFACTS, IDENTITY
from whichlora.errors import UserError
from whichlora.findings import Change
from whichlora.stats.multiple import max_t
from whichlora.stats.paired import paired_difference
from whichlora.stats.rates import pooled_capabilities
from whichlora.types import Candidate, EditCase, Generation, Plan, Score, fingerprint, instruction

Floats = NDArray[np.float64]
Answer = Callable[[Verdict], bool | None]

OVERALL = "overall"
MACHINE = ("device",)
"""Options of a base that say where it ran, not what it computes."""


@dataclass(frozen=True)
class Project:
    """Stored rows of one project."""

    plan: Plan
    generations: Mapping[str, Generation]
    scores: Sequence[Score]
    """Newest scores of the plan's cells, ground truth left out."""
    sentence: str = ""
    """Verdict sentence as last stored."""


@dataclass(frozen=True)
class Paired:
    """Everything that two projects have in common."""

    photos: int
    """Photographs with at least one pair."""
    pairs: int
    """Pairs of pictures over all rows."""
    left_out: int
    """Pairs in which one side could not be scored."""
    same: tuple[str, ...]
    """Rows whose pictures are the same files as then."""
    changes: tuple[Change, ...]
    """By row, 'overall' first."""
    refused: tuple[Mapping[str, str], ...]
    """Rows that cannot be compared: {'name', 'reason'}."""


def compare(old: Project, new: Project) -> Paired:
    """Paired changes of all rows that both projects have.

    Args:
        old: The earlier project.
        new: This one.

    Raises:
        UserError: Settings that decide every picture or score differ, or nothing is common; it names which.
    """
    differing = differences(old, new)
    if differing:
        raise UserError(
            f"The earlier project '{old.plan.project}' cannot be compared: {'; '.join(differing)}.",
            fix="Changes are only told apart from luck where everything else is the same: run the earlier candidates "
                "again with this project's settings, or compare without --against.",
        )
    rows, refused = _common_rows(old.plan, new.plan)
    then, now = _by_key(old, [row.was for row in rows]), _by_key(new, [row.name for row in rows])
    families = tuple(dict.fromkeys(case.family for case in new.plan.cases))
    kept = [row for row in rows if then[row.was].keys() & now[row.name].keys()]
    refused += [
        {"name": row.name, "reason": "no photograph, instruction and seed is common to both projects"}
        for row in rows if row not in kept
    ]
    if not kept:
        reasons = "; ".join(f"{row['name']}: {row['reason']}" for row in refused)
        raise UserError(f"The earlier project '{old.plan.project}' has no row that can be compared ({reasons}).",
                        fix="Compare with a project that has a candidate of the same name and settings.")
    return _measured(kept, then, now, families, refused)


# --------------------------------------------------------------------------- what must be the same


def differences(old: Project, new: Project) -> list[str]:
    """Settings that differ and would be mistaken for a change, each in a few words with both values."""
    a, b = old.plan, new.plan
    found = []
    if (a.base.family, a.base.fingerprint) != (b.base.family, b.base.fingerprint):
        found.append(f"the base model differs ({a.base.id} {a.base.fingerprint} then, {b.base.id} "
                     f"{b.base.fingerprint} now)")
    first, second = _options(a), _options(b)
    found += [
        f"the base's option '{name}' differs ({first.get(name)!r} then, {second.get(name)!r} now)"
        for name in sorted(first.keys() | second.keys()) if first.get(name) != second.get(name)
    ]
    if a.subject != b.subject:
        found.append(f"the kind of subject differs ({a.subject} then, {b.subject} now)")
    for what, then, now in (("photographs", a.sources, b.sources), ("calibration photographs", a.calibration,
                            b.calibration), ("photographs of others", a.impostors, b.impostors)):
        lost = {item.sha256 for item in then}, {item.sha256 for item in now}
        if lost[0] != lost[1]:
            found.append(f"the {what} differ ({len(lost[0] - lost[1])} only then, {len(lost[1] - lost[0])} only now), "
                         "and they calibrate the identity metric")
    packs = [", ".join(sorted(plan.identity_packs)) or "none" for plan in (a, b)]
    if packs[0] != packs[1]:
        found.append(f"the recognisers of identity differ ({packs[0]} then, {packs[1]} now)")
    if any(score.gate is not None for score in new.scores) and not any(s.gate is not None for s in old.scores):
        return [*found, "it has no scores yet"]
    return found + _versions(old, new)


def _options(plan: Plan) -> dict[str, object]:
    return {name: value for name, value in plan.base.options.items() if name not in MACHINE}


def _versions(old: Project, new: Project) -> list[str]:
    """Metrics that decide, whose version is another or that only one of the projects has."""
    def versions(project: Project) -> dict[str, int]:
        found: dict[str, int] = {}
        for score in project.scores:
            if score.gate is not None and not score.rater:
                found[score.metric] = max(score.version, found.get(score.metric, 0))
        return found

    then, now = versions(old), versions(new)
    return [
        f"the metric {name} differs (version {then.get(name, 'none')} then, {now.get(name, 'none')} now)"
        for name in sorted(then.keys() | now.keys()) if then.get(name) != now.get(name)
    ]


# --------------------------------------------------------------------------- what is compared with what


@dataclass(frozen=True)
class _Row:
    """A row of this project and the one that it is compared with."""

    name: str
    was: str


def _common_rows(old: Plan, new: Plan) -> tuple[list[_Row], list[Mapping[str, str]]]:
    """Rows of the same name and settings; base rows by their sampler, as a project may have several."""
    then = {candidate.name: candidate for candidate in old.candidates if candidate.role != "control"}
    rows: list[_Row] = []
    refused: list[Mapping[str, str]] = []
    for candidate in new.candidates:
        if candidate.role == "control":
            continue
        was = then.get(candidate.name)
        if was is None or was.role != candidate.role:
            refused.append({"name": candidate.name, "reason": "the earlier project has no row of this name"})
            continue
        other = _other_settings(was, candidate)
        if other:
            refused.append({"name": candidate.name, "reason": other})
        else:
            rows.append(_Row(candidate.name, was.name))
    return rows, refused


def _other_settings(was: Candidate, now: Candidate) -> str:
    """What else than its files differs in a row; '' when nothing does."""
    first, second = _sampler(was), _sampler(now)
    for name in first:
        if first[name] != second[name]:
            return f"its sampler's {name} differs ({first[name]!r} then, {second[name]!r} now)"
    return ""


def _sampler(candidate: Candidate) -> dict[str, object]:
    plain = asdict(candidate.sampler)
    plain.pop("name")
    plain["adapters"] = [[use.sha256, use.weight] for use in candidate.sampler.adapters]
    return plain


Key = tuple[str, str, int]


def _by_key(project: Project, names: Sequence[str]) -> dict[str, dict[Key, tuple[Verdict, str | None]]]:
    """Row → (photograph's hash, resolved instruction, seed) → verdict and picture."""
    plan = project.plan
    cases = {case.id: case for case in plan.cases}
    hashes = {source.id: source.sha256 for source in plan.sources}
    rows = {candidate.name: candidate for candidate in plan.candidates}
    wanted = set(names)
    found: dict[str, dict[Key, tuple[Verdict, str | None]]] = {name: {} for name in names}
    own = [cell for cell in plan.cells if cell.candidate in wanted]
    for verdict in judge(own, cases, project.generations, project.scores):
        cell = verdict.cell
        key = (hashes[verdict.case.source], _asked(rows[cell.candidate], verdict.case, hashes), cell.seed)
        found[cell.candidate][key] = verdict, project.generations[cell.id].image
    return found


def _asked(candidate: Candidate, case: EditCase, hashes: Mapping[str, str]) -> str:
    """What was asked for, and by which measure it counts as done."""
    return fingerprint([
        case.family, instruction(candidate, case), dict(case.target), sorted(case.keep),
        [hashes.get(name, name) for name in case.references],
    ])


# --------------------------------------------------------------------------- what changed


@dataclass(frozen=True)
class _Column:
    """Rates per photograph, then and now, of one row at one capability."""

    row: _Row
    capability: str
    then: Floats
    """Shape (photographs,), NaN where there is no pair."""
    now: Floats
    cells: float
    """Pairs per photograph."""


def _measured(
    rows: Sequence[_Row], then: Mapping[str, Mapping[Key, tuple[Verdict, str | None]]],
    now: Mapping[str, Mapping[Key, tuple[Verdict, str | None]]], families: Sequence[str],
    refused: Sequence[Mapping[str, str]],
) -> Paired:
    pairs = {
        row: [(then[row.was][key], now[row.name][key], key[0]) for key in then[row.was] if key in now[row.name]]
        for row in rows
    }
    photos = list(dict.fromkeys(photo for found in pairs.values() for _, _, photo in found))
    columns: list[_Column] = []
    worst: list[Floats] = []
    best: list[Floats] = []
    for row, found in pairs.items():
        mine = _columns(row, found, photos, families, None)
        columns += mine
        # What could not be scored may hang on how it came out: a claim must hold if it all went the other way.
        worst += [column.now - column.then for column in _columns(row, found, photos, families, False)]
        best += [column.now - column.then for column in _columns(row, found, photos, families, True)]
    better = _shown(columns, worst, 1)
    worse = _shown(columns, best, -1)
    changes = tuple(
        _change(column, better[at], worse[at]) for at, column in enumerate(columns)
        if not np.isnan(column.now - column.then).all()
    )
    silent = sum(a.passed is None or b.passed is None for found in pairs.values() for (a, _), (b, _), _ in found)
    same = tuple(
        row.name for row, found in pairs.items() if all(a[1] is not None and a[1] == b[1] for a, b, _ in found)
    )
    return Paired(len(photos), sum(len(found) for found in pairs.values()), silent, same, changes, tuple(refused))


def _columns(
    row: _Row, pairs: Sequence[tuple[tuple[Verdict, str | None], tuple[Verdict, str | None], str]],
    photos: Sequence[str], families: Sequence[str], silence: bool | None,
) -> list[_Column]:
    """Overall, every edit family, identity and artefacts; `silence` is what an unscored answer now counts as."""
    answers: dict[str, Answer] = {IDENTITY: lambda v: v.gates["identity"], ARTEFACTS: lambda v: v.gates["artefact"]}
    found = []
    for name in (*families, IDENTITY, ARTEFACTS):
        told: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for (a, _), (b, _), photo in pairs:
            if name in families and b.case.family != name:
                continue
            first, second = (answers[name](v) if name in answers else v.passed for v in (a, b))
            if silence is not None:
                first, second = (not silence if first is None else first), (silence if second is None else second)
            if first is not None and second is not None:
                told[photo].append((float(first), float(second)))
        rates = np.array([np.mean(told[photo], axis=0) if told[photo] else (np.nan, np.nan) for photo in photos])
        each = [len(told[photo]) for photo in photos if told[photo]]
        cells = len(each) / sum(1 / m for m in each) if each else 0.0
        found.append(_Column(row, name, rates[:, 0], rates[:, 1], cells))
    return [_overall(row, [column for column in found if column.capability in families]), *found]


def _overall(row: _Row, columns: Sequence[_Column]) -> _Column:
    """Capabilities weighing the same, as in the matrix: pseudo-values whose mean is that rate."""
    cells = np.array([np.where(np.isnan(column.now), 0.0, column.cells) for column in columns])
    has = np.asarray(cells.sum(axis=0) > 0)
    ends = []
    for values in ([column.then for column in columns], [column.now for column in columns]):
        spread = np.full(len(has), np.nan)
        pseudo, each = pooled_capabilities(np.array(values), cells)
        spread[has] = pseudo
        ends.append(spread)
    return _Column(row, OVERALL, ends[0], ends[1], each)


def _shown(columns: Sequence[_Column], bounds: Sequence[Floats], sign: int) -> list[bool]:
    """Which changes are shown in one direction, corrected for all of them, also at the bound of what is unscored."""
    seen = np.array([column.now - column.then for column in columns]).T
    held = np.ones(seen.shape[1], dtype=bool)
    for matrix in (seen, np.array(bounds).T):
        held &= (max_t(matrix) <= LEVEL) & (sign * np.nansum(matrix, axis=0) > 0)
    return [bool(value) for value in held]


def _change(column: _Column, better: bool, worse: bool) -> Change:
    both = ~np.isnan(column.now - column.then)
    difference = paired_difference(column.now[both], column.then[both], column.cells)
    found = estimate_of_difference(difference, round(column.cells * int(both.sum())))
    assert found is not None
    return Change(column.row.name, column.row.was, column.capability, float(column.then[both].mean()),
                  float(column.now[both].mean()), found, better, worse)
