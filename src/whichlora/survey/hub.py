"""Survey the Hub: find repositories by tag, by words and by author; look closer only at those worth it.

Cards are often wrong, so one way of finding is not enough: the union of three is taken. A listing costs one call a
page; a repository on the shortlist costs one call more, and its header and card a few range requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from whichlora.errors import HubError, RefusedError, UserError, WhichloraError
from whichlora.survey import catalog
from whichlora.survey.bases import from_name
from whichlora.survey.entry import Assessed, SurveyEntry, WeightFile
from whichlora.survey.headerfacts import facts_from
from whichlora.survey.hubclient import HubClient, Traffic
from whichlora.survey.listing import concerns, entry_from_listing, repo_id, with_headers
from whichlora.survey.lists import assess, assess_one
from whichlora.survey.relevance import top
from whichlora.survey.remote import read_remote_header
from whichlora.survey.text import clean

SEARCH_WORDS = ("Qwen-Image-Edit", "Qwen-Edit", "QIE")
"""Text searches, united with the tag filter and the known authors."""
_EXPAND = ("cardData", "downloads", "gated", "lastModified", "likes", "siblings", "tags")
_PAGE = 200
_AUTHOR_PAGE = 100
_HEADERS_PER_REPOSITORY = 6
_WORKERS = 4


@dataclass(frozen=True, slots=True)
class SurveyResult:
    """What a survey of the Hub found."""

    assessed: tuple[Assessed, ...]
    """Everything found, most worth testing first."""
    traffic: Traffic
    """What it cost."""
    warnings: tuple[str, ...]
    """What could not be asked, in sentences."""


def survey_hub(
    target: str, *, shortlist: int = 40, client: HubClient | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SurveyResult:
    """Survey the Hub for LoRAs of a base.

    Args:
        target: Base that the user works on.
        shortlist: Most repositories that are looked at closely.
        client: Connection to use.
        progress: Told (done, of how many) while looking closely.

    Raises:
        HubError: The Hub could not be reached at all.
    """
    client = client or HubClient()
    listed, warnings = discover(target, client)
    entries = {name: entry_from_listing(item) for name, item in listed.items()}
    listed_names = {name.lower() for name in entries}
    # Repositories the catalogue knows but no search returned are asked for by name: they may be renamed or gone.
    for known in catalog.load():
        if known.repo_id.lower() not in listed_names and assess_one(known, target).list != "skip":
            entries[known.repo_id] = known
    chosen = choose_shortlist(list(entries.values()), target, shortlist)
    looked = _look(chosen, client, progress)
    for old, entry in looked.items():
        entries.pop(old)
        entries[entry.repo_id] = entry
    warnings += _unseen(looked)
    return SurveyResult(tuple(assess(entries.values(), target)), client.traffic, tuple(warnings))


def discover(target: str, client: HubClient) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Every repository that concerns the base, by tag, words and author.

    Returns:
        Repository → listing, and sentences on queries that failed after others had succeeded.

    Raises:
        HubError: No query succeeded.
    """
    found: dict[str, dict[str, Any]] = {}
    warnings: list[str] = []
    answered = 0
    failure: WhichloraError | None = None
    for query, pages in _queries(target):
        try:
            for item in pages(client.list_models(query)):
                name = repo_id(item)
                if name and concerns(item):
                    found.setdefault(name, item)
            answered += 1
        except WhichloraError as error:
            failure = error
            warnings.append(f"One search failed and was left out ({_words(query)}): {error.message}")
            if isinstance(error, HubError) and not answered:
                break  # the first query already waited as long as it may: the Hub is not there
    if not answered and failure is not None:
        raise failure
    return found, warnings


def _queries(target: str) -> Iterator[tuple[Mapping[str, Any], Callable[[Iterator[Any]], Iterator[Any]]]]:
    """Queries in order, each with how much of its answer is read; an author's newest uploads are enough."""
    every = {"expand": list(_EXPAND), "limit": _PAGE}
    for label in (f"base_model:adapter:{target}", f"base_model:finetune:{target}"):
        yield {"filter": [label], **every}, iter
    for words in SEARCH_WORDS:
        yield {"search": words, **every}, iter
    for author in catalog.known_authors():
        query = {**every, "author": author, "sort": "lastModified", "limit": _AUTHOR_PAGE}
        yield query, lambda items: islice(items, _AUTHOR_PAGE)


def _words(query: Mapping[str, Any]) -> str:
    return str(query.get("search") or query.get("author") or " ".join(query.get("filter", [])))


def choose_shortlist(entries: list[SurveyEntry], target: str, limit: int) -> list[SurveyEntry]:
    """Entries that are worth a closer look: those that concern a character and may fit, best first."""
    ranked = assess(entries, target)
    worth = [
        item for item in ranked
        if top(item.relevance)[1].value >= 3 and (item.verdict.verdict != "incompatible" or item.verdict.conflicts)
    ]
    return [item.entry for item in worth[:limit]]


def _look(
    chosen: list[SurveyEntry], client: HubClient, progress: Callable[[int, int], None] | None
) -> dict[str, SurveyEntry]:
    """Look at the shortlist, a few at a time; a repository that fails keeps its listing, and says why."""
    looked: dict[str, SurveyEntry] = {}
    with ThreadPoolExecutor(_WORKERS) as pool:
        tasks = {pool.submit(look_closer, entry, client): entry for entry in chosen}
        for task in as_completed(tasks):
            entry = tasks[task]
            try:
                looked[entry.repo_id] = task.result()
            except UserError as error:
                looked[entry.repo_id] = replace(entry, missing=error.message)
            except WhichloraError as error:
                looked[entry.repo_id] = replace(entry, notes=(*entry.notes, f"Not looked at: {error.message}"))
            if progress is not None:
                progress(len(looked), len(tasks))
    return {entry.repo_id: looked[entry.repo_id] for entry in chosen}


def _unseen(looked: Mapping[str, SurveyEntry]) -> list[str]:
    """Sentences on repositories that could not be looked at."""
    gone = [name for name, entry in looked.items() if entry.missing]
    lines = [
        f"{name} could not be looked at: {entry.notes[-1].removeprefix('Not looked at: ')}"
        for name, entry in looked.items() if entry.notes and entry.notes[-1].startswith("Not looked at: ")
    ]
    if gone:
        names = ", ".join(gone[:5]) + (" and others" if len(gone) > 5 else "")
        lines.append(f"{len(gone)} repositories are deleted, private or renamed: {names}.")
    return lines


def look_closer(entry: SurveyEntry, client: HubClient) -> SurveyEntry:
    """Read file list, card and headers of one repository: one call, and a few range requests.

    Raises:
        WhichloraError: The repository is gone, closed, or the Hub failed.
    """
    info = client.model_info(entry.repo_id)
    name = repo_id(info) or entry.repo_id
    readme = ""
    if any(isinstance(item, dict) and item.get("rfilename") == "README.md" for item in info.get("siblings") or []):
        try:
            readme = client.read_text(name, "README.md")
        except WhichloraError:
            readme = ""  # a gated repository shows its card data all the same
    fresh = entry_from_listing({**info, "id": name}, readme)
    files = tuple(_read_headers(fresh, client))
    fresh = with_headers(fresh, files)
    if name.lower() != entry.repo_id.lower():
        note = f"Renamed: {entry.repo_id} is now {name}."
        mirrors = tuple(dict.fromkeys((*fresh.mirrors, entry.repo_id)))
        fresh = replace(fresh, mirrors=mirrors, notes=(*fresh.notes, note))
    return fresh


def _read_headers(entry: SurveyEntry, client: HubClient) -> Iterator[WeightFile]:
    """The weight files with their headers, as far as they may be LoRAs."""
    left = _HEADERS_PER_REPOSITORY
    for file in sorted(entry.files, key=_header_order):
        size = file.size_bytes or 0
        readable = (file.name or "").lower().endswith(".safetensors") and 0 < size < 6_000_000_000
        if not readable or left == 0:
            yield file if readable or file.header else replace(file, header_error=_why_unread(file))
            continue
        left -= 1
        try:
            remote = read_remote_header(entry.repo_id, file.name or "", client=client, size_bytes=file.size_bytes)
            yield replace(file, header=facts_from(remote.header, remote.bytes_read))
        except RefusedError as error:
            yield replace(file, header_error=clean(error.reason), unusable=clean(error.reason))
        except WhichloraError as error:
            yield replace(file, header_error=clean(error.message))


def _why_unread(file: WeightFile) -> str:
    if not (file.name or "").lower().endswith(".safetensors"):
        return "no safetensors file; other formats can run code and are not opened"
    if file.size_bytes == 0:
        return "the file is empty"
    return "too large for a LoRA"


def _header_order(file: WeightFile) -> tuple[bool, bool, str]:
    """Files whose names tell an editing base first, adapters before whole models."""
    found, certain = from_name(file.name or "")
    return (not (found and certain), (file.size_bytes or 0) > 2_000_000_000, file.name or "")
