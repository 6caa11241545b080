"""From the scores of a cell to its gates: valid, edit done, identity kept, no severe artefact.

Does: combine the metrics that have a say, keep failures in the denominator, name what went wrong. Does not: average
over cells (`table.py`) or know which candidate is which.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from whichlora.types import Cell, EditCase, Gate, Generation, Score

GATES: tuple[Gate, ...] = ("valid", "edit", "identity", "artefact")
NO_SAY = "not applicable"
"""How the reason of a measurement begins where its metric has no say."""
UNCHANGED = "following/unchanged"
"""Metric whose detail 'no_op' tells that nothing changed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one attempted cell. None means that nobody could say."""

    cell: Cell
    """The cell."""
    case: EditCase
    """Its case."""
    generated: bool
    """False when the generation failed: then every gate is failed."""
    gates: Mapping[Gate, bool | None]
    """Gate → passed, failed or unscored."""
    no_op: bool | None
    """True when the picture is the source again."""
    faults: tuple[str, ...]
    """Names of what went wrong, for counts and for looking them up."""

    @property
    def passed(self) -> bool | None:
        """All four gates together: False as soon as one failed, else None as soon as one is unscored."""
        answers = self.gates.values()
        if any(answer is False for answer in answers):
            return False
        return None if any(answer is None for answer in answers) else True


def judge(
    cells: Iterable[Cell], cases: Mapping[str, EditCase], generations: Mapping[str, Generation],
    scores: Iterable[Score],
) -> list[Verdict]:
    """Verdicts of all attempted cells, in the plan's order; cells not yet generated are left out.

    Args:
        cells: Planned cells.
        cases: Case id → case.
        generations: Cell id → what became of it.
        scores: Stored scores; of several versions of a metric the newest counts. A person's verdict counts where no
            metric could tell; it does not overrule one.
    """
    by_cell: dict[str, dict[str, Score]] = defaultdict(dict)
    votes: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        if score.rater:
            votes[score.cell].append(score)
            continue
        mine = by_cell[score.cell]
        known = mine.get(score.metric)
        if known is None or score.version >= known.version:
            mine[score.metric] = score
    # One picture listed as two photographs makes the same cells twice; they count once.
    once = {(cell.candidate, cases[cell.case].edit, cell.id): cell for cell in reversed(list(cells))}
    return [
        _judge_one(cell, cases[cell.case], generations[cell.id], by_cell.get(cell.id, {}), votes.get(cell.id, ()))
        for cell in reversed(once.values()) if cell.id in generations
    ]


def _judge_one(
    cell: Cell, case: EditCase, generation: Generation, scores: Mapping[str, Score], votes: Sequence[Score],
) -> Verdict:
    gates: dict[Gate, bool | None] = dict.fromkeys(GATES, False)
    if generation.status != "done":
        return Verdict(cell, case, False, gates, None, ("generation failed",))
    for gate in GATES:
        told = _gate(gate, case, scores)
        gates[gate] = _majority(gate, votes) if told is None else told
    unchanged = scores.get(UNCHANGED)
    told = unchanged.detail.get("no_op") if unchanged is not None else None
    no_op = bool(told) if told is not None else None
    return Verdict(cell, case, True, gates, no_op, tuple(_faults(gates, scores, no_op)))


def _gate(gate: Gate, case: EditCase, scores: Mapping[str, Score]) -> bool | None:
    """One gate: any applicable metric that says no fails it; silence of all leaves it unscored."""
    rows = [score for score in scores.values() if score.gate == gate]
    having = [score for score in rows if not score.reason.startswith(NO_SAY)]
    if any(score.passed is False for score in having):
        return False
    if any(score.passed is True for score in having):
        return True
    if having:
        return None
    # No metric has a say. An edit nobody can check is unscored; a gate that nobody asked for is passed.
    if gate == "edit":
        return None
    if gate == "identity":
        return None if "identity" in case.keep else True
    if gate == "artefact":
        return True if rows or scores else None
    return True


def _majority(gate: Gate, votes: Sequence[Score]) -> bool | None:
    """What most people said of a gate; None without votes or on a draw."""
    said = [vote.passed for vote in votes if vote.gate == gate and vote.passed is not None]
    yes = sum(said)
    return None if 2 * yes == len(said) else 2 * yes > len(said)


def _faults(gates: Mapping[Gate, bool | None], scores: Mapping[str, Score], no_op: bool | None) -> Iterable[str]:
    if gates["edit"] is False:
        yield "nothing changed" if no_op else "edit not done"
    if gates["identity"] is False:
        lost = [s for s in scores.values() if s.gate == "identity" and s.passed is False]
        yield "face missing" if lost and all(s.value is None for s in lost) else "identity lost"
    for score in scores.values():
        if score.gate in ("artefact", "valid") and score.passed is False and not score.reason.startswith(NO_SAY):
            yield from _kinds(score)


def _kinds(score: Score) -> Iterable[str]:
    """Names of the severe artefacts that a metric lists, else the metric's own name."""
    listed = score.detail.get("found")
    found = listed if isinstance(listed, Sequence) and not isinstance(listed, str) else ()
    kinds = [str(item["kind"]) for item in found if isinstance(item, Mapping) and item.get("severity") == "severe"]
    return kinds or [score.metric.rsplit("/", 1)[-1]]
