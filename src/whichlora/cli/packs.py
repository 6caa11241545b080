"""`whichlora packs`: optional recognisers for identity, with their licences; install one by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded, progress_console
from whichlora.errors import UserError
from whichlora.vision import packs


@guarded
def command(
    names: Annotated[list[str] | None, typer.Argument(help="Packs to install; none lists them all.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Folder that holds the files already, instead of a download.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """List or install identity packs.

    To use one in a project, add 'identity_packs: [NAME]' to its suite and run 'whichlora evaluate' again; for a
    folder made elsewhere, add --identity-pack NAME to 'whichlora score'.
    """
    if source is not None and not names:
        raise UserError("--from needs the name of the pack.", fix=f"Known: {', '.join(packs.PACKS)}.")
    for name in names or []:
        place = install(name, source)
        progress_console.print(f"{packs.pack(name).licence_line()}\ninstalled in {place}", markup=False)
    if json:
        emit_json("whichlora.packs/1", {"packs": [facts(name) for name in packs.PACKS]})
    elif not names:
        _print()


def install(name: str, source: Path | None) -> Path:
    """Install a pack from a folder, from where another tool keeps it, or from the Hub.

    Raises:
        UserError: A file is missing, is not the published one, or the pack cannot be downloaded.
        MachineError: The Hub could not be reached.
    """
    wanted = packs.pack(name)
    if source is not None and not source.is_dir():
        raise UserError(f"There is no folder '{source}'.", fix="Name the folder that holds the pack's files.")
    found: dict[str, Path] = {}
    for file in wanted.files:
        usual = Path.home() / file.usual_place if file.usual_place else None
        if source is not None:
            found[file.name] = source / file.name
        elif usual is not None and usual.is_file():
            found[file.name] = usual
    if source is None and len(found) < len(wanted.files):
        if not wanted.repo_id:
            places = " or ".join(f"~/{file.usual_place}" for file in wanted.files if file.usual_place)
            raise UserError(
                f"The pack '{name}' cannot be downloaded by whichlora: its licence is '{wanted.licence}'.",
                fix=f"Get {wanted.files[0].name} from its authors, then: whichlora packs {name} --from FOLDER"
                + (f" (it is looked for in {places})" if places else ""),
            )
        found = _download(wanted)
    return packs.install(name, found)


def _download(wanted: packs.Pack) -> dict[str, Path]:
    """Fetch a pack's files into the Hub's cache, each verified against the Hub's own hash."""
    from huggingface_hub import constants

    from whichlora.fetch.download import download
    from whichlora.fetch.wanted import list_repository
    from whichlora.fetch.wanted import wanted as facts_of
    from whichlora.survey.hubclient import HubClient
    from whichlora.survey.names import Reference

    client = HubClient(lambda text: progress_console.print(text, markup=False))
    listing = list_repository(Reference(wanted.repo_id), client)
    found: dict[str, Path] = {}
    for file in wanted.files:
        if file.path not in listing.files:
            raise UserError(f"{wanted.repo_id} holds no '{file.path}' any more.",
                            fix=f"Get the file elsewhere, then: whichlora packs {wanted.name} --from FOLDER")
        with progress_console.status(f"fetching {file.name}"):
            found[file.name] = download(facts_of(file.path, listing, "pack"), Path(constants.HF_HUB_CACHE), client)
    return found


def facts(name: str) -> dict[str, Any]:
    """One pack as plain data."""
    item, lacking = packs.pack(name), packs.missing(name)
    return {
        "name": name, "title": item.title, "subjects": list(item.subjects), "licence": item.licence,
        "commercial": item.commercial, "installed": not lacking, "lacks": lacking, "note": item.note,
    }


def _print() -> None:
    for name in packs.PACKS:
        item = facts(name)
        mark = "✓" if item["installed"] else "·"
        answer_console.print(
            f"{mark} {name:<12} {packs.pack(name).licence_line()}\n  {'':<12} for {', '.join(item['subjects'])}; "
            f"{item['note']}" + ("" if item["installed"] else f"\n  {'':<12} → whichlora packs {name}"), markup=False,
        )
