"""What is new since the last look: pure comparison of a survey with a suite and with what was decided before.

The memory is one JSON file of the project; rows that were added lie beside the suite in its own words, and the user's
own file is never rewritten. Nothing is fetched or run here.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from whichlora.errors import ProjectError, SuiteError
from whichlora.plan.proposal import Proposal, propose
from whichlora.suite.combinations import SCHEMA as ROWS_SCHEMA
from whichlora.suite.combinations import load_combinations
from whichlora.suite.schema import CandidateSpec, Suite
from whichlora.survey.names import local_name, parse_reference

STATE_NAME = "watch.json"
ROWS_NAME = "watched.yaml"
SCHEMA = "whichlora.watch-state/1"
_HEADER = """\
# Written by 'whichlora watch': LoRAs that were found, fetched and let through the gate after the suite was written.
# Edit it, move rows into whichlora.yaml, or delete it; pictures that were made stay.
"""
Fate = Literal["added", "refused", "known"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a file that was found once."""

    fate: Fate
    """'added' to the matrix, 'refused' for good, or 'known' already when watching began."""
    name: str = ""
    """Its row, when it was added."""
    reason: str = ""
    """Why it was refused."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a project remembers between looks."""

    seen: Mapping[str, Seen] = field(default_factory=dict[str, Seen])
    """By `Proposal.key`."""

    def with_seen(self, key: str, seen: Seen) -> Memory:
        """The memory with one more file."""
        return replace(self, seen={**self.seen, key: seen})

    def joined(self, newer: Memory) -> Memory:
        """Both memories; of what both know, the newer one's."""
        return replace(self, seen={**self.seen, **newer.seen})


def load_memory(folder: Path) -> Memory:
    """The project's memory; empty before the first look.

    Raises:
        ProjectError: The file is damaged; looking again with a lost memory could test everything anew.
    """
    path = folder / STATE_NAME
    if not path.is_file():
        return Memory()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']!r}")
        return Memory({str(key): Seen(**value) for key, value in data["seen"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProjectError(f"'{path}' cannot be read ({error}).",
                           fix="Delete it to look at everything anew, or put back a copy.") from error


def save_memory(folder: Path, memory: Memory) -> bool:
    """Write the memory, whole or not at all; returns False when nothing changed."""
    text = json.dumps({"schema": SCHEMA, "seen": {key: asdict(seen) for key, seen in sorted(memory.seen.items())}},
                      ensure_ascii=False, indent=1) + "\n"
    path = folder / STATE_NAME
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(text, encoding="utf-8", newline="\n")
    draft.replace(path)
    return True


def find_new(
    entries: Iterable[Mapping[str, Any]], suite: Suite, memory: Memory, *, lists: Collection[str] = ("must", "should"),
    present: Mapping[str, str] | None = None,
) -> tuple[list[Proposal], list[str]]:
    """Files of a survey that belong into the matrix and were never looked at.

    Args:
        entries: The survey document's `entries`.
        suite: The suite with everything that was added before.
        memory: What was decided before.
        lists: Lists of the survey that count.
        present: File name → SHA-256 of what is in the matrix already; a known file under another name is not new.

    Returns:
        Proposals in the survey's order, and sentences on entries that name no single file, and on new uploads under the
        name of a row, whose pictures were made with the old one.
    """
    present = present or {}
    rows = _references(suite)
    found: list[Proposal] = []
    unclear: list[str] = []
    known = {key.partition("@")[0] for key in memory.seen}
    growing = suite
    for entry in entries:
        if entry.get("verdict") != "compatible" or entry.get("list") not in lists:
            continue
        proposal = propose(entry, growing)
        if proposal is None:
            unclear.append(f"{entry.get('repo_id')}: several files could be meant, or none is named.")
            continue
        place = f"{proposal.repo_id}:{proposal.file}"
        # Without a hash nothing tells a new upload from the old one, so the same name counts as the same file.
        seen = proposal.key in memory.seen or (proposal.sha256 is None and place in known)
        measured = present.get(local_name(proposal.repo_id, proposal.file))
        if place in rows and None not in (measured, proposal.sha256) and measured != proposal.sha256:
            unclear.append(f"{place} has a new upload; its row was measured with the old one, and stays as it is. To "
                           "test the new one, fetch it by hand and name it as a row of its own.")
        if seen or place in rows or (proposal.sha256 is not None and proposal.sha256 in present.values()):
            continue
        found.append(proposal)
        growing = growing.model_copy(update={"candidates": [*growing.candidates, proposal.spec]})
    return found, unclear


def _references(suite: Suite) -> set[str]:
    """Every 'owner/name:file' that the suite names."""
    stacks = [row.loras for row in suite.candidates] + [spec.loras for spec in suite.samplers.values() if spec.loras]
    found: set[str] = set()
    for stack in stacks:
        for term in stack.split(" + "):
            for text in (term.strip(), term.strip().rpartition(":")[0]):
                reference = parse_reference(text)
                if reference is not None and reference.file is not None:
                    found.add(f"{reference.repo_id}:{reference.file}")
    return found


def load_rows(folder: Path) -> list[CandidateSpec]:
    """Rows that watching has added.

    Raises:
        SuiteError: The file was edited into something else.
    """
    return load_combinations(folder / ROWS_NAME)


def save_rows(folder: Path, rows: Iterable[CandidateSpec]) -> None:
    """Write the rows that watching has added, whole or not at all; without rows the file is removed."""
    body = [row.model_dump(exclude_defaults=True, exclude_none=True) for row in rows]
    path = folder / ROWS_NAME
    if not body:
        path.unlink(missing_ok=True)
        return
    draft = path.with_name(f".{path.name}.part")
    text = yaml.safe_dump({"schema": ROWS_SCHEMA, "candidates": body}, allow_unicode=True, sort_keys=False, width=110)
    draft.write_text(_HEADER + text, encoding="utf-8", newline="\n")
    draft.replace(path)


def read_catalogue(path: Path) -> list[dict[str, Any]]:
    """Entries of a saved survey.

    Raises:
        SuiteError: It is none.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not data["schema"].startswith("whichlora.survey/"):
            raise ValueError("another schema")
        return [entry for entry in data["entries"] if isinstance(entry, dict)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise SuiteError(f"'{path}' is no saved survey ({why}).",
                         fix="Write one with: whichlora survey --save FILE") from error
