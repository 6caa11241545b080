"""Pairs of source and result that are good enough to learn from, and how many were left out, and why.

A picture is taken when it passed every gate and, once people have voted in the project, when people accepted it.
Reads stored rows only; decides nothing about pictures that was not decided before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from whichlora.errors import RefusedError
from whichlora.types import Candidate, Cell, EditCase, Gate, Generation, Plan, SourceImage, instruction


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is known of one picture's worth."""

    gates: Mapping[Gate, bool | None]
    """Gate → passed, failed, or None when nobody and nothing could tell."""
    people: bool | None
    """What most people who looked at it said; None when nobody looked or they were split."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One source photograph, what was asked, and what came of it."""

    name: str
    """File name without ending: '0001'."""
    cell: Cell
    candidate: Candidate
    case: EditCase
    sources: tuple[SourceImage, ...]
    """The photograph that was edited, then further references."""
    image: str
    """SHA-256 of the result."""
    instruction: str
    """What the model was told, with the LoRA's own trigger and wording."""
    caption: str
    """What a new LoRA is taught to answer to: trigger word and the suite's wording."""
    people: bool | None
    """As in `Judgement`."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The pairs of an export."""

    pairs: tuple[Pair, ...]
    """In the plan's order."""
    left_out: Mapping[str, int]
    """Reason → pictures."""
    review: str
    """One sentence on what people had to do with it."""


def select_pairs(
    plan: Plan, generations: Mapping[str, Generation], judged: Mapping[str, Judgement],
    candidates: Collection[Candidate], *, trigger: str, unreviewed: bool = False,
) -> Selection:
    """Pairs that may be learnt from.

    Args:
        plan: The stored plan.
        generations: Cell id → generation.
        judged: Cell id → what is known of it.
        candidates: Rows whose pictures are wanted.
        trigger: Word put before every caption; '' for none.
        unreviewed: Also take pictures that nobody looked at although others were judged.

    Raises:
        RefusedError: No picture is left; the message says what stood in the way.
    """
    voted = any(item.people is not None for item in judged.values())
    cases = {case.id: case for case in plan.cases}
    photos = {photo.id: photo for photo in plan.sources}
    rows = {row.name: row for row in candidates}
    reasons: Counter[str] = Counter()
    pairs: list[Pair] = []
    taken: set[tuple[str, str]] = set()
    for cell in plan.cells:
        row = rows.get(cell.candidate)
        if row is None:
            continue
        generation = generations.get(cell.id)
        reason = _why_not(generation, judged.get(cell.id), voted=voted and not unreviewed)
        if reason or generation is None or generation.image is None:
            reasons[reason] += 1
            continue
        case = cases[cell.case]
        if (case.source, generation.image) in taken:
            reasons["the same picture again"] += 1
            continue
        taken.add((case.source, generation.image))
        pairs.append(Pair(
            f"{len(pairs) + 1:04d}", cell, row, case, tuple(photos[name] for name in (case.source, *case.references)),
            generation.image, instruction(row, case), f"{trigger} {case.prompt}".strip(), judged[cell.id].people,
        ))
    if not pairs:
        listing = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "nothing was made"
        raise RefusedError(f"No picture of {', '.join(rows) or 'these set-ups'} may be learnt from: {listing}.",
                           fix="Name others with --candidate, or judge pictures: whichlora review PROJECT")
    return Selection(tuple(pairs), dict(reasons), _review_sentence(pairs, voted=voted))


def _why_not(generation: Generation | None, judged: Judgement | None, *, voted: bool) -> str:
    """Why a picture is left out; '' when it is taken."""
    if generation is None:
        return "not made yet"
    if generation.status != "done" or generation.image is None:
        return "failed to be made"
    if judged is None:
        return "not scored yet"
    for gate, answer in judged.gates.items():
        if answer is not True:
            return f"{gate} not passed" if answer is False else f"{gate} not known"
    if judged.people is False:
        return "rejected by people"
    if voted and judged.people is None:
        return "judged by nobody"
    return ""


def _review_sentence(pairs: list[Pair], *, voted: bool) -> str:
    seen = sum(pair.people is True for pair in pairs)
    if not voted:
        return "Nobody has judged these pictures: they passed the metrics only."
    if seen == len(pairs):
        return "People accepted every one of these pictures."
    return f"People accepted {seen} of these {len(pairs)} pictures; nobody looked at the others."
