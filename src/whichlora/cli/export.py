"""`whichlora export PROJECT [dataset] [setup] [bundle]`: ways forward, each a new folder, there whole or not at all."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whichlora.findings import Findings
    from whichlora.store import Store
    from whichlora.types import Plan

_KINDS = ("dataset", "setup", "bundle")


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="The project folder.")],
    what: Annotated[
        list[str] | None,
        typer.Argument(help="dataset (to train on), setup (ComfyUI and diffusers), bundle (to repeat)."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="A new folder; PROJECT/export without it.", show_default=False)
    ] = None,
    candidate: Annotated[
        list[str] | None, typer.Option("--candidate", help="Set-ups by name; the recommended ones without it.")
    ] = None,
    layout: Annotated[
        list[str] | None, typer.Option("--layout", help="ai-toolkit, musubi, kohya, imagefolder; all without it.")
    ] = None,
    trigger: Annotated[
        str | None, typer.Option("--trigger", help="Word before every caption; the project's name without it.")
    ] = None,
    unreviewed: Annotated[
        bool, typer.Option("--unreviewed", help="Also pictures nobody judged, though people judged others.")
    ] = False,
    with_photos: Annotated[
        bool, typer.Option("--with-photos", help="Put the photographs into the bundle: their owner agrees.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written; write nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Export a project."""
    from whichlora.cli.stages import stored_plan
    from whichlora.errors import UnknownNameError
    from whichlora.export.folder import check_free, new_folder
    from whichlora.store import Store
    from whichlora.workspace import Workspace

    kinds = what or list(_KINDS)
    for kind in kinds:
        if kind not in _KINDS:
            raise UnknownNameError("export", kind, _KINDS)
    workspace = Workspace.open(folder)
    target = to or workspace.folder / "export"
    check_free(target)
    wishes = {"candidate": candidate or [], "layout": layout or [], "trigger": trigger, "unreviewed": unreviewed,
              "with_photos": with_photos, "optional": what is None}
    with Store(workspace.folder) as store:
        plan, findings = stored_plan(store), _findings(store)
        if dry_run:
            document = {kind: _plan_one(kind, plan, store, findings, wishes) for kind in kinds}
        else:
            with new_folder(target) as draft:
                document = {
                    kind: _write_one(kind, draft / kind, plan, store, findings, wishes) for kind in kinds
                }
    if json:
        emit_json("whichlora.export/1", {"dry_run": dry_run, "folder": str(target), **document})
        return
    for kind in kinds:
        for line in _lines(kind, document[kind]):
            answer_console.print(line, markup=False)
    if dry_run:
        answer_console.print("Nothing was written.")
        return
    for kind in kinds:
        if "skipped" not in document[kind]:
            answer_console.print(f"Written: {target / kind}", markup=False)
    answer_console.print("How to go on with each stands in its README.md.")


def _findings(store: Store) -> Findings | None:
    from whichlora.analysis.stage import stored_findings

    found = stored_findings(store)
    return found[1] if found else None


def _plan_one(kind: str, plan: Plan, store: Store, findings: Findings | None, wishes: dict[str, Any]) -> dict[str, Any]:
    """What would be written, or why nothing can be."""
    from whichlora.errors import WhichloraError
    from whichlora.export.chosen import leading

    try:
        if kind == "dataset":
            choice, selection = _selected(plan, store, findings, wishes)
            return {"pairs": len(selection.pairs), "left_out": dict(selection.left_out), "review": selection.review,
                    "set_ups": [row.name for row in choice.candidates]}
        if kind == "setup":
            advice = findings.recommendation if findings else None
            return {"set_ups": [row.name for row in leading(plan, advice, wishes["candidate"]).candidates]}
        return {"photos": wishes["with_photos"], "cells": len({cell.id for cell in plan.cells})}
    except WhichloraError as error:
        if not wishes["optional"]:
            raise
        return {"skipped": f"{error.message} {error.fix}".strip()}


def _write_one(
    kind: str, draft: Path, plan: Plan, store: Store, findings: Findings | None, wishes: dict[str, Any]
) -> dict[str, Any]:
    """Write one kind of export; what was not asked for by name may be skipped with its reason."""
    import shutil

    from whichlora.errors import RefusedError, UserError

    draft.mkdir()
    try:
        if kind == "dataset":
            return _dataset(draft, plan, store, findings, wishes)
        if kind == "setup":
            return _setup(draft, plan, store, findings, wishes)
        return _bundle(draft, plan, store, findings, wishes)
    except (RefusedError, UserError) as error:
        if not wishes["optional"]:
            raise
        shutil.rmtree(draft, ignore_errors=True)
        return {"skipped": f"{error.message} {error.fix}".strip()}


def _selected(plan: Plan, store: Store, findings: Findings | None, wishes: dict[str, Any]) -> tuple[Any, Any]:
    from whichlora.cli._verdicts import judgements
    from whichlora.export.chosen import choose
    from whichlora.export.pairs import select_pairs

    choice = choose(plan, findings.recommendation if findings else None, wishes["candidate"])
    selection = select_pairs(
        plan, store.generations(), judgements(store, plan), choice.candidates, trigger=_trigger(plan, wishes),
        unreviewed=wishes["unreviewed"],
    )
    return choice, selection


def _trigger(plan: Plan, wishes: dict[str, Any]) -> str:
    """The trigger word: as given, else the project's name as one word."""
    if wishes["trigger"] is not None:
        return str(wishes["trigger"]).strip()
    return "".join(char if char.isalnum() else "_" for char in plan.project).strip("_")


def _dataset(
    draft: Path, plan: Plan, store: Store, findings: Findings | None, wishes: dict[str, Any]
) -> dict[str, Any]:
    from whichlora.export.dataset import DatasetWish, write_dataset
    from whichlora.export.layouts import LAYOUTS

    chosen = _selected(plan, store, findings, wishes)
    wish = DatasetWish(wishes["layout"] or LAYOUTS, _trigger(plan, wishes), f"{plan.project}-lora")
    return asdict(write_dataset(draft, plan, store, store.folder, chosen, wish))


def _setup(draft: Path, plan: Plan, store: Store, findings: Findings | None, wishes: dict[str, Any]) -> dict[str, Any]:
    from whichlora.export.chosen import leading
    from whichlora.export.located import located
    from whichlora.export.script import safe_name
    from whichlora.export.setup import write_setup

    plan = located(plan, store.folder)

    choice = leading(plan, findings.recommendation if findings else None, wishes["candidate"])
    generations = store.generations()
    written = [write_setup(draft / name, plan, row, generations)
               for row, name in zip(choice.candidates, _folders([safe_name(row.name) for row in choice.candidates]),
                                    strict=True)]
    return {"why": choice.reason, "routes": dict(findings.recommendation.routes) if findings else {},
            "set_ups": [asdict(item) for item in written]}


def _folders(names: Sequence[str]) -> list[str]:
    """Folder names, made unique without regard to case."""
    taken: list[str] = []
    for name in names:
        number, unique = 2, name
        while unique.casefold() in {other.casefold() for other in taken}:
            unique, number = f"{name}-{number}", number + 1
        taken.append(unique)
    return taken


def _bundle(
    draft: Path, plan: Plan, store: Store, findings: Findings | None, wishes: dict[str, Any]
) -> dict[str, Any]:
    from whichlora.export.bundle import write_bundle

    document = write_bundle(draft, plan, store.folder, (store.generations(), findings),
                            with_photos=wishes["with_photos"])
    return {"cells": len(document["cells"]), "photos": len(document["photos"]) if document["with_photos"] else 0,
            "loras": [item["written"] for item in document["loras"]], "left_out": document["left_out"],
            "local_base": document["local_base"]}


def _lines(kind: str, document: dict[str, Any]) -> list[str]:
    """What was written, for people."""
    if "skipped" in document:
        return [f"{kind}: left out. {document['skipped']}"]
    if kind == "dataset":
        left = ", ".join(f"{count} {reason}" for reason, count in document["left_out"].items())
        return [f"dataset: {document['pairs']} pairs. {document['review']}" + (f" Left out: {left}." if left else ""),
                *(f"  ! {note}" for note in document.get("notes", ()))]
    if kind == "setup":
        names = [item if isinstance(item, str) else item["candidate"] for item in document["set_ups"]]
        return [f"setup: {', '.join(names)}. {document.get('why', '')}".rstrip()]
    photos = document["photos"]
    lines = [f"bundle: {document['cells']} cells, " + ("with" if photos else "without") + " the photographs"
             + ("." if photos else " (--with-photos puts them in).")]
    if document.get("left_out"):
        lines.append(f"  ! Not in it, since they were refused or not measured: {', '.join(document['left_out'])}.")
    if document.get("local_base"):
        lines.append(f"  ! It names the base by a folder of this machine, '{document['local_base']}'.")
    return lines
