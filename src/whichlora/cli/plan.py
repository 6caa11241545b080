"""`whichlora plan PROJECT`: the matrix, its price, and what it can show, before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="The project folder.")],
    device: Annotated[str, typer.Option("--device", help="auto, cuda, mps or cpu.")] = "auto",
    seconds_per_image: Annotated[
        float | None, typer.Option("--seconds", help="Seconds a picture takes here, when you know them.", min=0.001)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Say what would be compared, what it costs, and what it can show."""
    from whichlora.cli.project import choose_device, open_project

    document = describe(open_project(folder), choose_device(device), seconds_per_image)
    if json:
        emit_json("whichlora.plan/1", document)
        return
    shape = " × ".join((
        f"{document['candidates']} rows", f"{document['photos']} photographs", f"{document['edits']} edits",
        f"{document['seeds']} seeds",
    ))
    answer_console.print(f"{shape} = [bold]{document['cells']} pictures[/], {document['controls']} of them controls "
                         "that cost nothing.")
    if document["gpu_hours"] is not None:
        answer_console.print(f"Price: about [bold]{document['gpu_hours']:.1f} hours[/] ({document['price_basis']}).")
    else:
        answer_console.print(f"Price: unknown ({document['price_basis']}).")
    answer_console.print(document["advice"])
    for row in document["refused"]:
        answer_console.print(f"Refused: {row['name']}: {row['reason']}")
    for note in document["notes"]:
        answer_console.print(f"  • {note}")


def describe(project: Any, device: str, seconds_per_image: float | None = None) -> dict[str, Any]:
    """The plan of a project in figures, without loading any weights."""
    from whichlora.cli.project import draft_rows, identify_base, library_versions, make_plan
    from whichlora.plan.price import measured_seconds, power_sentence

    family, base = identify_base(project, device)
    rows, refused = draft_rows(project, family, base)
    plan = make_plan(project, base, rows, refused, library_versions(base.family))
    roles = {candidate.name: candidate.role for candidate in plan.candidates}
    paid = [cell for cell in plan.cells if roles[cell.candidate] != "control"]
    basis = "as you said"
    if seconds_per_image is None:
        seconds_per_image, basis = measured_seconds(project.workspace.folder, plan)
    detectable, advice = power_sentence(plan)
    return {
        "candidates": sum(1 for role in roles.values() if role != "control"), "photos": len(plan.sources),
        "edits": len(project.suite.edits), "seeds": len(project.suite.seeds), "cells": len(plan.cells),
        "controls": len(plan.cells) - len(paid),
        "gpu_hours": None if seconds_per_image is None else seconds_per_image * len(paid) / 3600,
        "price_basis": basis, "detectable_points": detectable, "advice": advice,
        "refused": [dict(row) for row in plan.refused], "notes": list(plan.notes),
    }
