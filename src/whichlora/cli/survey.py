"""`whichlora survey`: which LoRAs exist for the base, which fit, and which are worth testing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded, progress_console
from whichlora.quoting import quoted

if TYPE_CHECKING:
    from whichlora.survey.entry import Assessed

_BASE = "Qwen/Qwen-Image-Edit-2509"
DOCUMENT_COMMAND = "whichlora survey --offline --markdown docs/qwen-ecosystem-survey.md"


@guarded
def command(
    base: Annotated[str, typer.Option("--base", help="Hub id of the base that you work on.")] = _BASE,
    offline: Annotated[bool, typer.Option("--offline", help="Use the bundled catalogue; ask nobody.")] = False,
    local: Annotated[
        Path | None,
        typer.Option("--local", help="Survey files on this disk instead: a folder, ComfyUI, extra_model_paths.yaml."),
    ] = None,
    here: Annotated[bool, typer.Option("--here", help="Survey ComfyUI's folders and the Hub's cache.")] = False,
    shortlist: Annotated[int, typer.Option("--shortlist", help="Most repositories to look at closely.", min=1)] = 40,
    show: Annotated[str, typer.Option("--list", help="Rows to show: must, should, skip or all.")] = "should",
    save: Annotated[Path | None, typer.Option("--save", help="Write the JSON document to a file.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the survey document to a file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Survey the Hub (or the bundled catalogue, or this disk) and say what to test."""
    from whichlora.errors import UnknownNameError
    from whichlora.survey.document import to_data

    if show not in {"must", "should", "skip", "all"}:
        raise UnknownNameError("list", show, ("must", "should", "skip", "all"))
    if here or local is not None:
        items, origin, facts = _collect_local(base, local, usual=here)
    else:
        items, origin, facts = _collect(base, offline, shortlist)
    document = {**to_data(items, base), **facts}
    if save is not None:
        _write(save, _json_text(document))
    if markdown is not None:
        from whichlora.survey.document import to_markdown

        place = local or (Path() if here else None)
        _write(markdown, to_markdown(items, base, origin=origin, command=_command(base, offline, place)))
    if json:
        emit_json("whichlora.survey/1", document)
        return
    _print_table(items, show, base)
    for warning in facts["warnings"]:
        progress_console.print(f"! {warning}", markup=False)
    for path in (save, markdown):
        if path is not None:
            progress_console.print(f"Written: {path}", markup=False)


def _collect(
    base: str, offline: bool, shortlist: int
) -> tuple[Sequence[Assessed], str, dict[str, Any]]:
    """Entries, a sentence on where they come from, and what it cost."""
    from whichlora.survey import catalog
    from whichlora.survey.document import offline_origin
    from whichlora.survey.lists import assess

    if offline:
        return assess(catalog.load(), base), offline_origin(), {"origin": "catalogue", "warnings": []}
    from whichlora.survey.hub import survey_hub
    from whichlora.survey.hubclient import HubClient

    client = HubClient(lambda text: progress_console.print(text, markup=False))
    progress_console.print(f"Asking {client.endpoint} for LoRAs of {base} …", markup=False)
    with _bar("reading headers") as tell:
        result = survey_hub(base, shortlist=shortlist, client=client, progress=tell)
    traffic = result.traffic
    facts = {
        "origin": client.endpoint, "warnings": list(result.warnings), "api_calls": traffic.api_calls,
        "file_requests": traffic.file_requests, "bytes_read": traffic.bytes_read,
    }
    origin = f"Facts from {client.endpoint}, {_today()}; headers were read by range request."
    return result.assessed, origin, facts


def _collect_local(base: str, local: Path | None, *, usual: bool) -> tuple[Sequence[Assessed], str, dict[str, Any]]:
    from whichlora.errors import UserError
    from whichlora.survey.lists import assess
    from whichlora.survey.local import survey_local
    from whichlora.survey.places import discover

    if local is not None and not local.exists():
        raise UserError(f"There is no folder '{local}'.", fix="Give a folder of LoRA files, or a ComfyUI folder.")
    places = discover(local, usual=usual)
    with _bar("reading headers") as tell:
        entries = survey_local(places, tell)
    facts = {"origin": "local", "warnings": list(places.problems)}
    return assess(entries, base), "Facts from files on this disk.", facts


class _bar:  # noqa: N801 - used as a function
    """A progress bar on stderr that exists only while there is something to count."""

    def __init__(self, label: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        quiet = not progress_console.is_terminal
        self._progress = Progress(*columns, console=progress_console, transient=True, disable=quiet)
        self._label = label
        self._task: Any = None

    def __enter__(self) -> Any:
        self._progress.start()
        return self._tell

    def __exit__(self, *details: object) -> None:
        self._progress.stop()

    def _tell(self, done: int, total: int) -> None:
        if self._task is None:
            self._task = self._progress.add_task(self._label, total=total)
        self._progress.update(self._task, completed=done)


def _print_table(items: Sequence[Assessed], show: str, base: str) -> None:
    """A table for the terminal. Names stay whole, since they are copied into suites and commands."""
    from whichlora.survey.text import clean

    wanted = {"must": {"must"}, "should": {"must", "should"}, "skip": {"skip"}, "all": {"must", "should", "skip"}}[show]
    rows = [item for item in items if item.list in wanted]
    if not rows:
        answer_console.print("Nothing of this list was found.")
    elif answer_console.width < _BESIDE_NAMES + max(len(clean(item.entry.repo_id, limit=120)) for item in rows):
        _print_narrow(rows)
    else:
        _print_wide(rows)
    counts = {name: sum(item.list == name for item in items) for name in ("must", "should", "skip")}
    answer_console.print(
        f"\n{len(items)} found for {clean(base)}: {counts['must']} must be tested, {counts['should']} should, "
        f"{counts['skip']} may be left out (--list all shows them).", markup=False,
    )
    conflicted = [item for item in items if item.verdict.conflicts and item.list != "skip"]
    for item in conflicted[:10]:
        answer_console.print(f"! {item.entry.repo_id}: {item.verdict.conflicts[0]}", markup=False)


_BESIDE_NAMES = 85
"""Columns of a terminal that everything but the names needs, with some room for the reasons."""
_COLOURS = {"must": "bold green", "should": "yellow", "skip": "dim"}
_FITS = {"compatible": "yes", "incompatible": "no", "unknown": "?"}
_AXES = ("id", "angle", "light", "bg", "qual")


def _print_narrow(rows: Sequence[Assessed]) -> None:
    """Names come last: a terminal may break a long one, and a copy of it is whole all the same."""
    from rich.text import Text

    from whichlora.survey.text import clean

    answer_console.print(Text(f"test    fits  {'  '.join(_AXES)}  repository or file", "bold"))
    for item in rows:
        ratings = "  ".join(
            f"{rating.value:>{len(axis)}}" for axis, rating in zip(_AXES, item.relevance.values(), strict=True))
        answer_console.print(Text.assemble((f"{item.list:<6}", _COLOURS[item.list]),
                                           f"  {_FITS[item.verdict.verdict]:<4}  {ratings}  ",
                                           clean(item.entry.repo_id, limit=120)))


def _print_wide(rows: Sequence[Assessed]) -> None:
    from rich.table import Table
    from rich.text import Text

    from whichlora.survey.text import clean

    names = [clean(item.entry.repo_id, limit=120) for item in rows]
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    table.add_column("test", no_wrap=True)
    table.add_column("repository or file", overflow="fold", min_width=max(map(len, names)))
    table.add_column("fits", no_wrap=True)
    for axis in (*_AXES, "rank"):
        table.add_column(axis, justify="right", no_wrap=True)
    table.add_column("licence", overflow="fold", max_width=14)
    table.add_column("why", overflow="fold", ratio=1)
    for item, name in zip(rows, names, strict=True):
        rank = item.entry.training.rank
        table.add_row(
            Text(item.list, _COLOURS[item.list]), Text(name), Text(_FITS[item.verdict.verdict]),
            *(Text(str(rating.value)) for rating in item.relevance.values()), Text("?" if rank is None else str(rank)),
            Text(clean(item.entry.licence or "unknown", limit=40)), Text(clean(item.why, limit=160)),
        )
    answer_console.print(table, soft_wrap=False)


def _command(base: str, offline: bool, local: Path | None) -> str:
    """The command that writes the document again, without paths of this machine."""
    words = ["whichlora survey"]
    words += ["--offline"] if offline and local is None else []
    words += ["--here" if local == Path() else "--local DIR"] if local is not None else []
    words += [f"--base {quoted(base)}"] if base != _BASE else []
    if offline and local is None and base == _BASE:
        return DOCUMENT_COMMAND
    return " ".join([*words, "--markdown FILE"])


def _json_text(document: dict[str, Any]) -> str:
    import json as codec

    return codec.dumps({"schema": "whichlora.survey/1", **document}, ensure_ascii=False, indent=1) + "\n"


def _write(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    from whichlora.errors import UserError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        raise UserError(f"'{path}' cannot be written: {error.strerror}.") from error


def _today() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).date().isoformat()
