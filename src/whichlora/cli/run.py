"""`whichlora run PROJECT`: make the pictures that are missing. Ctrl-C and kill lose at most the one in hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded
from whichlora.quoting import quoted

if TYPE_CHECKING:
    from whichlora.store import Store
    from whichlora.types import Plan


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="The project folder.")],
    device: Annotated[str, typer.Option("--device", help="auto, cuda, mps or cpu.")] = "auto",
    open_page: Annotated[bool, typer.Option("--open", help="Open the live page in the browser.")] = False,
    available: Annotated[
        bool, typer.Option("--available", help="Begin with the LoRAs that are there; run again for the rest.")
    ] = False,
    budget: Annotated[
        str, typer.Option("--budget", help="GPU time, such as 3h or 90m; screens. Later runs keep to the plan.")
    ] = "",
    full: Annotated[bool, typer.Option("--full", help="The whole suite, nobody screened out.")] = False,
    cheap_first: Annotated[
        bool, typer.Option("--cheap-first", help="Let a cheaper sampler propose who leaves early, if it ranks alike.")
    ] = False,
    seconds_per_image: Annotated[
        float | None, typer.Option("--seconds", help="Seconds a picture takes here, when you know them.", min=0.001)
    ] = None,
    executor: Annotated[
        str, typer.Option("--executor", help="local: processes here, one per GPU. ray: a Ray cluster. slurm: a job.")
    ] = "local",
    workers: Annotated[int | None, typer.Option("--workers", help="Workers; left out: one per visible GPU.")] = None,
    ray_address: Annotated[str, typer.Option("--ray-address", help="Address of a running Ray cluster.")] = "",
    slurm: Annotated[
        list[str] | None, typer.Option("--slurm", help="KEY=VALUE for the job, such as slurm_partition=gpu. Repeat.")
    ] = None,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="No worker processes: for debugging; a crash ends the run.")
    ] = False,
    score_beside: Annotated[
        bool | None, typer.Option("--score-beside/--no-score-beside",
                                  help="Score pictures while others are made; left out: where a GPU makes them.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be made, and stop.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Make the pictures of a project."""
    from whichlora.cli._writing import refuse_if_busy, writing

    if not dry_run:
        refuse_if_busy(folder)  # before anything slow is imported or looked at
    from whichlora.cli._budget import Wish, one_wish
    from whichlora.cli._hiring import choose_hiring, submit
    from whichlora.cli.live import LivePage
    from whichlora.cli.plan import describe
    from whichlora.cli.project import choose_device, open_project
    from whichlora.cli.stages import generate

    one_wish(budget, full)
    wish = Wish(budget, full, seconds_per_image, cheap_first)
    project = open_project(folder)
    if dry_run:
        _tell_plan(describe(project, choose_device(device), wish), json=json)
        return
    if executor == "slurm":
        if budget or full:
            describe(project, choose_device(device), wish, keep=True)  # the job keeps to what is stored
        words = [*(["--available"] if available else []), *(["--cheap-first"] if cheap_first else []),
                 *(["--seconds", str(seconds_per_image)] if seconds_per_image is not None else []),
                 *(["--workers", str(workers)] if workers is not None else []),
                 *(["--score-beside" if score_beside else "--no-score-beside"] if score_beside is not None else [])]
        submit(folder, ["--device", device, *words], slurm or [], json=json)
        return
    hiring = choose_hiring(executor, workers, ray_address, in_process=in_process)
    with writing(project.workspace, create=True) as store:
        page = LivePage(project.workspace.folder, store, show=open_page)
        plan = generate(project, store, device=choose_device(device), page=page, available=available,
                        hiring=hiring, wish=wish, beside=score_beside)
        done = _tell_outcome(folder, store, plan, json=json)
    if done == 0:
        raise SystemExit(1)


def _tell_plan(document: dict[str, Any], *, json: bool) -> None:
    """Say what would be made."""
    if json:
        emit_json("whichlora.plan/1", document)
    else:
        planned = document["made"] + document["controls"]
        missing = planned - document["already_there"]
        if document["screening"] and document["already_there"]:
            # How many of those that are there belong to rows that screening will drop is not known before it.
            what = f"At most {planned} pictures would be made; {document['already_there']} of the full matrix are there"
        elif document["already_there"]:
            what = f"{missing} of {planned} pictures are missing and would be made"
        else:
            what = f"{document['made']} pictures would be made, and {document['controls']} controls"
        answer_console.print(f"{what}. {document['choice']} {document['advice']}", markup=False)


def _tell_outcome(folder: Path, store: Store, plan: Plan, *, json: bool) -> int:
    """Say what is there now; returns how many pictures that is."""
    from whichlora.cli.stages import cell_counts
    from whichlora.plan.screening import DOCUMENT, screening_from_json, screening_to_json

    counts = cell_counts(store, plan)
    screening = screening_from_json(store.document(DOCUMENT))
    if json:
        emit_json("whichlora.run/1", {
            "cells": counts, "refused": [dict(row) for row in plan.refused],
            "screening": screening_to_json(screening) if screening.planned else None,
        })
    else:
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        saved = f"; {screening.saved} were not needed, as screening dropped {len(screening.out)} candidates"
        step = "score" if _unscored(store, plan) else "report"
        answer_console.print(f"{counts['done']} of {counts['planned']} pictures are there{failed}"
                             f"{saved if screening.out else ''}. Next: whichlora {step} {quoted(folder)}", markup=False)
    return counts["done"]


def _unscored(store: Store, plan: Plan) -> bool:
    """Whether any finished picture lacks a score."""
    from whichlora.metrics.stage import lacking, scoring_context

    return bool(lacking(plan, store, scoring_context(plan)))
