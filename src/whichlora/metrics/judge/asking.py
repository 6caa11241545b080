"""Which pairs of a project a judge is asked about, and asking them: resumable, and every answer kept.

Each candidate's picture is paired with the base's of the same photograph, instruction and seed. Places are the same for
all candidates and spread over photographs and kinds of edit. Knows no model and writes no sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whichlora.metrics.base import Picture
from whichlora.metrics.judge.pairwise import Comparison, Judge, Question, compare
from whichlora.stats.screening import in_turns
from whichlora.types import EditCase, Generation, Plan

REFERENCES = 2
"""Own photographs that a judge is shown beside the source; more dilute its attention."""


@dataclass(frozen=True)
class Pair:
    """Two pictures of one photograph, instruction and seed: a candidate's, and the base's."""

    row: str
    """Name of the candidate."""
    case: EditCase
    """Instruction and photograph."""
    seed: int
    cells: tuple[str, str]
    """Cell of the candidate, cell of the base."""
    images: tuple[str, str]
    """Their content hashes."""

    def key(self, question: Question) -> str:
        """Name of a question about these two pictures."""
        return "|".join((question, self.case.source, self.case.prompt, *self.images))


def choose_pairs(plan: Plan, generations: Mapping[str, Generation], most: int) -> list[Pair]:
    """At most so many pairs, as many of each candidate as of the others where their pictures allow it.

    Pictures that are equal bit by bit are no pair. Candidates whose cells are the base's own are left out.

    Args:
        plan: The plan.
        generations: Cell id → what became of it.
        most: Upper limit; at least one place is asked about.
    """
    roles = {row.name: row.role for row in plan.candidates}
    cases = {case.id: case for case in plan.cases}
    made: dict[str, dict[tuple[str, int], tuple[str, str]]] = {}
    for cell in plan.cells:
        found = generations.get(cell.id)
        if found is not None and found.status == "done" and found.image is not None:
            made.setdefault(cell.candidate, {})[cell.case, cell.seed] = (cell.id, found.image)
    base = next((name for name, role in roles.items() if role == "base"), "")
    places = list(made.get(base, {}))
    order = in_turns([cases[case].source for case, _ in places], [cases[case].family for case, _ in places])
    rows = [name for name, role in roles.items() if role == "candidate" and name in made]
    pairs: list[Pair] = []
    for place in (places[index] for index in order):
        mine = [_pair(name, cases[place[0]], place[1], made[name].get(place), made[base][place]) for name in rows]
        here = [pair for pair in mine if pair is not None]
        if pairs and len(pairs) + len(here) > most:
            break
        pairs += here
    return pairs


def _pair(
    row: str, case: EditCase, seed: int, mine: tuple[str, str] | None, theirs: tuple[str, str]
) -> Pair | None:
    if mine is None or mine[1] == theirs[1]:
        return None
    return Pair(row, case, seed, (mine[0], theirs[0]), (mine[1], theirs[1]))


def ask(
    judge: Judge, pairs: Sequence[Pair], questions: Sequence[Question], known: Mapping[str, Mapping[str, Any]],
    picture: Callable[[str], Picture], photograph: Callable[[str], Picture], references: Mapping[str, Sequence[str]],
    keep: Callable[[dict[str, Any]], object], watch: Callable[[int, int], None] = lambda *_: None, every: int = 20,
) -> dict[str, Any]:
    """Ask every question about every pair that is not answered yet.

    Args:
        judge: Who is asked.
        pairs: Pairs.
        questions: Questions, each asked by itself.
        known: Answers of an earlier call, by `Pair.key`.
        picture: Content hash → picture.
        photograph: Source id → photograph.
        references: Source id → ids of further own photographs that are shown.
        keep: Called with all answers so far every `every` answers, and at the end.
        watch: Called with (answered, all).
        every: How many answers may be lost.

    Returns:
        Key → {'outcome', 'changed', 'sure', 'reason', 'broke'}.
    """
    answers: dict[str, Any] = {key: dict(value) for key, value in known.items()}
    todo: list[tuple[Pair, Question]] = [
        (pair, question) for pair in pairs for question in questions if open_again(answers.get(pair.key(question)))
    ]
    try:
        for done, (pair, question) in enumerate(todo, start=1):
            shown = [photograph(name) for name in references.get(pair.case.source, ())]
            first, second = (picture(image) for image in pair.images)
            found = compare(judge, question, pair.case, photograph(pair.case.source), (first, second), shown)
            answers[pair.key(question)] = _plain(found)
            watch(done, len(todo))
            if done % every == 0:
                keep(answers)
    finally:
        keep(answers)
    return answers


def open_again(answer: Mapping[str, Any] | None) -> bool:
    """Whether a question is to be asked: never asked, or the judge broke down over it (out of memory, say)."""
    return answer is None or bool(answer.get("broke"))


def _plain(found: Comparison) -> dict[str, Any]:
    return {"outcome": found.outcome, "changed": found.outcome == "tie" and bool(found.reason),
            "sure": [round(answer.sure, 4) for answer in found.answers], "reason": found.reason,
            "broke": any(answer.broke for answer in found.answers)}
