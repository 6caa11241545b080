"""`whichlora fetch`: download what is needed, verified; reuse what is on disk; go on where it was cut."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded, progress_console
from whichlora.errors import HubError

if TYPE_CHECKING:
    from whichlora.fetch.planning import FetchPlan, Request
    from whichlora.fetch.reuse import Item
    from whichlora.survey.hubclient import HubClient
    from whichlora.survey.names import Reference
    from whichlora.survey.places import FoundFile

_WORKERS = 3


@guarded
def command(
    what: Annotated[list[str], typer.Argument(help="OWNER/NAME[:FILE], a project folder, or a survey saved as .json.")],
    transformer: Annotated[
        str, typer.Option("--transformer", help="For a base: auto, bf16, gguf-q8, fp8, OWNER/NAME:FILE, or a file.")
    ] = "auto",
    into: Annotated[Path | None, typer.Option("--into", help="Also make LoRA files available in this folder.")] = None,
    comfyui: Annotated[Path | None, typer.Option("--comfyui", help="ComfyUI's folder, if it is not found.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched; fetch nothing.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Fetch LoRAs and base models into the Hub's cache: verified by SHA-256, resumed, never fetched twice."""
    from whichlora.fetch.cache import check_disk
    from whichlora.fetch.planning import read_request
    from whichlora.survey.hubclient import HubClient

    request = read_request(what)
    client = HubClient(_say)
    cache = _cache()
    plan = _plan(client, cache, request, transformer, comfyui)
    if not json:
        _print_plan(plan)
    if dry_run:
        document = _document(plan, {}, cache, dry_run=True)
        if json:
            emit_json("whichlora.fetch/1", document)
        return
    check_disk(cache, plan.missing_bytes)
    if plan.missing_bytes and not (yes or json or not sys.stdin.isatty()):
        typer.confirm(f"Fetch {plan.missing_bytes / 1e9:.2f} GB?", abort=True, err=True)
    folder = into or (request.project / "loras" if request.project is not None else None)
    linked: dict[int, Path] = {}
    arrived: dict[int, Path] = {}
    # Each file is usable as soon as it is here: a run may begin while the rest comes.
    for index, path in _fetch(plan, cache, client):
        arrived[index] = path
        if folder is not None and plan.items[index].wanted.part == "lora":
            linked[index] = _link(plan.items[index], path, folder)
    if json:
        emit_json("whichlora.fetch/1", _document(plan, arrived, cache, dry_run=False, linked=linked))
    else:
        _print_done(plan, linked)


def _say(text: str) -> None:
    progress_console.print(text, markup=False)


def _cache() -> Path:
    from whichlora.machine.probe import cache_folder

    return cache_folder()


def _plan(client: HubClient, cache: Path, request: Any, transformer: str, comfyui: Path | None) -> FetchPlan:
    from whichlora.fetch.digests import DigestBook
    from whichlora.fetch.planning import Planner
    from whichlora.survey import places

    found = places.files_in(places.discover(comfyui))
    planner = Planner(client, found, cache, DigestBook(), _say)
    try:
        return planner.plan(request, _transformer_for_machine() if transformer == "auto" else transformer)
    except HubError:
        for line in known_without_hub(request, found):
            _say(line)
        raise


def known_without_hub(request: Request, found: Sequence[FoundFile]) -> list[str]:
    """What was asked for and what of it lies here by name: all that can be said while the Hub does not answer."""
    lines = ["Needed, and what lies here by name (sizes and hashes are known to the Hub alone):"]
    for reference in request.references:
        mine = [file for file in found if _answers_to(file, reference)]
        size = _size(sum(file.size_bytes for file in mine))
        where = " and ".join(dict.fromkeys(file.place for file in mine))
        count = f"{len(mine)} weight file{'' if len(mine) == 1 else 's'}, {size} ({where})" if mine else "nothing here"
        name = reference.repo_id + (f":{reference.file}" if reference.file else "")
        lines.append(f"  {name}: {count}")
    return lines if request.references else []


def _answers_to(file: FoundFile, reference: Reference) -> bool:
    """By repository where the Hub's cache tells it, else by the name of the file."""
    if file.repo_id is not None:
        return file.repo_id.lower() == reference.repo_id.lower() and reference.file in (None, file.file)
    return reference.file is not None and file.path.name == reference.file.rsplit("/", 1)[-1]


def _transformer_for_machine() -> str:
    """bf16 unless this machine has a GPU that only a smaller transformer fits."""
    from whichlora.cli.doctor import supported_profiles
    from whichlora.machine.checks import diagnose
    from whichlora.machine.probe import probe

    facts = probe()
    profile = diagnose(facts, supported_profiles()).profile
    # fp8 and nf4 are made on this machine from the bf16 weights, after LoRAs were added.
    if not facts.gpus or profile is None or profile.exact or profile.name in ("fp8", "nf4"):
        return "bf16"
    return profile.name


def _fetch(plan: FetchPlan, cache: Path, client: HubClient) -> Iterator[tuple[int, Path]]:
    """Yield what is here, then what arrives, a few files at a time; a failure stops what has not begun."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from whichlora.fetch.download import download

    missing = [(index, item) for index, item in enumerate(plan.items) if item.path is None]
    yield from ((index, item.path) for index, item in enumerate(plan.items) if item.path is not None)
    if not missing:
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
               TimeRemainingColumn())
    total = sum(item.wanted.size_bytes for _, item in missing)
    quiet = not progress_console.is_terminal
    bar = Progress(*columns, console=progress_console, transient=True, disable=quiet)
    with bar, ThreadPoolExecutor(_WORKERS) as pool:
        task = bar.add_task(f"fetching {len(missing)} files", total=total)

        def tell(count: int) -> None:
            bar.advance(task, count)

        jobs = {pool.submit(download, item.wanted, cache, client, tell): index for index, item in missing}
        try:
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        except BaseException:
            for job in jobs:
                job.cancel()
            raise


def _link(item: Item, path: Path, folder: Path) -> Path:
    """Make a LoRA file available in a folder under its ASCII name."""
    from whichlora.fetch.cache import link_into
    from whichlora.survey.names import local_name

    return link_into(folder, path, local_name(item.wanted.repo_id, item.wanted.file))


def _state(item: Item) -> str:
    if item.path is not None:
        return f"here ({item.where})"
    return f"{100 * item.partial_bytes / item.wanted.size_bytes:.0f}% here" if item.partial_bytes else "to fetch"


def _document(
    plan: FetchPlan, arrived: dict[int, Path], cache: Path, *, dry_run: bool, linked: dict[int, Path] | None = None
) -> dict[str, Any]:
    return {
        "dry_run": dry_run, "cache": str(cache), "missing_bytes": plan.missing_bytes,
        "total_bytes": sum(item.wanted.size_bytes for item in plan.items),
        "needed_free_bytes": int(plan.missing_bytes * 1.5), "base_locations": list(plan.locations),
        "choices": [
            {"transformer": choice.name, "missing_bytes": choice.missing_bytes, "here": choice.here or None}
            for choice in plan.choices
        ],
        "notes": list(plan.notes),
        "items": [
            {
                "repo_id": item.wanted.repo_id, "file": item.wanted.file, "part": item.wanted.part,
                "commit": item.wanted.commit, "size_bytes": item.wanted.size_bytes, "sha256": item.wanted.sha256,
                "state": "here" if item.path is not None else "partial" if item.partial_bytes else "missing",
                "where": item.where or None, "missing_bytes": item.missing_bytes,
                "path": _text(arrived.get(index) or item.path), "linked": _text((linked or {}).get(index)),
            }
            for index, item in enumerate(plan.items)
        ],
    }


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None


def _print_plan(plan: FetchPlan) -> None:
    """What is needed, part by part; many files of one part are one row."""
    from rich.table import Table
    from rich.text import Text

    from whichlora.survey.text import clean

    rows: dict[tuple[str, str, str], list[Item]] = {}
    for item in plan.items:
        label = clean(item.wanted.file) if item.wanted.part in {"lora", "transformer"} else f"{item.wanted.part}/"
        if item.wanted.part == "transformer" and item.wanted.file.startswith("transformer/"):
            label = "transformer/"
        state = "to fetch" if item.path is None and not item.partial_bytes else _state(item)
        rows.setdefault((item.wanted.repo_id, label, state), []).append(item)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("state", overflow="fold")
    for (repo_id, label, state), items in rows.items():
        count = f" ({len(items)} files)" if len(items) > 1 else ""
        size = sum(item.wanted.size_bytes for item in items)
        table.add_row(Text(f"{repo_id}:{label}{count}"), _size(size), Text(state))
    answer_console.print(table, soft_wrap=False)
    total = sum(item.wanted.size_bytes for item in plan.items)
    reserve = _size(int(plan.missing_bytes * 1.5))
    answer_console.print(f"{_size(plan.missing_bytes)} of {_size(total)} to fetch; {reserve} should be free.")
    if len(plan.choices) > 1:
        ways = [
            f"{choice.name} {_size(choice.missing_bytes)}" + (f" (transformer in {choice.here})" if choice.here else "")
            for choice in plan.choices
        ]
        answer_console.print(f"Ways to get the base (--transformer): {'; '.join(ways)}.", markup=False)
    for note in plan.notes:
        answer_console.print(f"! {note}", markup=False)


def _size(count: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def _print_done(plan: FetchPlan, linked: dict[int, Path]) -> None:
    answer_console.print("Everything is here and verified.")
    for location in plan.locations:
        answer_console.print(f"Base for a suite: {location}", markup=False)
    for path in linked.values():
        answer_console.print(f"In the project: {path.name}", markup=False)


