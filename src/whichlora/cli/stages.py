"""The chain of stages over a project, with progress on stderr: generate → score → conclude → publish.

Each stage reads earlier rows from the store and appends its own; running one again computes only what is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from whichlora.cli._budget import Wish, what_it_shows
from whichlora.cli._writing import look_for_room
from whichlora.cli.live import LivePage
from whichlora.cli.output import progress_console
from whichlora.cli.project import Project, draft_rows, identify_base, library_versions, make_plan
from whichlora.errors import ProjectError, UnknownNameError, UserError
from whichlora.findings import Findings, to_json
from whichlora.plan.codec import plan_from_json, plan_to_json
from whichlora.quoting import quoted
from whichlora.run.choose import Hiring
from whichlora.run.events import RunEvent
from whichlora.run.making import Maker
from whichlora.run.runner import RunSummary
from whichlora.store import Store
from whichlora.types import Plan

if TYPE_CHECKING:
    from whichlora.metrics.beside import BesideScorer


@dataclass(frozen=True)
class Outcome:
    """What a chain left behind."""

    plan: Plan
    findings: Findings
    report: Path
    """The page to open."""
    markdown: Path | None
    """The Markdown report, when asked for."""
    cells: dict[str, int]
    """'planned', 'done', 'failed'."""


def require_run_extra() -> None:
    """Say in one sentence when the packages that make pictures are not installed.

    Raises:
        UserError: torch, diffusers or transformers is missing.
    """
    missing = [name for name in ("torch", "diffusers", "transformers") if find_spec(name) is None]
    if missing:
        raise UserError(f"Making pictures needs {', '.join(missing)}, which is not installed.",
                        fix="Install it with: pip install 'whichlora[run]'")


def generate(
    project: Project, store: Store, *, device: str, page: LivePage | None = None, available: bool = False,
    hiring: Hiring | None = None, wish: Wish | None = None, beside: bool | None = None,
) -> Plan:
    """Admit candidates, store the plan and make what it asks for, all through workers; this process stays light.

    Args:
        project: The opened project.
        store: Its store, owned by this process.
        device: As chosen by `choose_device`.
        page: The live page, if one is wanted.
        available: Leave LoRAs out that are not there yet.
        hiring: Where pictures are made; workers of this machine when left out.
        wish: What the user said about time; see `_budget.settle`.
        beside: Score while pictures are made; None: where a GPU makes them.
    """
    from whichlora.cli._beside import scoring_beside
    from whichlora.cli._screened import cheap_of, measure, settle_here
    from whichlora.run.choose import open_maker
    from whichlora.run.executor import Setup

    family, base = identify_base(project, device)
    rows, refused = draft_rows(project, family, base, available=available)
    libraries = library_versions(base.family)
    setup = Setup(base, device, project.workspace.folder, libraries)
    with open_maker(setup, store, hiring, say=lambda text: progress_console.print(_plain(text))) as maker:
        with _status(f"loading {base.id} and checking every LoRA: does what is in the file reach the model, and does "
                     "it change anything?"):
            admitted, turned_away = maker.admit(rows)
        settled = settle_here(project, store, maker, base, admitted, wish)
        plan = make_plan(settled.project, base, admitted, [*refused, *turned_away], libraries)
        for row in plan.refused:
            progress_console.print(f"[yellow]refused[/] {_plain(row['name'])}: {_plain(row['reason'])}")
        if {cell.id for cell in plan.cells} - store.finished():
            detectable, advice = what_it_shows(plan, settled)
            progress_console.print(f"{'[yellow]note[/] ' if detectable is None else ''}{_plain(advice)}")
        look_for_room(plan, store)
        store.add_document("plan", plan_to_json(plan))
        rotten = store.forget_rotten()
        if rotten:
            progress_console.print(f"{len(rotten)} pictures on disk were damaged and will be made again.")
        with scoring_beside(project.workspace.folder, store, device, beside) as scorer:
            measure(plan, store, settled.design, lambda of, cells: make(maker, of, page, cells, scorer),
                    lambda of: score(project, store, of), page,
                    cheap_of(settled.project, admitted) if wish and wish.cheap else None)
    return plan


def make(
    maker: Maker, plan: Plan, page: LivePage | None = None, cells: Collection[str] | None = None,
    beside: BesideScorer | None = None,
) -> RunSummary:
    """Make cells of a plan (all when None) with a progress bar, and show them on the live page.

    With a scorer beside, every finished picture of the plan is scored when this returns, unless the scorer was lost.
    """
    if page:
        page.begin(plan)
    if beside:
        beside.begin(plan)
    with _bar() as advance:

        def step(event: RunEvent) -> None:
            label = {"encode": "encoding", "cell": "editing", "failure": "editing"}.get(event.kind, event.kind)
            advance(label, event.done, event.total, event.eta_s)
            if event.kind == "failure":
                progress_console.print(f"[yellow]failed[/] {_plain(event.candidate)} on {_plain(event.case)}: "
                                       f"{_plain(event.note)}")
            if page:
                page.watch(event)
            if beside:
                if event.kind == "cell":
                    beside.finished(event.cell)
                beside.collect()

        summary = maker.make(plan, cells, step)
        if beside:
            beside.settle(lambda done, total: advance("scoring", done, total, None))
    if page:
        page.finish()
    return summary


def score(project: Project, store: Store, plan: Plan) -> None:
    """Measure every finished picture that lacks a score."""
    from whichlora.metrics.stage import score_plan
    from whichlora.run.pictures import photograph_reader

    with _bar() as advance:
        score_plan(plan, store, photograph_reader(plan, project.workspace.folder),
                   lambda done, total: advance("scoring", done, total, None))


def conclude(
    store: Store, plan: Plan, command: str, *, settings: dict[str, Any] | None = None, without: tuple[str, ...] = (),
    against: Path | None = None,
) -> Findings:
    """Analyse the stored scores and store the findings.

    Args:
        store: The project's rows.
        plan: What was run, with the wishes of the moment.
        command: What repeats the run.
        settings: What the user set about the analysis (see `cli.wishes`).
        without: Metrics that may inform but not decide.
        against: Folder of an earlier project to compare with.

    Raises:
        UnknownNameError: A metric of `without` decided nothing here.
        UserError: A setting is not possible, or the earlier project's settings differ.
    """
    from whichlora import __version__
    from whichlora.analysis.stage import analyse_store
    from whichlora.cli.earlier import earlier_project, known_metrics
    from whichlora.metrics.stage import scoring_context
    from whichlora.review.stage import distrusted, summarise_store
    from whichlora.run.pace import waiting_share

    people = summarise_store(store, plan, context=scoring_context(plan))
    silent = {*distrusted(people), *known_metrics(store, plan, without)}
    earlier = earlier_project(against, store.folder, silent) if against is not None else None
    manifest: dict[str, Any] = {
        "command": command, "whichlora": __version__, "libraries": dict(plan.libraries), "base": plan.base.id,
        "base_fingerprint": plan.base.fingerprint, "options": dict(plan.base.options),
        "python": sys.version.split()[0], "notes": list(plan.notes),
        # Of the seconds between the first and the last picture of a job: how many the device had nothing to do.
        "device_waited": waiting_share(row.seconds for row in store.generations().values()),
        "adapters": {
            candidate.name: [f"{use.name} × {use.weight:g} (sha256 {use.sha256[:16]})" for use in candidate.adapters]
            for candidate in plan.candidates if candidate.adapters
        },
        "samplers": {
            candidate.sampler.name: f"{candidate.sampler.num_inference_steps} steps, "
            f"true_cfg_scale {candidate.sampler.true_cfg_scale:g}"
            for candidate in plan.candidates
        },
    }
    with _status("weighing the evidence"):
        return analyse_store(store, plan, context=scoring_context(plan), manifest=manifest, distrusted=silent,
                             settings=settings, earlier=earlier)


def publish(
    project: Project, store: Store, plan: Plan, findings: Findings, *, markdown: Path | None, folder: Path | None = None
) -> Path:
    """Write the report; returns the page to open."""
    from whichlora.metrics.stage import scoring_context
    from whichlora.report.html import write_report
    from whichlora.report.markdown import write_markdown
    from whichlora.report.stage import report_input

    material = report_input(store, plan, findings, project.workspace.folder, context=scoring_context(plan))
    with _status("writing the report"):
        paths = write_report(material, folder or project.workspace.report)
        if markdown is not None:
            write_markdown(material, markdown, paths)
    if paths.missing_pictures:
        count = len(paths.missing_pictures)
        progress_console.print(
            f"[yellow]note[/] {count} {'picture' if count == 1 else 'pictures'} could not be shown, the first: "
            f"{_plain(paths.missing_pictures[0])} Stored scores count all the same. To look closer: whichlora doctor "
            f"{quoted(project.workspace.folder)}"
        )
    return paths.index


def stored_plan(store: Store) -> Plan:
    """The newest plan.

    Raises:
        ProjectError: Nothing was run yet.
    """
    data = store.document("plan")
    if data is None:
        raise ProjectError(f"The project '{store.folder}' has no pictures yet.",
                           fix=f"Run: whichlora run {quoted(store.folder)}")
    return plan_from_json(data)


def with_wishes(plan: Plan, target: float | None, must_have: list[str] | None) -> Plan:
    """The plan with another target or other must-haves: pictures and scores stay what they are.

    Raises:
        UnknownNameError: A capability was not tested.
        UserError: The target is no rate strictly between 0 and 1.
    """
    tested = sorted({case.family for case in plan.cases})
    for name in must_have or ():
        if name not in tested:
            raise UnknownNameError("tested capability", name, tested)
    if target is not None and not 0 < target < 1:
        raise UserError(f"--target {target:g} is no rate.", fix="Use a number between 0 and 1, such as 0.7.")
    return replace(plan, target=plan.target if target is None else target,
                   must_have=tuple(dict.fromkeys(must_have)) if must_have else plan.must_have)


def cell_counts(store: Store, plan: Plan) -> dict[str, int]:
    """'planned', 'done' and 'failed' cells of a plan."""
    generations = store.generations()
    ids = {cell.id for cell in plan.cells}
    done = sum(1 for cell in ids if cell in generations and generations[cell].status == "done")
    failed = sum(1 for cell in ids if cell in generations and generations[cell].status == "failed")
    return {"planned": len(ids), "done": done, "failed": failed}


def verdict_document(findings: Findings, counts: dict[str, int], report: Path | None) -> dict[str, Any]:
    """The part of the JSON documents of demo, run, report and evaluate that scripts may rely on."""
    advice = findings.recommendation
    return {
        "verdict": {
            "decision": advice.decision, "provisional": advice.provisional, "candidate": advice.candidate,
            "firm": advice.firm, "sentence": advice.sentence,
        },
        "candidates": [
            {
                "name": row.name, "role": row.role,
                "ccr": {"value": row.ccr.value, "low": row.ccr.low, "high": row.ccr.high},
                "capabilities": {
                    name: {"state": fact.state, "value": fact.rate.value, "low": fact.rate.low, "high": fact.rate.high}
                    for name, fact in row.capabilities.items()
                },
                "seconds_per_image": row.seconds_per_image, "peak_memory_gib": row.peak_memory_gib,
            }
            for row in findings.candidates
        ],
        "refused": [dict(row) for row in findings.refused],
        "cells": counts,
        **({"against": to_json(findings.against)} if findings.against else {}),
        "report": str(report) if report else None,
    }


@contextmanager
def _status(text: str) -> Generator[None]:
    with progress_console.status(text):
        yield


@contextmanager
def _bar() -> Generator[Callable[[str, int, int, float | None], None]]:
    columns = (TextColumn("{task.description:<9}"), BarColumn(bar_width=None), MofNCompleteColumn(),
               TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    with Progress(*columns, console=progress_console, transient=False) as progress:
        tasks: dict[str, Any] = {}

        def advance(label: str, done: int, total: int, eta_s: float | None) -> None:
            if label not in tasks:
                tasks[label] = progress.add_task(label, total=total, left="")
            left = "" if eta_s is None else f"about {format_seconds(eta_s)} left"
            progress.update(tasks[label], completed=done, total=total, left=left if done < total else "")

        yield advance


def format_seconds(seconds: float) -> str:
    """'40 s', '12 min' or '3.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
