"""`whichlora watch PROJECT`: look again, test what is new, say whether the decision changes. For cron and CI.

Exit status: 0 looked, and the decision stands (or nothing is new); 1 the best rate is below --fail-under, or the
decision changed and --fail-on-change was given; 2 the input is wrong; 3 the machine or network failed (the next look
goes on from there).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded, progress_console
from whichlora.quoting import quoted

if TYPE_CHECKING:
    from whichlora.cli.project import Project
    from whichlora.findings import Findings
    from whichlora.plan.proposal import Proposal
    from whichlora.plan.watching import Memory
    from whichlora.suite.schema import CandidateSpec


@dataclass
class Look:
    """What one look found and did."""

    looked_at: int = 0
    """Entries of the survey."""
    new: list[Proposal] = field(default_factory=list)
    added: list[Proposal] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    """File → why it was not fetched now; it is looked at again next time."""
    refused: dict[str, str] = field(default_factory=dict)
    """File → why it will not be tested."""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user allows."""

    fetch: bool
    """Whether files may be downloaded."""
    most_bytes: float
    """Most that one look may download; infinite for no limit."""
    offline: bool
    lists: tuple[str, ...]


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="A project that was evaluated.")],
    offline: Annotated[bool, typer.Option("--offline", help="Bundled catalogue and this disk; ask nobody.")] = False,
    catalogue: Annotated[
        Path | None, typer.Option("--catalogue", help="A survey saved by 'whichlora survey --save', not a new one.")
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", help="Hub id of the base, when the project's own is a folder.")
    ] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="Download new LoRAs; without it they are only named.")] = False,
    max_gb: Annotated[float, typer.Option("--max-gb", help="Most to download in one look.", min=0.0)] = 2.0,
    must_only: Annotated[bool, typer.Option("--must-only", help="The survey's must list only, not should.")] = False,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Take all that exists today as known; test what comes later.")
    ] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cuda, mps or cpu.")] = "auto",
    fail_under: Annotated[
        float | None, typer.Option("--fail-under", help="Exit 1 when the best rate is below this (0–1).", min=0, max=1)
    ] = None,
    fail_on_change: Annotated[bool, typer.Option("--fail-on-change", help="Exit 1 when the decision changes.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is new; change nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Look for new LoRAs and test them."""
    from whichlora.cli._floor import best_rate, is_below
    from whichlora.cli._writing import refuse_if_busy
    from whichlora.cli.project import open_project
    from whichlora.plan.watching import load_memory

    if not dry_run:
        refuse_if_busy(folder)
    project = open_project(folder)
    before = _findings(project)
    memory = load_memory(folder)
    entries, warnings = _survey(_target(project, base), offline, catalogue)
    wishes = Wishes(fetch, max_gb * 1e9, offline, ("must",) if must_only else ("must", "should"))
    look = Look(looked_at=len(entries), warnings=warnings)
    _find(look, project, memory, entries, wishes)
    after = before
    if not dry_run:
        memory = _remember_baseline(project, memory, look) if baseline else _obtain(look, project, memory, wishes)
        if look.added or _unfinished(project, before):
            after = _test(look, project, memory, device)
    document = _document(look, before, after, best_rate(after), dry_run=dry_run)
    if json:
        emit_json("whichlora.watch/1", document)
    else:
        _print(document)
    if is_below(after, fail_under) or (fail_on_change and document["changed"]):
        raise SystemExit(1)


def _findings(project: Project) -> Findings:
    """What was decided before.

    Raises:
        ProjectError: Nothing was, so there is nothing that a new LoRA could change.
    """
    from whichlora.analysis.stage import stored_findings
    from whichlora.errors import ProjectError
    from whichlora.store import Store

    found = None
    if (project.workspace.folder / "store.sqlite").is_file():
        with Store(project.workspace.folder) as store:
            found = stored_findings(store)
    if found is None:
        raise ProjectError("Nothing was decided in this project yet, so nothing can be watched.",
                           fix=f"Run first: whichlora evaluate {quoted(project.workspace.folder)}")
    return found[1]


def _target(project: Project, given: str | None) -> str:
    """Hub id of the base whose LoRAs are looked for.

    Raises:
        UserError: The project's base is a folder that does not tell.
    """
    from whichlora.errors import UserError
    from whichlora.survey.bases import EDIT_LINE, QWEN_21, canonical
    from whichlora.survey.names import parse_reference

    if given is not None:
        return given
    location = project.suite.base.location.partition("::")[0]
    if not (project.workspace.folder / location).exists() and not Path(location).exists():
        reference = parse_reference(location)
        if reference is not None:
            return reference.repo_id
    if canonical(Path(location).name) in (*EDIT_LINE, QWEN_21):
        return canonical(Path(location).name)
    raise UserError(f"The project's base '{location}' is a folder, and its name does not tell which base it is.",
                    fix="Say it: --base Qwen/Qwen-Image-Edit-2509")


def _survey(target: str, offline: bool, catalogue: Path | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Entries of the survey to go by, and what it could not ask."""
    from whichlora.plan.watching import read_catalogue
    from whichlora.survey.document import to_data

    if catalogue is not None:
        return read_catalogue(catalogue), []
    if offline:
        from whichlora.survey import catalog
        from whichlora.survey.lists import assess

        return to_data(assess(catalog.load(), target), target)["entries"], []
    from whichlora.survey.hub import survey_hub

    client = _client()
    progress_console.print(f"Asking {client.endpoint} for LoRAs of {target} …", markup=False)
    result = survey_hub(target, client=client)
    return to_data(result.assessed, target)["entries"], list(result.warnings)


def _client() -> Any:
    from whichlora.survey.hubclient import HubClient

    return HubClient(lambda text: progress_console.print(text, markup=False))


def _find(
    look: Look, project: Project, memory: Memory, entries: Sequence[Mapping[str, Any]], wishes: Wishes
) -> None:
    from whichlora.cli.stages import stored_plan
    from whichlora.plan.watching import find_new
    from whichlora.store import Store

    with Store(project.workspace.folder) as store:
        plan = stored_plan(store)
    present = {Path(use.path).name: use.sha256
               for row in plan.candidates for use in (*row.adapters, *row.sampler.adapters)}
    look.new, unclear = find_new(entries, project.suite, memory, lists=wishes.lists, present=present)
    look.warnings += unclear


def _remember_baseline(project: Project, memory: Memory, look: Look) -> Memory:
    from whichlora.plan.watching import Seen, save_memory

    for proposal in look.new:
        memory = memory.with_seen(proposal.key, Seen("known"))
    with project.workspace.owned():
        save_memory(project.workspace.folder, memory)
    return memory


# --------------------------------------------------------------------------- obtain


def _obtain(look: Look, project: Project, memory: Memory, wishes: Wishes) -> Memory:
    """Bring the files of what is new, let them through the static gate, and add their rows."""
    from whichlora.errors import HubError, RefusedError, UserError
    from whichlora.plan.watching import Seen, load_memory, load_rows, save_memory, save_rows

    left = wishes.most_bytes
    for proposal in look.new:
        try:
            reason, used = _bring(proposal, project, wishes, left)
            left -= used
            if reason:
                look.waiting[proposal.key] = reason
                continue
            _check(proposal, project)
        except HubError:
            raise
        except UserError as error:
            look.waiting[proposal.key] = error.message
            continue
        except RefusedError as error:
            look.refused[proposal.key] = error.reason
            memory = memory.with_seen(proposal.key, Seen("refused", reason=error.reason))
            continue
        look.added.append(proposal)
    folder = project.workspace.folder
    with project.workspace.owned():
        # Another look may have written while this one downloaded: its rows and what it remembers stay.
        rows = load_rows(folder)
        look.added = [proposal for proposal in look.added if proposal.spec.loras not in {row.loras for row in rows}]
        memory = load_memory(folder).joined(memory)
        if look.added:
            save_rows(folder, [*rows, *(proposal.spec for proposal in look.added)])
        save_memory(folder, memory)
    return memory


def _bring(proposal: Proposal, project: Project, wishes: Wishes, left: float) -> tuple[str, int]:
    """Make a file available in the project's loras/; returns ('' or why not now, bytes downloaded)."""
    from whichlora.cli import fetch as verb
    from whichlora.cli.project import lora_folder
    from whichlora.errors import MissingFileError, RefusedError
    from whichlora.fetch.cache import check_disk
    from whichlora.fetch.download import download
    from whichlora.fetch.planning import Request
    from whichlora.plan.candidates import sha256_file
    from whichlora.survey.names import Reference

    try:
        there = lora_folder(project.workspace).find(f"{proposal.repo_id}:{proposal.file}")
    except MissingFileError:
        there = None
    # An older upload may lie there under the same name: refused then, and not what is new now.
    if there is not None and proposal.sha256 in (None, sha256_file(there)):
        return "", 0
    if wishes.offline:
        return "It is not on this disk, and --offline asks nobody.", 0
    client, cache = _client(), verb._cache()
    item = verb._plan(client, cache, Request((Reference(proposal.repo_id, proposal.file),)), "bf16", None).items[0]
    missing = item.missing_bytes
    if missing and not wishes.fetch:
        return f"{missing / 1e9:.2f} GB would be fetched: allow it with --fetch.", 0
    if missing > left:
        return f"{missing / 1e9:.2f} GB is more than --max-gb leaves ({left / 1e9:.2f} GB).", 0
    if missing:
        check_disk(cache, missing)
    try:
        path = item.path or download(item.wanted, cache, client)
    except RefusedError as error:
        # Not what the Hub promised: the next upload or download may be sound, so it is not refused for good.
        return error.message, missing
    verb._link(item, path, project.workspace.folder / "loras")
    return "", missing


def _check(proposal: Proposal, project: Project) -> None:
    """The static gate: can this base take the file?

    Raises:
        RefusedError: It cannot.
    """
    from whichlora.cli.project import identify_base, lora_folder

    family, base = identify_base(project, "cpu")
    check = getattr(family, "check_file", None)
    if check is not None:
        check(base, lora_folder(project.workspace).find(f"{proposal.repo_id}:{proposal.file}"))


# --------------------------------------------------------------------------- test and tell


def _unfinished(project: Project, findings: Findings) -> bool:
    """Whether an earlier look added rows and was cut before it decided."""
    from whichlora.cli.stages import stored_plan
    from whichlora.plan.watching import load_rows
    from whichlora.store import Store

    names = {row.name for row in load_rows(project.workspace.folder)}
    if not names:
        return False
    with Store(project.workspace.folder) as store:
        plan, finished = stored_plan(store), store.finished()
    decided = {row.name for row in findings.candidates}
    return bool(names - decided) or any(cell.id not in finished for cell in plan.cells if cell.candidate in names)


def _test(look: Look, project: Project, memory: Memory, device: str) -> Findings:
    """Run what is missing, decide anew, and forget rows that the load gate turned away."""
    from whichlora.cli.evaluate import chain
    from whichlora.cli.project import choose_device, open_project
    from whichlora.plan.watching import Seen, load_memory, load_rows, save_memory, save_rows

    folder = project.workspace.folder
    outcome = chain(open_project(folder), choose_device(device), markdown=None,
                    command=f"whichlora watch {quoted(folder)}")
    turned_away = {row["name"]: row["reason"] for row in outcome.plan.refused}
    for proposal in list(look.added):
        name = proposal.spec.name
        if name in turned_away:
            look.added.remove(proposal)
            look.refused[proposal.key] = turned_away[name]
            memory = memory.with_seen(proposal.key, Seen("refused", reason=turned_away[name]))
        else:
            memory = memory.with_seen(proposal.key, Seen("added", name))
    memory = load_memory(folder).joined(memory)
    with project.workspace.owned():
        rows = load_rows(folder)
        # Rows of an earlier look that was cut are turned away for good, too: else every look would try them again.
        for row in rows:
            if row.name in turned_away and (key := _key(row, project)) not in memory.seen:
                look.refused[key] = turned_away[row.name]
                memory = memory.with_seen(key, Seen("refused", reason=turned_away[row.name]))
        kept = [row for row in rows if row.name not in turned_away]
        if kept != rows:
            save_rows(folder, kept)
        save_memory(folder, memory)
    return outcome.findings


def _key(row: CandidateSpec, project: Project) -> str:
    """`Proposal.key` of a row that an earlier look added."""
    from whichlora.cli.project import lora_folder
    from whichlora.plan.candidates import sha256_file

    place = row.loras.rpartition(":")[0]
    return f"{place}@{sha256_file(lora_folder(project.workspace).find(place))}"


def _verdict(findings: Findings) -> dict[str, Any]:
    advice = findings.recommendation
    return {"decision": advice.decision, "candidate": advice.candidate, "firm": advice.firm,
            "sentence": advice.sentence}


def _document(look: Look, before: Findings, after: Findings, best: float, *, dry_run: bool) -> dict[str, Any]:
    old, new = _verdict(before), _verdict(after)
    changed = any(old[key] != new[key] for key in ("decision", "candidate", "firm"))
    return {
        "dry_run": dry_run, "looked_at": look.looked_at, "changed": changed, "before": old, "after": new,
        "best_rate": best,
        "new": [{"name": item.spec.name, "repo_id": item.repo_id, "file": item.file, "size_bytes": item.size_bytes,
                 "licence": item.spec.licence, "notes": list(item.notes)} for item in look.new],
        "added": [item.spec.name for item in look.added], "refused": dict(look.refused), "waiting": dict(look.waiting),
        "warnings": list(look.warnings),
    }


def _print(document: Mapping[str, Any]) -> None:
    names = ", ".join(item["name"] for item in document["new"]) or "nothing"
    answer_console.print(f"Looked at {document['looked_at']} repositories. New: {names}.", markup=False)
    for label, key in (("waiting", "waiting"), ("refused", "refused")):
        for name, reason in document[key].items():
            answer_console.print(f"  {label}: {name.partition('@')[0]}: {reason}", markup=False)
    for warning in document["warnings"]:
        progress_console.print(f"! {warning}", markup=False)
    if document["added"]:
        answer_console.print(f"Tested: {', '.join(document['added'])}.", markup=False)
    word = "The decision changes" if document["changed"] else "The decision stands"
    answer_console.print(f"{word}: {document['after']['sentence']}", markup=False)
