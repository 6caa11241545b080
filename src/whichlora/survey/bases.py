"""Which base model a name means, and how two bases stand to each other. Names only; headers are read by `lora`.

Qwen-Image, Edit, Edit-2509 and Edit-2511 have the same tensor shapes, so a LoRA of one loads on the other without
saying anything; only what people wrote tells them apart.
"""

from __future__ import annotations

import re
from typing import Literal

QWEN_IMAGE = "Qwen/Qwen-Image"
EDIT = "Qwen/Qwen-Image-Edit"
EDIT_2509 = "Qwen/Qwen-Image-Edit-2509"
EDIT_2511 = "Qwen/Qwen-Image-Edit-2511"
QWEN_21 = "Qwen/Qwen-Image-2.1"

EDIT_LINE = (EDIT, EDIT_2509, EDIT_2511)
"""Editing bases with the same shapes, oldest first."""
SAME_SHAPES = frozenset({QWEN_IMAGE, "Qwen/Qwen-Image-2512", *EDIT_LINE})
"""Bases whose LoRAs load on one another."""

Relation = Literal["same", "older", "newer", "generation", "other"]

_CANONICAL = {name.lower(): name for name in (QWEN_IMAGE, "Qwen/Qwen-Image-2512", *EDIT_LINE, QWEN_21)}
_FOREIGN = (
    (r"flux\W?2|klein", "FLUX.2"),
    (r"flux|kontext", "FLUX.1"),
    (r"z[\W_]?image", "Z-Image"),
    (r"sdxl|stable[\W_]diffusion[\W_]xl", "SDXL"),
    (r"stable[\W_]diffusion|\bsd[\W_]?[13]", "Stable Diffusion"),
    (r"\bwan[\W_]?2", "Wan 2"),
    (r"hunyuan", "Hunyuan"),
    (r"\bkrea", "Krea"),
    (r"qwen[\W_]?image[\W_]?2[._]1|qwen2[._]1|qwen[\W_]?image21", QWEN_21),
)


def canonical(declared: str) -> str:
    """Spelling of a declared base as the Hub has it; an unknown id comes back unchanged.

    Quantised, repacked and mirrored copies of a base count as that base.
    """
    known = _CANONICAL.get(declared.strip().lower())
    if known:
        return known
    found, certain = from_name(declared)
    return found if found and certain else declared.strip()


def from_name(text: str) -> tuple[str | None, bool]:
    """Read a base from a file, repository or architecture name.

    Returns:
        The base, and whether the name tells the version: 'Qwen-Image-Edit' alone may be any of the line, so it gives
        (EDIT, False). (None, False) when nothing is recognised.
    """
    low = text.lower()
    qwen = re.search(r"qwen|qie|\bqe[\W_]", low) is not None
    for pattern, base in _FOREIGN:
        if re.search(pattern, low) and not (qwen and base in {"FLUX.1", "Stable Diffusion", "Krea"}):
            return base, True
    if re.search(r"(?<!\d)2511(?!\d)", low):
        return EDIT_2511, True
    if re.search(r"(?<!\d)2509(?!\d)|edit[\W_]?plus", low):
        return EDIT_2509, True
    if qwen and re.search(r"edit|qie", low):
        return EDIT, False
    if re.search(r"qwen[\W_]?image", low):
        return QWEN_IMAGE, False
    return None, False


def from_architecture(value: str) -> str | None:
    """Base that a `modelspec.architecture` value names with its version, such as 'Qwen-Image-Edit-Plus/lora'."""
    head = value.split("/")[0].strip().lower()
    exact = {
        "qwen-image": QWEN_IMAGE, "qwen-image-edit": EDIT, "qwen-image-edit-plus": EDIT_2509,
        "qwen-image-edit-2509": EDIT_2509, "qwen-image-edit-2511": EDIT_2511, "qwen-image-2.1": QWEN_21,
    }
    return exact.get(head) or (from_name(head)[0] if from_name(head)[1] else None)


def relation(trained: str, target: str) -> Relation:
    """How a LoRA's base stands to the base the user works on.

    Returns:
        'same'; 'older' or 'newer' of the editing line (loads, effect unproven); 'generation' for the text-to-image
        sibling (loads, not made for editing); 'other' for another architecture (cannot load).
    """
    trained, target = canonical(trained), canonical(target)
    if trained == target:
        return "same"
    if trained not in SAME_SHAPES or target not in SAME_SHAPES:
        return "other"
    if trained in EDIT_LINE and target in EDIT_LINE:
        return "older" if EDIT_LINE.index(trained) < EDIT_LINE.index(target) else "newer"
    return "generation"


def short(base: str) -> str:
    """Name of a base for tables: without the owner and the common words."""
    names = {EDIT: "Edit", EDIT_2509: "2509", EDIT_2511: "2511", QWEN_IMAGE: "Qwen-Image", QWEN_21: "2.1"}
    return names.get(base, base.rsplit("/", 1)[-1])
