"""The catalogue bundled with the package: what was known of the ecosystem on the day it was gathered.

It is read, never written. Unknown fields are null there and stay unknown here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from whichlora.survey.entry import Requirement, Settings, SurveyEntry, Training, WeightFile

SCHEMA = "whichlora.catalogue/1"


@cache
def _document() -> dict[str, Any]:
    text = (files("whichlora.survey") / "catalog.json").read_text(encoding="utf-8")
    document = json.loads(text)
    if document.get("schema") != SCHEMA:
        raise ValueError(f"catalog.json has schema {document.get('schema')!r}, expected {SCHEMA!r}")
    return document


def gathered() -> str:
    """Date of the catalogue, ISO."""
    return str(_document()["gathered"])


@cache
def load() -> tuple[SurveyEntry, ...]:
    """All bundled entries, in the catalogue's order."""
    return tuple(entry_from(item) for item in _document()["entries"])


def find(repo_id: str) -> SurveyEntry | None:
    """The bundled entry of a repository or of one of its mirrors."""
    return _by_name().get(repo_id.lower())


@cache
def _by_name() -> dict[str, SurveyEntry]:
    named = {mirror.lower(): entry for entry in load() for mirror in entry.mirrors}
    return {**named, **{entry.repo_id.lower(): entry for entry in load()}}


def entry_from(item: Mapping[str, Any]) -> SurveyEntry:
    """Build an entry from one item of the catalogue."""
    declared = item["bases_per_file"] or ([item["base_model"]] if item["base_model"] else [])
    training = dict(item["training"])
    training["basis"] = tuple(training.get("basis") or ())
    return SurveyEntry(
        repo_id=item["repo_id"],
        kind=item["kind"],
        card_bases=tuple(declared),
        base_source="catalogue",
        base_per_file=bool(item["bases_per_file"]),
        specialty=tuple(item["specialty"]),
        inputs=item["inputs"],
        files=tuple(
            WeightFile(
                name=weight["name"], size_bytes=weight["size_bytes"], size_mb=weight["size_mb"],
                base_model=weight.get("base_model"), preferred=weight.get("preferred", False),
            )
            for weight in item["files"]
        ),
        prompts=tuple(item["prompts"]),
        settings=Settings(**item["recommended"]),
        requires=tuple(Requirement(need["repo_id"], need["file"]) for need in item["requires"]),
        training=Training(**training),
        licence=item["licence"],
        licence_source=item["licence_source"],
        last_update=item["last_update"],
        downloads=item["downloads_30d"],
        likes=item["likes"],
        mirrors=tuple(item["mirrors"]),
        notes=tuple(item["notes"]),
        sources=tuple(item["sources"]),
        inspected=bool(item["files"]),
    )


def known_authors() -> tuple[str, ...]:
    """Accounts whose catalogued work concerns a character, sorted: their uploads are searched by name."""
    wanted = {"identity", "camera-angle", "relight", "consistency", "pose-transfer", "subject", "light-transfer"}
    authors = {
        entry.repo_id.split("/")[0] for entry in load() if entry.kind == "lora" and wanted & set(entry.specialty)
    }
    return tuple(sorted(authors))
