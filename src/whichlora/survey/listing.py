"""Turn what the Hub lists of a repository into a survey entry. Plain data in, facts out; asks nobody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from whichlora.survey import catalog
from whichlora.survey.bases import EDIT_LINE, QWEN_IMAGE, canonical
from whichlora.survey.card import CardFacts, read_card
from whichlora.survey.entry import Requirement, SurveyEntry, WeightFile
from whichlora.survey.relevance import specialty_from
from whichlora.survey.requires import lightning
from whichlora.survey.text import clean
from whichlora.survey.training import from_file_name, from_metadata, merge, with_rank

_WEIGHTS = re.compile(r"\.(safetensors|gguf|bin|pt|pth|ckpt)$", re.IGNORECASE)
_FULL_MODEL_BYTES = 6_000_000_000
_NOT_ADAPTER = re.compile(r"base_model:(quantized|merge):|\bgguf\b|nunchaku|svdq", re.IGNORECASE)


def concerns(item: Mapping[str, Any]) -> bool:
    """True when a listed repository has to do with the editing line of Qwen-Image, or is known from the catalogue."""
    name = repo_id(item)
    text = " ".join([name, *tags(item)]).lower()
    if re.search(r"qwen[\W_]?(?:image[\W_]?)?edit|qie[\W_]|\bqe[\W_]2\d{3}|base_model:[\w:]*qwen/qwen-image", text):
        return True
    return catalog.find(name) is not None


def repo_id(item: Mapping[str, Any]) -> str:
    """Id of a listed repository, '' if it has none that is sound."""
    name = item.get("id") or item.get("modelId") or ""
    return name if isinstance(name, str) and re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", name) else ""


def tags(item: Mapping[str, Any]) -> list[str]:
    """Tags of a listed repository."""
    found = item.get("tags")
    return [clean(tag, limit=160) for tag in found[:200] if isinstance(tag, str)] if isinstance(found, list) else []


def entry_from_listing(item: Mapping[str, Any], readme: str = "") -> SurveyEntry:
    """Facts of a repository by its listing (and card text), before any header is read.

    Args:
        item: One element of the Hub's list of models, or its answer for one model.
        readme: README.md, when it was read.
    """
    name = repo_id(item)
    labels = tags(item)
    declared = item.get("cardData")
    card = read_card(readme, declared if isinstance(declared, dict) else None)
    files = _files(item)
    bases = _bases(card, labels)
    names = " ".join(file.name or "" for file in files)
    said = (" ".join(card.tags), names, " ".join(card.prompts), card.headline)
    specialty = specialty_from(name.split("/", 1)[-1], *said)
    entry = SurveyEntry(
        repo_id=name, kind=_kind(name, labels, card, files), card_bases=bases, specialty=specialty, files=files,
        prompts=card.prompts, settings=card.settings, requires=_requires(card, bases), training=card.training,
        licence=card.licence or _licence_tag(labels), licence_source="card" if card.licence else None,
        last_update=_date(item.get("lastModified")), downloads=_count(item.get("downloads")),
        likes=_count(item.get("likes")), gated=bool(item.get("gated")), sources=("the Hub",),
    )
    return with_catalogue(entry)


def with_catalogue(entry: SurveyEntry) -> SurveyEntry:
    """Fill from the bundled catalogue what the Hub does not say; what it says is never overwritten."""
    known = catalog.find(entry.repo_id)
    if known is None:
        return entry
    training, _ = merge(("card", entry.training), ("catalogue", known.training))
    settings = replace(
        known.settings,
        **{
            name: value
            for name in ("scale", "num_inference_steps", "true_cfg_scale")
            if (value := getattr(entry.settings, name)) is not None
        },
    )
    return replace(
        entry,
        kind=known.kind if known.kind != "lora" or entry.kind == "unknown" else entry.kind,
        card_bases=entry.card_bases or known.card_bases,
        base_source=entry.base_source if entry.card_bases else known.base_source,
        base_per_file=known.base_per_file,
        specialty=known.specialty or entry.specialty,
        inputs=known.inputs,
        files=_as_known(entry.files, known.files),
        prompts=entry.prompts or known.prompts,
        settings=settings,
        requires=entry.requires or known.requires,
        training=training,
        licence=entry.licence or known.licence,
        licence_source=entry.licence_source or (f"catalogue: {known.licence_source}" if known.licence else None),
        last_update=entry.last_update or known.last_update,
        downloads=entry.downloads if entry.downloads is not None else known.downloads,
        likes=entry.likes if entry.likes is not None else known.likes,
        mirrors=known.mirrors, notes=known.notes, sources=(*entry.sources, "bundled catalogue"),
    )


def _as_known(files: tuple[WeightFile, ...], known: tuple[WeightFile, ...]) -> tuple[WeightFile, ...]:
    """The Hub's files, with what the catalogue knows of the same names; the catalogue's when the Hub lists none."""
    if not files:
        return known
    facts = {file.name: file for file in known if file.name is not None}
    return tuple(
        replace(file, base_model=facts[file.name].base_model, preferred=facts[file.name].preferred)
        if file.name in facts else file
        for file in files
    )


def with_headers(entry: SurveyEntry, files: tuple[WeightFile, ...]) -> SurveyEntry:
    """Join training facts of header, card and file names, the header first, and tell where they disagree."""
    read = next((file for file in files if file.header is not None and not file.header.refused), None)
    sources = [("card", entry.training)]
    if read is not None and read.header is not None:
        sources.insert(0, ("header", with_rank(from_metadata(read.header.metadata), read.header.rank)))
    named = read or (files[0] if len(files) == 1 else None)
    if named is not None and named.name is not None:
        sources.append(("file name", from_file_name(named.name)))
    training, conflicts = merge(*sources)
    return replace(entry, files=files, training=training, conflicts=conflicts, inspected=True)


def _files(item: Mapping[str, Any]) -> tuple[WeightFile, ...]:
    """Weight files with sizes and hashes where the answer has them; names in their own spelling."""
    siblings = item.get("siblings")
    found: list[WeightFile] = []
    for sibling in siblings if isinstance(siblings, list) else []:
        name = sibling.get("rfilename") if isinstance(sibling, dict) else None
        if not isinstance(name, str) or not _WEIGHTS.search(name):
            continue
        declared = sibling.get("lfs")
        lfs: dict[str, Any] = declared if isinstance(declared, dict) else {}
        size = _count(sibling.get("size")) if sibling.get("size") is not None else _count(lfs.get("size"))
        digest = lfs.get("sha256") or lfs.get("oid")
        sound = isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest)
        found.append(WeightFile(name, size, sha256=digest if sound else None))
    return tuple(found)


def _kind(name: str, labels: list[str], card: CardFacts, files: tuple[WeightFile, ...]) -> str:
    low = f"{name} {' '.join(labels)}".lower()
    if "controlnet" in low:
        return "controlnet"
    adapter = "lora" in low or "base_model:adapter:" in low or card.relation == "adapter"
    if not adapter and (_NOT_ADAPTER.search(low) or card.relation in {"quantized", "merge"}):
        return "full"
    sizes = [file.size_bytes for file in files if file.size_bytes is not None]
    if sizes and min(sizes) > _FULL_MODEL_BYTES:
        return "full"
    sharded = any(re.search(r"-\d{5}-of-\d{5}\.safetensors$", file.name or "") for file in files)
    if sharded and not adapter:
        return "full"
    return "lora" if adapter else "unknown"


def _bases(card: CardFacts, labels: list[str]) -> tuple[str, ...]:
    """Declared bases; the Hub's own tags serve when the card's YAML is missing."""
    if card.base_models:
        return card.base_models
    tagged = [tag.split(":", 2)[-1] for tag in labels if tag.startswith("base_model:")]
    return tuple(dict.fromkeys(base for base in tagged if "/" in base))


def _requires(card: CardFacts, bases: tuple[str, ...]) -> tuple[Requirement, ...]:
    if not card.lightning:
        return ()
    known = [base for base in map(canonical, bases) if base in (*EDIT_LINE, QWEN_IMAGE)]
    need = lightning(known[0] if len(known) == 1 else None, card.settings.num_inference_steps)
    return (replace(need, file=card.lightning_file or need.file),)


def _licence_tag(labels: list[str]) -> str | None:
    return next((tag.split(":", 1)[1] for tag in labels if tag.startswith("license:")), None)


def _date(value: Any) -> str | None:
    return value[:10] if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d", value) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
