"""`whichlora init DIR --refs PHOTOS…`: look at the photographs, then create the project folder whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded
from whichlora.cli.project import list_pictures
from whichlora.errors import PhotoError, ProjectError
from whichlora.quoting import quoted
from whichlora.survey.names import is_reserved
from whichlora.workspace import SUITE_NAME


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="The project folder to create.")],
    refs: Annotated[list[Path], typer.Option("--refs", help="Photographs of the character, or folders of them.")],
    impostors: Annotated[
        list[Path] | None, typer.Option("--impostors", help="Photographs of others, to calibrate identity.")
    ] = None,
    base: Annotated[
        str, typer.Option("--base", help="Hub id, diffusers folder or transformer file.")
    ] = "Qwen/Qwen-Image-Edit-2509",
    family: Annotated[str, typer.Option("--family", help="Model family.")] = "qwen_image_edit",
    template: Annotated[str, typer.Option("--template", help="Suite to start from: portrait or figure.")] = "portrait",
    preset: Annotated[
        str | None, typer.Option("--preset", help="A ready suite with named LoRAs: character-2509.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Create a project from photographs."""
    from whichlora.suite.photos import advice, examine_photos, missing_views

    paths = gather(refs)
    examined = examine_photos(paths, kind="auto")
    create_project(
        folder, paths, gather(impostors) if impostors else [], template=template, preset=preset,
        head={"name": folder.resolve().name or "project", "base": {"family": family, "location": base},
              "subject": examined.kind, "sources": {"count": edited_at_first(examined.facts)}},
    )
    views = missing_views(examined.facts, examined.kind)
    if json:
        emit_json("whichlora.init/1", {
            "project": str(folder), "subject": examined.kind, "photos": [dict(facts) for facts in examined.facts],
            "notes": list(examined.notes), "missing_views": list(views), "advice": advice(len(paths)),
        })
        return
    answer_console.print(f"Created {folder} with {len(paths)} photographs (subject: {examined.kind}).", markup=False)
    for note in advised(examined.notes, views, advice(len(paths))):
        answer_console.print(f"  • {note}", markup=False)
    if preset is not None:
        answer_console.print(f"Next:\n  whichlora fetch {quoted(folder)}\n  whichlora plan {quoted(folder)}",
                             markup=False)
        return
    answer_console.print(f"Next: put LoRA files into {folder / 'loras'} and name them in {folder / SUITE_NAME}; then"
                         f"\n  whichlora fetch {quoted(folder)}   (the base, where it is not on this disk)"
                         f"\n  whichlora plan {quoted(folder)}", markup=False)


def advised(notes: Sequence[str], views: Sequence[str], closing: str) -> list[str]:
    """Each remark on the photographs once; the closing advice only where no remark already ends in advice."""
    lines = list(dict.fromkeys([*notes, *views]))
    if not any("a good set of " in line for line in lines):
        lines.append(closing[:1].upper() + closing[1:])
    return lines


def edited_at_first(facts: Sequence[Mapping[str, Any]]) -> int:
    """How many photographs a new suite edits: those that are fit, at most five; of all when none is fit."""
    fit = sum(1 for entry in facts if not entry.get("unfit"))
    return min(5, fit or len(facts))


def gather(given: list[Path]) -> list[Path]:
    """Picture files from a list of files and folders, each once.

    Raises:
        PhotoError: A path is missing, or nothing is a picture.
    """
    paths: list[Path] = []
    for path in given:
        if path.is_dir():
            paths.extend(list_pictures(path))
        elif path.is_file():
            paths.append(path)
        else:
            raise PhotoError(f"There is no photograph or folder '{path}'.", fix="Check the path after --refs.")
    unique = list(dict.fromkeys(path.resolve() for path in paths))
    if not unique:
        listing = ", ".join(f"'{path}'" for path in given)
        raise PhotoError(f"No PNG, JPEG or WebP photograph was found in {listing}.",
                         fix="Name photographs, or a folder that holds some, after --refs.")
    return unique


def create_project(
    folder: Path, refs: list[Path], impostors: list[Path], *, template: str, head: dict[str, Any],
    candidates: list[dict[str, Any]] | None = None, samplers: dict[str, Any] | None = None, preset: str | None = None,
) -> None:
    """Write a project beside its target and rename it into place, so that nothing half-written is left.

    A preset brings edits, samplers and candidates of its own, in place of the template's and those given.

    Raises:
        ProjectError: The folder exists and is not empty.
        SuiteError: The settings make no valid suite.
    """
    from whichlora.store.durable import sync_folder, sync_tree
    from whichlora.suite.loading import parse_suite
    from whichlora.suite.templating import render_preset, render_suite

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError(f"'{folder}' exists and is not empty.", fix="Choose another folder; nothing was changed.")
    if preset is not None:
        text = render_preset(preset, **head)
    else:
        text = render_suite(template, candidates=candidates or [], samplers=samplers, **head)
    parse_suite(text, SUITE_NAME)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        (draft / "loras").mkdir()
        _copy(refs, draft / "refs")
        if impostors:
            _copy(impostors, draft / "impostors")
        (draft / SUITE_NAME).write_text(text, encoding="utf-8")
        draft.chmod(0o755)
        sync_tree(draft)
        if folder.exists():
            folder.rmdir()
        draft.replace(folder)
        sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _copy(paths: list[Path], folder: Path) -> None:
    """Copy photographs under names that every file system accepts, unique without regard to case."""
    folder.mkdir()
    taken: set[str] = set()
    for path in paths:
        stem = "".join(char if char.isalnum() or char in "-_" else "-" for char in path.stem)[:60] or "photo"
        if is_reserved(stem):
            stem = f"photo-{stem}"
        name, number = f"{stem}{path.suffix.lower()}", 2
        while name.casefold() in taken:
            name, number = f"{stem}-{number}{path.suffix.lower()}", number + 1
        taken.add(name.casefold())
        shutil.copyfile(path, folder / name)
