"""`whichlora plan PROJECT`: the matrix, its price, and what it can show, before anything is spent."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded

if TYPE_CHECKING:
    from whichlora.cli._budget import Wish


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="The project folder.")],
    budget: Annotated[
        str, typer.Option("--budget", help="GPU time, such as 3h, 90m or '40 GPU-min'; 'run' then keeps to this plan.")
    ] = "",
    full: Annotated[
        bool, typer.Option("--full", help="The whole suite, whatever it takes; 'run' then keeps to this plan.")
    ] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cuda, mps or cpu.")] = "auto",
    seconds_per_image: Annotated[
        float | None, typer.Option("--seconds", help="Seconds a picture takes here, when you know them.", min=0.001)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Say what would be compared, what it costs, and what it can show."""
    from whichlora.cli._budget import Wish, one_wish
    from whichlora.cli.project import choose_device, open_project

    one_wish(budget, full)
    document = describe(open_project(folder), choose_device(device), Wish(budget, full, seconds_per_image), keep=True)
    if json:
        emit_json("whichlora.plan/1", document)
        return
    shape = " × ".join((
        f"{document['candidates']} rows", f"{document['photos']} photographs", f"{document['edits']} edits",
        f"{document['seeds']} seeds",
    ))
    answer_console.print(f"{shape} = [bold]{document['cells']} pictures[/], {document['controls']} of them controls "
                         "that cost nothing.")
    for line in (document["choice"], *document["why"]):
        answer_console.print(_plain(line))
    if document["gpu_hours"] is not None:
        answer_console.print(f"Price: about [bold]{document['gpu_time']}[/] of GPU time "
                             f"({_plain(document['price_basis'])}).")
    else:
        answer_console.print(f"Price: unknown ({_plain(document['price_basis'])}).")
    answer_console.print(_plain(document["advice"]))
    for row in document["refused"]:
        answer_console.print(f"Refused: {row['name']}: {row['reason']}", markup=False)
    for note in document["notes"]:
        answer_console.print(f"  • {note}", markup=False)
    answer_console.print(_choices(document["questions"]))


def _choices(questions: list[dict[str, str]]) -> Any:
    """The open questions as a table: what is assumed, why, and what changes it."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Choices behind this plan", title_justify="left", title_style="bold", box=None,
                  padding=(0, 2, 1, 0), header_style="dim")
    for head, width in (("Question", 22), ("Answer used here", 28), ("Why", 26), ("To change it", 24)):
        table.add_column(head, ratio=width)
    for row in questions:
        table.add_row(*(escape(row[key]) for key in ("question", "default", "reason", "flag")))
    return table


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


def describe(project: Any, device: str, wish: Wish | None = None, *, keep: bool = False) -> dict[str, Any]:
    """The plan of a project in figures, without loading any weights.

    Args:
        project: The opened project.
        device: As chosen by `choose_device`.
        wish: What the user said about time.
        keep: Store what was chosen by an explicit wish, so that a run keeps to it.
    """
    from whichlora.analysis.ledger import Ledger
    from whichlora.analysis.questions import questions, twins
    from whichlora.analysis.settings import Settings
    from whichlora.cli._budget import Wish, keep_design, settle
    from whichlora.cli.project import draft_rows, identify_base, library_versions, make_plan
    from whichlora.cli.wishes import analysis_settings
    from whichlora.plan.budget import as_time
    from whichlora.plan.price import power_sentence

    wish = wish or Wish()
    family, base = identify_base(project, device)
    rows, refused = draft_rows(project, family, base)
    settled = settle(project, base, rows, device, wish)
    if keep and (wish.budget or wish.full):
        keep_design(project, settled.design)
    design, suite = settled.design, settled.project.suite
    plan = make_plan(settled.project, base, rows, refused, library_versions(base.family))
    roles = {candidate.name: candidate.role for candidate in plan.candidates}
    paid = sum(roles[cell.candidate] != "control" for cell in plan.cells)
    compared = sum(role == "candidate" for role in roles.values())
    edits = [edit.family for edit in suite.edits]
    steps = len(plan.sources) * len(edits) * len(suite.seeds)
    detectable, advice = power_sentence(len(plan.sources), edits, len(suite.seeds), compared,
                                        design.rounds_for(compared, steps))
    hours = None if design.seconds is None else design.seconds / 3600
    return {
        "candidates": sum(role != "control" for role in roles.values()), "photos": len(plan.sources),
        "edits": len(suite.edits), "seeds": len(suite.seeds), "cells": len(plan.cells),
        "controls": len(plan.cells) - paid, "made": design.cells if design.screened else paid,
        "gpu_hours": hours, "gpu_time": None if design.seconds is None else as_time(design.seconds),
        "price_basis": design.basis, "detectable_points": detectable, "advice": advice,
        "choice": settled.remark, "why": list(design.why),
        "screening": [asdict(stage) for stage in design.rounds],
        "refused": [dict(row) for row in plan.refused], "notes": [*plan.notes, *twins(plan)],
        "questions": [dict(row) for row in questions(plan, Ledger(), Settings.of(analysis_settings(suite)))],
    }
