"""Turn a checked header into survey facts: the one place where the survey leans on the LoRA reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from whichlora.lora.header import Header
from whichlora.survey import bases
from whichlora.survey.entry import HeaderFacts
from whichlora.survey.text import clean
from whichlora.survey.training import from_metadata

if TYPE_CHECKING:
    from whichlora.lora.structure import Structure

_WIDTH = 3072
"""Features of the residual stream of Qwen-Image and its editing line."""
_METADATA_LIMIT = 60


def facts_from(header: Header, bytes_read: int) -> HeaderFacts:
    """What a header says, without looking at a tensor.

    Args:
        header: A header that passed `parse_header`.
        bytes_read: Bytes that were transferred for it.
    """
    from whichlora.lora.structure import build

    structure = build(header)
    base_id, confidence, evidence = _base(structure, header.metadata)
    return HeaderFacts(
        layout=structure.recognised.name,
        rank=max((adapted.rank for adapted in structure.adapted), default=0),
        alpha=from_metadata(header.metadata).alpha,
        alpha_stored=any(name.endswith(".alpha") for name in header.entries),
        modules=len({adapted.name for adapted in structure.adapted}),
        base_id=base_id,
        base_confidence=confidence,
        base_evidence=evidence,
        metadata=cleaned(header.metadata),
        bytes_read=bytes_read,
        refused=_refusal(structure),
        declares_base=declared_base(header.metadata) is not None,
    )


def _base(structure: Structure, metadata: Mapping[str, str]) -> tuple[str, float, tuple[str, ...]]:
    """Base, confidence and evidence: foreign layers prove another family; else the metadata, if they name a version."""
    if structure.family is not None:
        return structure.family[0], 0.95, (clean(structure.family[1]),)
    declared = declared_base(metadata)
    if declared is not None:
        said = metadata.get("modelspec.architecture") or metadata.get("ss_base_model_version", "")
        return declared, 0.95, (f"its metadata say {clean(said, limit=60)}",)
    if structure.adapted:
        line = "its keys are those of the Qwen-Image architecture, and nothing in it names a version"
        return bases.QWEN_IMAGE, 0.3, (line,)
    return "unknown", 0.0, ()


def _refusal(structure: Structure) -> str:
    """Why the file is of no use on a 20 B Qwen-Image model; '' when nothing speaks against it."""
    if structure.problems:
        return clean(structure.problems[0])
    if not structure.adapted:
        return clean(structure.recognised.problem or "it adapts no module that this model has")
    for adapted in structure.adapted:
        if adapted.name.endswith("attn.to_q") and len(adapted.shape) == 2 and adapted.shape[1] != _WIDTH:
            return f"its matrices are {adapted.shape[1]:,} wide, and this model is {_WIDTH:,} wide"
    return ""


def cleaned(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata as harmless one-line texts; the longest and the most are cut."""
    items = list(metadata.items())[:_METADATA_LIMIT]
    return {clean(name, limit=80): clean(value, limit=2000) for name, value in items}


def declared_base(metadata: Mapping[str, str]) -> str | None:
    """Base whose version the metadata name themselves; None where a trainer writes the same for every version.

    ai-toolkit writes 'qwen_image' for Qwen-Image, Edit and 2509 alike, and OneTrainer 'Qwen-Image/lora', so these
    declare nothing.
    """
    architecture = metadata.get("modelspec.architecture", "")
    if architecture and "ot_revision" not in metadata and "ot_config" not in metadata:
        return bases.from_architecture(architecture)
    version = metadata.get("ss_base_model_version", "")
    found, certain = bases.from_name(version)
    return found if found and certain else None
