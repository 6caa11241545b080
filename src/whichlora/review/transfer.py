"""Votes as a CSV table and back, so that people on other machines can vote too. Importing a file twice is safe."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whichlora.errors import UserError
from whichlora.review.votes import Extremes, PairVote, Rating, Vote, from_row, to_row
from whichlora.store import VoteRow
from whichlora.types import Plan

COLUMNS: tuple[str, ...] = (
    "id", "rater", "at", "kind", "question", "answer", "left_candidate", "right_candidate", "left_cell", "right_cell",
    "why", "chance", "repeats", "seconds", "candidate", "cell", "identity", "edit", "marks", "note", "drawn",
    "cells", "best", "worst", "case", "seed", "undoes",
)
"""Candidate, case and seed are for readers; ids of cells are what is read back."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


def write_csv(plan: Plan, votes: Sequence[Vote]) -> str:
    """All votes, those taken back included, oldest first."""
    cells = {cell.id: cell for cell in plan.cells}
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    for vote in votes:
        row = to_row(vote)
        fields: dict[str, Any] = {"id": row.id, "rater": row.rater, "at": row.at, "kind": row.kind, **row.body}
        told: dict[str, Any] = {}
        shown = ""
        if isinstance(vote, PairVote):
            fields["left_cell"], fields["right_cell"] = fields.pop("left"), fields.pop("right")
            shown = vote.left
            sides = (("left", vote.left), ("right", vote.right))
            told = {f"{side}_candidate": cells[cell].candidate for side, cell in sides if cell in cells}
        elif isinstance(vote, Rating):
            shown = vote.cell
            told = {"candidate": cells[shown].candidate} if shown in cells else {}
            fields["marks"] = " ".join(f"{x:.5f},{y:.5f}" for x, y in vote.marks)
            fields["drawn"] = int(vote.drawn)
        elif isinstance(vote, Extremes):
            fields["cells"] = " ".join(vote.cells)
            shown = vote.cells[0] if vote.cells else ""
        if shown in cells:
            told |= {"case": cells[shown].case, "seed": cells[shown].seed}
        writer.writerow({name: _guarded(value) for name, value in (fields | told).items()})
    return out.getvalue()


def _guarded(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front."""
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


@dataclass(frozen=True)
class Brought:
    """What a table held."""

    rows: tuple[VoteRow, ...]
    """Votes that this project does not have yet."""
    known: int
    """Votes that it has already."""


def read_csv(text: str, plan: Plan, present: Sequence[VoteRow]) -> Brought:
    """Read a table written by `write_csv`; all of it is checked before anything is returned.

    Args:
        text: The table.
        plan: This project's plan; votes on other pictures refuse the table.
        present: Votes that the project has.

    Raises:
        UserError: Names the line and what is wrong with it.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    missing = {"id", "rater", "at", "kind"} - set(reader.fieldnames or ())
    if missing:
        raise UserError(f"This is no table of votes: it has no column '{sorted(missing)[0]}'.",
                        fix="Bring a file written by: whichlora review PROJECT --export votes.csv")
    cells = {cell.id for cell in plan.cells}
    have = {row.id: row for row in present}
    fresh: dict[str, VoteRow] = {}
    known = 0
    for line in reader:
        number = reader.line_num
        try:
            vote = from_row(_row(line))
        except (UserError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"Line {number} of the table holds no vote: {_words(error)}") from None
        if vote is None:
            raise UserError(f"Line {number}: '{str(line.get('kind'))[:40]}' is a kind of vote that is not known here.",
                            fix="Upgrade with: pip install -U whichlora")
        _check_cells(vote, cells, number)
        row = to_row(vote)
        other = have.get(row.id) or fresh.get(row.id)
        if other is None:
            fresh[row.id] = row
        elif other != row:
            raise UserError(f"Line {number}: the vote '{row.id[:40]}' is here already with another content.",
                            fix="The table was edited; bring the one that was exported.")
        else:
            known += 1
    return Brought(tuple(fresh.values()), known)


def _words(error: Exception) -> str:
    return error.message if isinstance(error, UserError) else f"{type(error).__name__}: {str(error)[:120]}."


def _check_cells(vote: Vote, cells: set[str], number: int) -> None:
    if isinstance(vote, PairVote):
        used = [vote.left, vote.right]
    elif isinstance(vote, Rating):
        used = [vote.cell]
    else:
        used = list(vote.cells) if isinstance(vote, Extremes) else []
    strangers = [cell for cell in used if cell not in cells]
    if strangers:
        raise UserError(f"Line {number} judges the picture '{strangers[0][:40]}', which this project does not plan.",
                        fix="Votes can be brought from a copy of this project only; nothing was imported.")


def _row(line: dict[str, Any]) -> VoteRow:
    """One line of the table as a stored row."""
    text = {name: _bare(value) for name, value in line.items() if isinstance(name, str) and isinstance(value, str)}
    kind = text["kind"]
    body: dict[str, Any]
    if not 8 <= len(text["id"]) <= 64 or len(text["at"]) > 40:
        raise ValueError("id or time is not what was written")
    if kind == "pair":
        body = {"question": text["question"], "left": text["left_cell"], "right": text["right_cell"],
                "answer": text["answer"], "why": text["why"], "chance": float(text["chance"]),
                "repeats": text["repeats"], "seconds": float(text["seconds"])}
    elif kind == "rating":
        marks = [tuple(float(part) for part in mark.split(",")) for mark in text["marks"].split()]
        body = {"cell": text["cell"], "marks": marks, "note": text["note"], "drawn": text["drawn"] == "1",
                **{name: int(text[name]) if text[name] else None for name in ("identity", "edit")}}
    elif kind == "extremes":
        body = {"cells": text["cells"].split(), "best": text["best"], "worst": text["worst"]}
    else:
        body = {"undoes": text["undoes"]} if kind == "undo" else {}
    return VoteRow(text["id"], text["rater"], text["at"], kind, body)


def _bare(value: str) -> str:
    return value[1:] if value.startswith("'") else value


