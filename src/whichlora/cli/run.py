"""`whichlora run PROJECT`: make the pictures that are missing. Ctrl-C and kill lose at most the one in hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whichlora.cli.output import answer_console, emit_json, guarded


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="The project folder.")],
    device: Annotated[str, typer.Option("--device", help="auto, cuda, mps or cpu.")] = "auto",
    open_page: Annotated[bool, typer.Option("--open", help="Open the live page in the browser.")] = False,
    available: Annotated[
        bool, typer.Option("--available", help="Begin with the LoRAs that are there; run again for the rest.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be made, and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Make the pictures of a project."""
    from whichlora.cli.live import LivePage
    from whichlora.cli.plan import describe
    from whichlora.cli.project import choose_device, open_project
    from whichlora.cli.stages import cell_counts, generate
    from whichlora.store import Store

    project = open_project(folder)
    if dry_run:
        document = describe(project, choose_device(device))
        if json:
            emit_json("whichlora.plan/1", document)
        else:
            answer_console.print(f"{document['cells']} pictures would be made; {document['advice']}")
        return
    with project.workspace.owned(), Store(project.workspace.folder, create=True) as store:
        page = LivePage(project.workspace.folder, store, show=open_page)
        plan = generate(project, store, device=choose_device(device), page=page, available=available)
        counts = cell_counts(store, plan)
    if json:
        emit_json("whichlora.run/1", {"cells": counts, "refused": [dict(row) for row in plan.refused]})
    else:
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        answer_console.print(f"{counts['done']} of {counts['planned']} pictures are there{failed}. "
                             f"Next: whichlora score {folder}")
    if counts["done"] == 0:
        raise SystemExit(1)
