"""Survey LoRA files that already lie on this machine, the same way as those on the Hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from whichlora.errors import RefusedError, UserError
from whichlora.lora.header import read_header
from whichlora.survey import catalog
from whichlora.survey.bases import canonical
from whichlora.survey.entry import SurveyEntry, WeightFile
from whichlora.survey.headerfacts import facts_from
from whichlora.survey.listing import with_catalogue, with_headers
from whichlora.survey.places import LORAS, FoundFile, Places, files_in
from whichlora.survey.relevance import specialty_from
from whichlora.survey.text import clean

_LARGEST_LORA_BYTES = 6_000_000_000


def survey_local(places: Places, progress: Callable[[int, int], None] | None = None) -> list[SurveyEntry]:
    """One entry for each local file that may be a LoRA.

    Files of LoRA folders and of the Hub's cache are read; transformers, encoders and VAEs are passed over.
    """
    candidates = [file for file in files_in(places) if _may_be_lora(file)]
    entries: list[SurveyEntry] = []
    for done, file in enumerate(candidates, 1):
        entries.append(entry_from_file(file))
        if progress is not None:
            progress(done, len(candidates))
    return entries


def entry_from_file(file: FoundFile) -> SurveyEntry:
    """Facts of one local file: header, adapter_config.json beside it, and the catalogue if its repository is known."""
    weight = _read(file)
    known = catalog.find(file.repo_id) if file.repo_id else _by_name(file.path.name)
    name = file.repo_id or str(file.path)
    entry = SurveyEntry(
        repo_id=file.repo_id if file.repo_id and known else name,
        kind="lora" if weight.header is not None and not weight.header.refused else "unknown",
        card_bases=_adapter_base(file.path),
        specialty=specialty_from(file.path.stem, file.repo_id or "") if known is None else known.specialty,
        files=(weight,), sources=(f"{file.place}: {file.path}",), inspected=True,
    )
    if known is not None:
        entry = with_catalogue(replace(entry, repo_id=known.repo_id))
        entry = replace(entry, repo_id=name, files=(weight,))
    return with_headers(entry, (weight,))


def _may_be_lora(file: FoundFile) -> bool:
    if file.path.suffix.lower() != ".safetensors" or file.size_bytes > _LARGEST_LORA_BYTES:
        return False
    return file.kind in {LORAS, "unknown"}


def _read(file: FoundFile) -> WeightFile:
    name = file.file or str(file.path)
    weight = WeightFile(name, file.size_bytes, sha256=file.sha256)
    try:
        header = read_header(file.path)
    except RefusedError as error:
        return replace(weight, header_error=clean(error.reason), unusable=clean(error.reason))
    except (UserError, OSError) as error:
        return replace(weight, header_error=clean(error))
    return replace(weight, header=facts_from(header, header.header_bytes))


def _by_name(name: str) -> SurveyEntry | None:
    """The catalogue entry that lists a file of this name, if only one does and the name is not a common one."""
    if name in {"model.safetensors", "adapter_model.safetensors", "pytorch_lora_weights.safetensors"}:
        return None
    hits = [
        entry for entry in catalog.load()
        if any((file.name or "").rsplit("/", 1)[-1] == name for file in entry.files)
    ]
    return hits[0] if len(hits) == 1 else None


def _adapter_base(path: Path) -> tuple[str, ...]:
    """Base that a PEFT save declares beside the file."""
    beside = path.parent / "adapter_config.json"
    try:
        if beside.stat().st_size > 1_000_000:
            return ()
        declared = json.loads(beside.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        return ()
    if not isinstance(declared, str) or not declared.strip():
        return ()
    return (canonical(clean(declared, limit=160)),)
