"""`whichlora evaluate PROJECT`: the whole chain without waiting for a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded
from whichlora.quoting import quoted

if TYPE_CHECKING:
    from whichlora.cli._budget import Wish
    from whichlora.cli.project import Project
    from whichlora.cli.stages import Outcome
    from whichlora.store import Store
    from whichlora.types import Plan


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="The project folder.")],
    device: Annotated[str, typer.Option("--device", help="auto, cuda, mps or cpu.")] = "auto",
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Also write Markdown, such as docs/qwen-ecosystem-results.md.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
    fail_under: Annotated[
        float | None, typer.Option("--fail-under", help="Exit 1 when the best rate is below this (0–1).", min=0, max=1)
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", help="Create the project first, from a ready suite: character-2509.")
    ] = None,
    refs: Annotated[list[Path] | None, typer.Option("--refs", help="With --preset: the photographs.")] = None,
    budget: Annotated[str, typer.Option("--budget", help="GPU time, such as 3h or 90m; screens.")] = "",
    full: Annotated[bool, typer.Option("--full", help="The whole suite, nobody screened out.")] = False,
    score_beside: Annotated[
        bool | None, typer.Option("--score-beside/--no-score-beside",
                                  help="Score pictures while others are made; left out: where a GPU makes them.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Run, score, decide and report."""
    from whichlora.cli._budget import Wish, one_wish
    from whichlora.cli._floor import is_below
    from whichlora.cli._repeat import repetition, require_material
    from whichlora.cli._writing import refuse_if_busy
    from whichlora.cli.project import choose_device, open_project

    one_wish(budget, full)
    if preset is not None:
        _create(folder, preset, refs or [])
    refuse_if_busy(folder)
    bundle = require_material(folder)
    project = open_project(folder)
    outcome = chain(project, choose_device(device), markdown=markdown, command=f"whichlora evaluate {quoted(folder)}",
                    show_live=open_page, wish=Wish(budget, full), beside=score_beside)
    repeated = repetition(folder, bundle, outcome.plan) if bundle is not None else None
    finish(outcome, "whichlora.evaluate/1", json=json, open_page=open_page,
           extra={"repetition": repeated.document} if repeated is not None else {})
    if repeated is not None and not json:
        answer_console.print(repeated.sentence, markup=False)
    if is_below(outcome.findings, fail_under):
        raise SystemExit(1)


def _create(folder: Path, preset: str, refs: list[Path]) -> None:
    """Create the project of a preset; one that exists with that very suite is gone on with.

    Raises:
        UserError: The folder is another project, or photographs are missing.
    """
    from whichlora.cli.init import create_project, edited_at_first, gather
    from whichlora.errors import UserError
    from whichlora.suite.loading import load_suite, parse_suite
    from whichlora.suite.photos import examine_photos
    from whichlora.suite.templating import render_preset
    from whichlora.workspace import SUITE_NAME

    if (folder / SUITE_NAME).is_file():
        there = load_suite(folder / SUITE_NAME)
        wanted = parse_suite(render_preset(preset, name="x", subject="auto", sources={}))
        if (there.edits, there.samplers, there.candidates) != (wanted.edits, wanted.samplers, wanted.candidates):
            raise UserError(f"'{folder}' is a project with a suite of its own, not the preset '{preset}'.",
                            fix="Leave out --preset, or name another folder.")
        return
    if not refs:
        raise UserError("A preset needs photographs of the character.", fix="Name them: --refs PHOTOS…")
    paths = gather(refs)
    examined = examine_photos(paths, kind="auto")
    create_project(folder, paths, [], template="", preset=preset, head={
        "name": folder.resolve().name or "project", "subject": examined.kind,
        "sources": {"count": edited_at_first(examined.facts)},
    })


def chain(
    project: Project, device: str, *, markdown: Path | None, command: str, show_live: bool = False,
    after_score: Callable[[Store, Plan], None] | None = None, wish: Wish | None = None, beside: bool | None = None,
) -> Outcome:
    """All stages over an opened project.

    Args:
        project: The project.
        device: As chosen by `choose_device`.
        markdown: Where Markdown goes, if it is wanted.
        command: What repeats the run.
        show_live: Open the live page in the browser.
        after_score: Called with (store, plan); may append further scores.
        wish: What the user said about time.
        beside: Score while pictures are made; None: where a GPU makes them.
    """
    from whichlora.cli._writing import writing
    from whichlora.cli.live import LivePage
    from whichlora.cli.stages import Outcome, cell_counts, conclude, generate, publish, score
    from whichlora.cli.wishes import analysis_settings

    with writing(project.workspace, create=True) as store:
        page = LivePage(project.workspace.folder, store, show=show_live)
        plan = generate(project, store, device=device, page=page, wish=wish, beside=beside)
        score(project, store, plan)
        if after_score is not None:
            after_score(store, plan)
        findings = conclude(store, plan, command, settings=analysis_settings(project.suite))
        index = publish(project, store, plan, findings, markdown=markdown)
        return Outcome(plan, findings, index, markdown, cell_counts(store, plan))


def finish(
    outcome: Outcome, schema: str, *, json: bool, open_page: bool, extra: Mapping[str, Any] | None = None
) -> None:
    """Print the outcome for a person or a script, and open the report when asked; `extra` joins the JSON document."""
    from whichlora.cli.stages import verdict_document
    from whichlora.report.terminal import render_terminal

    if json:
        emit_json(schema, {**verdict_document(outcome.findings, outcome.cells, outcome.report), **(extra or {})})
    else:
        answer_console.print(render_terminal(outcome.findings))
        answer_console.print(f"Report: {outcome.report}", markup=False)
        if outcome.markdown:
            answer_console.print(f"Markdown: {outcome.markdown}", markup=False)
    if open_page:
        import webbrowser

        webbrowser.open(outcome.report.resolve().as_uri())
