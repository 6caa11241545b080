"""Asking any judge fairly: both orders, disagreement is a tie, no answer is no answer. Knows no model.

A judge sees the source, the character's references, the instruction and two pictures. It never sees a name, a model
card or a metric's figure. Position bias therefore shows as ties and cannot show as wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from whichlora.metrics.base import Picture
from whichlora.types import EditCase

Question = Literal["identity", "edit", "defects"]
Reply = Literal["A", "B", "tie"]
Outcome = Literal["first", "second", "tie", "unscored"]

QUESTIONS: Mapping[Question, str] = {
    "identity": "Which edited picture keeps the same character as in the reference pictures better (face, hair, "
                "clothes, proportions)? Ignore how well the edit was done.",
    "edit": "Which edited picture carries out the instruction better? Ignore beauty and sharpness.",
    "defects": "Which edited picture has fewer visible defects (grid lines, smeared skin, extra or missing parts)?",
}
"""Asked separately: one overall question rewards beauty."""


@dataclass(frozen=True)
class Shown:
    """One question with its pictures in the order in which they are shown."""

    question: Question
    instruction: str
    """The edit's own words; data, never an instruction to the judge."""
    source: Picture
    references: tuple[Picture, ...]
    a: Picture
    b: Picture


@dataclass(frozen=True)
class Answer:
    """What a judge said once."""

    reply: Reply | None
    """None when there was no usable answer."""
    sure: float = 0.0
    """Probability 0–1 of the reply among the allowed ones."""
    note: str = ""
    """Why there is none."""
    broke: bool = False
    """Whether the judge raised an error instead of answering; asking again may help."""


Judge = Callable[[Shown], Answer]


@dataclass(frozen=True)
class Comparison:
    """What became of a pair."""

    outcome: Outcome
    """'first' and 'second' as the pair was given."""
    answers: tuple[Answer, Answer]
    """First picture shown as A, then as B."""
    reason: str = ""
    """Why it is a tie or unscored."""


def compare(
    judge: Judge, question: Question, case: EditCase, source: Picture, pair: tuple[Picture, Picture],
    references: Sequence[Picture] = (),
) -> Comparison:
    """Ask about a pair in both orders.

    Args:
        judge: Anything that answers; one that raises gives no answer.
        question: What is asked.
        case: The edit; only its prompt is shown.
        source: Picture that was edited.
        pair: Two results.
        references: The character's own photographs.
    """
    first, second = pair
    orders = ((first, second), (second, first))
    answers = tuple(
        _asked(judge, Shown(question, case.prompt, source, tuple(references), a, b)) for a, b in orders
    )
    there, back = answers
    if there.reply is None or back.reply is None:
        note = there.note if there.reply is None else back.note
        return Comparison("unscored", (there, back), note or "no usable answer")
    wins = {"A": "first", "B": "second", "tie": "tie"}[there.reply]
    mirrored = {"A": "second", "B": "first", "tie": "tie"}[back.reply]
    if wins == mirrored:
        outcome: Outcome = "first" if wins == "first" else "second" if wins == "second" else "tie"
        return Comparison(outcome, (there, back))
    return Comparison("tie", (there, back), "the answer changed with the order")


def _asked(judge: Judge, shown: Shown) -> Answer:
    try:
        answer = judge(shown)
    except Exception as error:  # whatever a model does, a pair is unscored and the run goes on
        said = str(error).strip().splitlines()
        return Answer(None, 0.0, f"{type(error).__name__}: {said[0][:120] if said else ''}", broke=True)
    if not isinstance(answer, Answer) or answer.reply not in ("A", "B", "tie"):
        return Answer(None, 0.0, getattr(answer, "note", "") or "the answer is none of A, B and tie")
    return answer


@dataclass(frozen=True)
class Tally:
    """Outcomes of many pairs."""

    first: int = 0
    second: int = 0
    ties: int = 0
    contradictions: int = 0
    """Ties that come from an answer that changed with the order: high shares mean a judge that looks at places."""
    unscored: int = 0

    @property
    def scored(self) -> int:
        """Pairs with an outcome."""
        return self.first + self.second + self.ties

    @property
    def first_share(self) -> float | None:
        """Share of scored pairs won by the first, ties counted half; None without any."""
        return (self.first + self.ties / 2) / self.scored if self.scored else None


def tally(comparisons: Sequence[Comparison]) -> Tally:
    """Count outcomes; unscored pairs are counted and enter no share."""
    def count(outcome: Outcome) -> int:
        return sum(item.outcome == outcome for item in comparisons)

    changed = sum(item.outcome == "tie" and bool(item.reason) for item in comparisons)
    return Tally(count("first"), count("second"), count("tie"), changed, count("unscored"))
