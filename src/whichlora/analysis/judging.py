"""What a judge preferred, how far it can be relied on, and whether metrics and people say the same. Decides nothing.

Does: count, estimate, compare and word. Does not: ask anybody, or feed any rate, gate or recommendation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from whichlora.analysis.ledger import Ledger
from whichlora.stats.rates import clustered_rate

Outcome = Literal["first", "second", "tie", "unscored"]
WORDS = {"identity": "keeping the character", "edit": "carrying out the edit", "defects": "having fewer defects"}
GATE = {"identity": "identity", "edit": "edit", "defects": "artefact"}
"""Question → the condition of the consistency rate that it is compared with."""
MOST_CHANGED = 0.5
"""Share of answered pairs whose answer changed with the order from which on a judge looks at places, not pictures."""
LEAST_ANSWERED = 0.5
"""Share of pairs that must be answered for a preference to be worth reading."""
FEW = 20
"""Pairs on which metrics and judge both decide, below which their agreement is only counted."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One answered question about a candidate's picture and the base's."""

    question: str
    """'identity', 'edit' or 'defects'."""
    row: str
    """The candidate; its picture is the first."""
    photo: str
    """Source photograph: the independent unit."""
    cells: tuple[str, str]
    """Cell of the candidate, cell of the base."""
    outcome: Outcome
    changed: bool = False
    """Whether the answer changed with the order, which makes it a tie."""


def summarise(
    asked: Sequence[Asked], gates: Mapping[str, Mapping[str, bool | None]], people: Mapping[tuple[str, str, str], str],
    judge: str,
) -> dict[str, Any]:
    """Sum up a judge's answers as plain data with sentences.

    Args:
        asked: Answers.
        gates: Cell → condition → verdict of the metrics.
        people: (question, first cell, second cell) → 'first', 'second' or 'tie', in either order of the cells.
        judge: Name of the model, for the sentences.
    """
    ledger = Ledger()
    rows = [found for question in WORDS for found in _rows(asked, question)]
    scored = [item for item in asked if item.outcome != "unscored"]
    changed = sum(item.changed for item in asked)
    found: dict[str, Any] = {
        "judge": judge, "asked": len(asked), "answered": len(scored), "changed_with_order": changed,
        "reliable": _reliable(len(asked), len(scored), changed), "rows": rows,
        "metrics": [_against_metrics(asked, question, gates) for question in WORDS],
        "people": [_against_people(asked, question, people) for question in WORDS],
    }
    found["sentences"] = [_opening(found, ledger), *_agreements(found, ledger)]
    found["bound"] = {"figures": ledger.figures, "sentences": ledger.sentences}
    return found


def _reliable(asked: int, answered: int, changed: int) -> bool:
    return bool(answered) and answered >= LEAST_ANSWERED * asked and changed < MOST_CHANGED * answered


def _rows(asked: Sequence[Asked], question: str) -> list[dict[str, Any]]:
    """Per candidate: outcomes against the base, and the share preferred with its interval for new photographs."""
    found: list[dict[str, Any]] = []
    for name in dict.fromkeys(item.row for item in asked):
        mine = [item for item in asked if item.row == name and item.question == question]
        if not mine:
            continue
        counts = {kind: sum(item.outcome == kind for item in mine) for kind in ("first", "second", "tie", "unscored")}
        points: dict[str, list[float]] = {}
        for item in mine:
            if item.outcome != "unscored":
                points.setdefault(item.photo, []).append({"first": 1.0, "second": 0.0}.get(item.outcome, 0.5))
        row: dict[str, Any] = {
            "name": name, "question": question, "preferred": counts["first"], "base_preferred": counts["second"],
            "ties": counts["tie"], "unscored": counts["unscored"], "changed_with_order": sum(i.changed for i in mine),
            "value": None, "low": None, "high": None, "note": "no answer",
        }
        if points:
            rate = clustered_rate([sum(part) for part in points.values()], [len(part) for part in points.values()])
            row |= {"value": rate.value, "low": rate.low, "high": rate.high, "note": rate.note}
        found.append(row)
    return found


@dataclass(frozen=True, slots=True)
class Agreement:
    """On how many decided pairs somebody else prefers the same picture."""

    question: str
    same: int
    pairs: int
    """Pairs that both decided."""
    value: float | None = None
    """Share; None without pairs."""
    low: float | None = None
    high: float | None = None


def _agreement(question: str, hits: Sequence[tuple[str, bool]]) -> dict[str, Any]:
    """Agreement of (photograph, same) with an interval clustered by photograph."""
    same = sum(hit for _, hit in hits)
    if not hits:
        return asdict(Agreement(question, 0, 0))
    photos = list(dict.fromkeys(photo for photo, _ in hits))
    parts = [[hit for photo, hit in hits if photo == name] for name in photos]
    rate = clustered_rate([sum(part) for part in parts], [len(part) for part in parts])
    return asdict(Agreement(question, same, len(hits), rate.value, rate.low, rate.high))


def _decided(asked: Sequence[Asked], question: str) -> list[Asked]:
    return [item for item in asked if item.question == question and item.outcome in ("first", "second")]


def _against_metrics(
    asked: Sequence[Asked], question: str, gates: Mapping[str, Mapping[str, bool | None]]
) -> dict[str, Any]:
    """Pairs of which the metrics passed exactly one: does the judge prefer that one?"""
    hits: list[tuple[str, bool]] = []
    for item in _decided(asked, question):
        first, second = (gates.get(cell, {}).get(GATE[question]) for cell in item.cells)
        if first is not None and second is not None and first is not second:
            hits.append((item.photo, (item.outcome == "first") is first))
    return _agreement(question, hits)


def _against_people(
    asked: Sequence[Asked], question: str, people: Mapping[tuple[str, str, str], str]
) -> dict[str, Any]:
    """Pairs that people decided as well."""
    mirrored = {"first": "second", "second": "first"}
    hits: list[tuple[str, bool]] = []
    for item in _decided(asked, question):
        first, second = item.cells
        said = people.get((question, first, second)) or mirrored.get(people.get((question, second, first), ""))
        if said in mirrored:
            hits.append((item.photo, said == item.outcome))
    return _agreement(question, hits)


def _opening(found: Mapping[str, Any], ledger: Ledger) -> str:
    pairs = ledger.put("judge.asked", found["asked"], "count")
    text = f"{found['judge']} was asked {pairs} times, each time in both orders; it decides nothing here."
    if not found["answered"]:
        return ledger.say(f"{text} It never gave a usable answer.")
    answered = ledger.put("judge.answered", found["answered"] / max(1, found["asked"]), "percent")
    changed = ledger.put("judge.changed", found["changed_with_order"] / found["answered"], "percent")
    text += (f" It answered {answered} of the questions; {changed} of the answers changed with the order and count as "
             "ties.")
    if not found["reliable"]:
        text += " Its preferences are not worth reading."
    return ledger.say(text)


def _agreements(found: Mapping[str, Any], ledger: Ledger) -> list[str]:
    """How often metrics and people prefer what the judge prefers."""
    lines: list[str] = []
    for who, words in (("metrics", "exactly one of two pictures passed the metrics"),
                       ("people", "people decided as well")):
        for row in found[who]:
            if not row["pairs"]:
                continue
            key = f"judge.{who}.{row['question']}"
            same, pairs = (ledger.put(f"{key}.{name}", row[name], "count") for name in ("same", "pairs"))
            text = f"On {WORDS[row['question']]}, where {words}, the judge agreed in {same} of {pairs} pairs"
            if row["pairs"] >= FEW and row["low"] is not None:
                text += f" ({ledger.interval(key, row['low'], row['high'])}%)"
            lines.append(ledger.say(text + "."))
    return lines
