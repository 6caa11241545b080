"""`whichlora score FOLDER`: measure a project's pictures, or a folder of pictures made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded, progress_console
from whichlora.errors import UserError
from whichlora.quoting import quoted
from whichlora.workspace import SUITE_NAME

if TYPE_CHECKING:
    from whichlora.cli._elsewhere import Wanted


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="A project, or a folder of pictures made elsewhere.")],
    source: Annotated[
        Path | None, typer.Option("--source", help="The photograph that was edited, or a folder of them by name.")
    ] = None,
    refs: Annotated[
        list[Path] | None, typer.Option("--refs", help="Photographs of the character, or folders of them.")
    ] = None,
    impostors: Annotated[
        list[Path] | None, typer.Option("--impostors", help="Photographs of others, or folders of them.")
    ] = None,
    subject: Annotated[str, typer.Option("--subject", help="auto, photograph, figure, drawn or other.")] = "auto",
    edit: Annotated[
        str, typer.Option("--edit", help="Edit of all pictures: camera, lighting, background, expression.")
    ] = "",
    target: Annotated[
        list[str] | None, typer.Option("--target", help="What was asked, such as yaw_deg=45 or light=sunset.")
    ] = None,
    identity_pack: Annotated[
        list[str] | None, typer.Option("--identity-pack", help="Optional recogniser (whichlora packs lists them).")
    ] = None,
    fail_under: Annotated[
        float | None, typer.Option("--fail-under", help="Exit with 1 when a smaller share (0–1) of pictures passes.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Measure pictures."""
    if fail_under is not None and not 0 <= fail_under <= 1:
        raise UserError(f"--fail-under is a share from 0 to 1, not {fail_under:g}.")
    if (folder / SUITE_NAME).is_file():
        if source or refs or impostors or edit or target or identity_pack:
            raise UserError(f"'{folder}' is a project; its suite says what was asked.",
                            fix="Leave out --source, --refs, --impostors, --edit, --target and --identity-pack.")
        entries = _project(folder)
    else:
        from whichlora.cli._elsewhere import Wanted, parse_target, pictures_of

        entries = _elsewhere(folder, Wanted(
            source, pictures_of(refs or []), pictures_of(impostors or []), subject, edit, parse_target(target or []),
            _usable(identity_pack or []),
        ))
    licences = sorted({line for entry in entries for line in entry.pop("licences", ())})
    if json:
        emit_json("whichlora.score/1", {"pictures": entries, "identity_licences": licences})
    else:
        _print(entries)
        for line in licences:
            answer_console.print(f"identity by {line}", markup=False)
        if (folder / SUITE_NAME).is_file():
            answer_console.print(f"Next: whichlora report {quoted(folder)}", markup=False)
    passed = sum(1 for entry in entries if entry["passed"] is True)
    if fail_under is not None and passed < fail_under * len(entries):
        progress_console.print(f"{passed} of {len(entries)} pictures passed; --fail-under asks for {fail_under:.0%}.")
        raise SystemExit(1)


def _usable(names: list[str]) -> tuple[str, ...]:
    """The packs, all installed.

    Raises:
        UserError: One is unknown or not installed.
    """
    from whichlora.vision import packs

    for name in names:
        lacking = packs.missing(name)
        if lacking:
            raise UserError(f"The identity pack '{name}' lacks {', '.join(lacking)}.",
                            fix=f"Run: whichlora packs {name}")
    return tuple(dict.fromkeys(names))


def _elsewhere(folder: Path, wanted: Wanted) -> list[dict[str, Any]]:
    from whichlora.cli._elsewhere import FAMILIES, TARGETS, score_folder

    if wanted.edit and wanted.edit not in FAMILIES:
        raise UserError(f"There is no edit '{wanted.edit}'.", fix=f"Known: {', '.join(FAMILIES)}.")
    if wanted.target and not wanted.edit:
        raise UserError("--target needs --edit, which says what kind of edit it is.",
                        fix=f"Add --edit {TARGETS[next(iter(wanted.target))]}.")
    with progress_console.status("scoring") as status:
        return score_folder(folder, wanted, lambda done, total: status.update(f"scored {done} of {total}"))


def _project(folder: Path) -> list[dict[str, Any]]:
    """Score what a project lacks, then list every finished picture."""
    from whichlora.cli._writing import refuse_if_busy, writing

    refuse_if_busy(folder)  # before anything slow is imported or looked at
    from whichlora.cli.project import open_project
    from whichlora.cli.stages import score, stored_plan
    from whichlora.metrics.stage import scoring_context

    project = open_project(folder)
    with writing(project.workspace) as store:
        plan = stored_plan(store)
        score(project, store, plan)
        generations = store.generations()
        rows: dict[str, list[Any]] = {}
        for item in store.scores(context=scoring_context(plan)):
            rows.setdefault(item.cell, []).append(item)
        cells = {cell.id: cell for cell in plan.cells}
        return [
            {
                "path": str(store.images.path(image)), "case": cell.case, "seed": cell.seed,
                "candidate": cell.candidate, **_summary(rows.get(cell.id, [])),
            }
            for cell in cells.values() if cell.id in generations and (image := generations[cell.id].image)
        ]


def _summary(scores: list[Any]) -> dict[str, Any]:
    """Scores of one cell as plain data, with the conditions of the consistency rate."""
    from whichlora.cli._elsewhere import _all

    gates: dict[str, list[bool | None]] = {"valid": [], "edit": [], "identity": [], "artefact": []}
    for item in scores:
        if item.gate and not item.rater and not item.reason.startswith("not applicable"):
            gates[item.gate].append(item.passed)
    answers = {gate: _all(found) if found else None for gate, found in gates.items()}
    return {
        "scores": {item.metric: item.value for item in scores if not item.rater},
        "reasons": {item.metric: item.reason for item in scores if item.reason},
        "gates": answers, "passed": _all(answers.values()),
    }


def _print(entries: list[dict[str, Any]]) -> None:
    """One line per picture: passed or not, and why not."""
    words = {True: "passed", False: "failed", None: "open  "}
    for entry in entries:
        why = [reason for reason in entry["reasons"].values() if not reason.startswith("not applicable")]
        why.sort(key=lambda reason: reason.startswith("not measured"))
        name = Path(entry["path"]).name if "case" not in entry else f"{entry['candidate']} · {entry['case']}"
        line = f"{words[entry['passed']]}  {name}" + (f": {why[0]}" if why and entry["passed"] is not True else "")
        answer_console.print(line, markup=False)
    counts = {state: sum(1 for entry in entries if entry["passed"] is state) for state in (True, False, None)}
    answer_console.print(f"{counts[True]} passed, {counts[False]} failed, {counts[None]} cannot be told", markup=False)
