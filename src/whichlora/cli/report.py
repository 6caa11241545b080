"""`whichlora report PROJECT`: decide from stored scores and write the report. Needs no GPU and no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whichlora.cli.output import guarded, progress_console
from whichlora.quoting import quoted

if TYPE_CHECKING:
    from whichlora.cli.project import Project
    from whichlora.types import Plan


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="The project folder.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the HTML report.")] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Also write Markdown, such as docs/qwen-ecosystem-results.md.")
    ] = None,
    target: Annotated[
        float | None, typer.Option("--target", help="Rate that is good enough, instead of the suite's.", min=0, max=1)
    ] = None,
    must_have: Annotated[
        list[str] | None, typer.Option("--must-have", help="Capabilities you need, instead of the suite's.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="Folder of an earlier project: say what changed, pair by pair.")
    ] = None,
    threshold: Annotated[
        list[str] | None, typer.Option("--threshold", help="Rate that one capability needs, such as identity=0.9.")
    ] = None,
    weight: Annotated[
        list[str] | None, typer.Option("--weight", help="Weight of a must-have in the choice, such as camera=2.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option("--max-seconds", help="Longest acceptable seconds per picture.", min=0)
    ] = None,
    max_vram: Annotated[
        float | None, typer.Option("--max-vram", help="Largest acceptable peak memory in GiB.", min=0)
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="A metric that shall inform but not decide.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Write the report of a project."""
    from whichlora.cli.evaluate import finish
    from whichlora.cli.project import open_project
    from whichlora.cli.stages import Outcome, cell_counts, conclude, publish, stored_plan, with_wishes
    from whichlora.cli.wishes import analysis_settings
    from whichlora.store import Store

    project = open_project(folder)
    with Store(project.workspace.folder) as store:
        stored = stored_plan(store)
        _warn_of_changes(project, stored)
        plan = with_wishes(stored, target, must_have)
        settings = analysis_settings(project.suite, thresholds=threshold or (), weights=weight or (),
                                     max_seconds=max_seconds, max_vram=max_vram)
        findings = conclude(store, plan, f"whichlora evaluate {quoted(folder)}", settings=settings,
                            without=tuple(without or ()), against=against)
        index = publish(project, store, plan, findings, markdown=markdown, folder=output)
        outcome = Outcome(plan, findings, index, markdown, cell_counts(store, plan))
    finish(outcome, "whichlora.report/1", json=json, open_page=open_page)


def _warn_of_changes(project: Project, plan: Plan) -> None:
    """Say when the suite asks for something else than what was run: the report is about what was run."""
    suite = project.suite
    planned = {row.name for row in plan.candidates if row.role == "candidate"} | {row["name"] for row in plan.refused}
    changed = [
        name for name, now, then in (
            ("candidates", {row.name for row in suite.candidates}, planned),
            # An edit that every photograph already satisfies has no case, so only lost or reworded ones count.
            ("edits", set(), {(case.edit, case.prompt) for case in plan.cases if not case.edit.startswith("own-")}
             - {(edit.name, edit.prompt) for edit in suite.edits}),
            ("target", suite.target, plan.target), ("must_have", tuple(suite.must_have), plan.must_have),
        ) if now != then
    ]
    if changed:
        progress_console.print("[yellow]note[/]", end=" ")
        progress_console.print(f"The suite's {', '.join(changed)} changed since the last run; this report is about "
                               "what was run. To take the change in: whichlora run "
                               f"{quoted(project.workspace.folder)}", markup=False)
