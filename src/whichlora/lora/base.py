"""Which base model a LoRA belongs to, stated as evidence with a confidence, conflicts included.

Key names and shapes tell model families apart (Qwen-Image, Qwen-Image-2.1, FLUX.1, FLUX.2, SDXL, …). They cannot
separate Qwen-Image, -Edit, -Edit-2509 and -Edit-2511, which share every shape; there, what people wrote decides, in
the order: trainer metadata, model card, file name, repository name. Nothing here touches a tensor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whichlora.lora import keys
from whichlora.lora.header import printable
from whichlora.lora.keys import ModelShape
from whichlora.types import BaseEvidence

UNKNOWN = "unknown"
QWEN_IMAGE = "Qwen/Qwen-Image"
QWEN_EDIT = "Qwen/Qwen-Image-Edit"
QWEN_EDIT_2509 = "Qwen/Qwen-Image-Edit-2509"
QWEN_EDIT_2511 = "Qwen/Qwen-Image-Edit-2511"
QWEN_LAYERED = "Qwen/Qwen-Image-Layered"
QWEN_21 = "Qwen/Qwen-Image-2.1"
FLUX1 = "black-forest-labs/FLUX.1-dev"
FLUX2 = "black-forest-labs/FLUX.2-dev"
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
Z_IMAGE = "Tongyi-MAI/Z-Image-Turbo"
WAN = "Wan-AI/Wan2.1-T2V-14B"

OTHER_FAMILIES = frozenset({QWEN_21, FLUX1, FLUX2, SDXL, SD15, Z_IMAGE, WAN})
"""Bases of other shapes, which no LoRA of the Qwen-Image family fits."""

QWEN_FAMILY = frozenset({QWEN_IMAGE, QWEN_EDIT, QWEN_EDIT_2509, QWEN_EDIT_2511, QWEN_LAYERED})
"""Bases whose shapes are the same; a LoRA of one can be applied to any, with an effect of its own."""

FLUX1_DOUBT = (
    "CONFLICT: it adapts exactly blocks 0 to 18 and only their attention, which fits FLUX.1 as well as Qwen-Image."
)
_FLUX1_DOUBLE_BLOCKS = 19

_SAYS: tuple[tuple[re.Pattern[str], str, float], ...] = (
    # In text written by people (lower case, separators as '-') → base, how surely.
    (re.compile(r"qwen-?image-?(?:edit-?)?2[.-]1(?!\d)"), QWEN_21, 1.0),
    (re.compile(r"qwen(?:-?image)?-?edit.*?(?<!\d)2511(?!\d)|(?:qwen|qie).*?(?<!\d)2511(?!\d)"), QWEN_EDIT_2511, 1.0),
    (re.compile(r"qwen(?:-?image)?-?edit.*?(?<!\d)2509(?!\d)|(?:qwen|qie).*?(?<!\d)2509(?!\d)"), QWEN_EDIT_2509, 1.0),
    (re.compile(r"qwen-?image-?edit-?plus"), QWEN_EDIT_2509, 0.9),
    (re.compile(r"qwen-?image-?layered"), QWEN_LAYERED, 1.0),
    (re.compile(r"(?<!\d)2511(?!\d)"), QWEN_EDIT_2511, 0.6),
    (re.compile(r"(?<!\d)2509(?!\d)"), QWEN_EDIT_2509, 0.6),
    (re.compile(r"qwen-?image-?edit|qwen-?edit"), QWEN_EDIT, 0.7),
    (re.compile(r"qwen-?image"), QWEN_IMAGE, 0.6),
    (re.compile(r"flux-?[.-]?2|klein"), FLUX2, 1.0),
    (re.compile(r"flux"), FLUX1, 0.9),
    (re.compile(r"z-?image"), Z_IMAGE, 1.0),
    (re.compile(r"sdxl|stable-diffusion-xl|pony|illustrious"), SDXL, 1.0),
    (re.compile(r"stable-diffusion-v1|sd-?1[.-]?5|sd15"), SD15, 1.0),
    (re.compile(r"wan-?2|wan-ai"), WAN, 1.0),
)

_MODELSPEC = {
    "qwen-image": QWEN_IMAGE, "qwen-image-edit": QWEN_EDIT, "qwen-image-edit-plus": QWEN_EDIT_2509,
    "qwen-image-edit-2509": QWEN_EDIT_2509, "qwen-image-edit-2511": QWEN_EDIT_2511, "qwen-image-layered": QWEN_LAYERED,
}

_KEY_SIGNS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    # In a stem whose dots are written as underscores → family, what was seen.
    (re.compile(r"img_mlp_(gate_layer|proj$|out$)|txt_in_(in|out)_layer|(^|_)modulation_1$"), QWEN_21,
     "single-stream Qwen-Image-2.1 layers"),
    (re.compile(r"to_qkv_mlp_proj|(double|single)_stream_modulation|ff(_context)?_linear_(in|out)"), FLUX2,
     "FLUX.2 layers"),
    (re.compile(r"noise_refiner|context_refiner|layers_\d+_(attention|feed_forward|adaln_modulation)"), Z_IMAGE,
     "Z-Image layers"),
    (re.compile(r"single_transformer_blocks|(double|single)_blocks_\d|transformer_blocks_\d+_(ff|norm1)_"), FLUX1,
     "FLUX blocks"),
    (re.compile(r"(^|_)blocks_\d+_(self_attn|cross_attn|ffn)_"), WAN, "Wan video blocks"),
    (re.compile(r"(down|up|input|output)_blocks_|mid_block_|lora_te[12]?_"), SDXL, "U-Net blocks"),
)


@dataclass(frozen=True, slots=True)
class _Claim:
    """One source's word on the base."""

    id: str
    trust: float
    sentence: str


def family_of_keys(stems: Iterable[tuple[str, int, int]]) -> tuple[str, str] | None:
    """Recognise a foreign model family by its layers.

    Args:
        stems: (stem, out_features, in_features) of every adapted weight; 0 where unknown.

    Returns:
        (base id, sentence), or None when nothing points away from Qwen-Image.
    """
    listed = [(stem.replace(".", "_").lower(), rows, columns) for stem, rows, columns in stems]
    for pattern, base, what in _KEY_SIGNS:
        hits = [(stem, rows, columns) for stem, rows, columns in listed if pattern.search(stem)]
        if hits:
            base, extra = _refine(base, listed)
            return base, f"Key '{printable(hits[0][0], 60)}' is one of {len(hits)} that name {what}{extra}."
    widths = {columns for stem, _, columns in listed if stem.endswith("attn_to_q") and "transformer_blocks" in stem}
    if widths == {4096} and not any("add_q_proj" in stem for stem, _, _ in listed):
        return QWEN_21, "Attention is 4,096 wide without a text stream, as in Qwen-Image-2.1."
    return None


def _refine(base: str, listed: list[tuple[str, int, int]]) -> tuple[str, str]:
    """Use widths where the layer names of two families agree."""
    if base == FLUX1:
        for stem, rows, columns in listed:
            if re.search(r"single_blocks_\d+_linear1$", stem) and columns and rows == 9 * columns:
                return FLUX2, " (with FLUX.2's gated width)"
            if re.search(r"double_blocks_\d+_img_attn_qkv$", stem) and columns in (4096, 6144):
                return FLUX2, f" (width {columns:,}, as in FLUX.2)"
    if base == SDXL:
        contexts = {columns for stem, _, columns in listed if re.search(r"attn2_to_[kv]$", stem)}
        if 768 in contexts:
            return SD15, " with a 768-wide text context"
    return base, ""


def weigh(
    sizes: Sequence[tuple[str, int, int]], family: tuple[str, str] | None, metadata: Mapping[str, str], *,
    shape: ModelShape | None = None, card: Mapping[str, Any] | None = None, file_name: str = "", repo: str = "",
) -> BaseEvidence:
    """Weigh shapes and every written source, and name the base.

    Args:
        sizes: (module, out_features, in_features) of every adapted weight that Qwen-Image has.
        family: Result of `family_of_keys`.
        metadata: The header's own metadata.
        shape: Sizes of the model that the file is meant for, if known.
        card: Front matter of the model card, parsed.
        file_name: Name of the file.
        repo: Repository id.
    """
    inferred = keys.infer_shape(sizes)
    matches, full_size = "", False
    if sizes and not family:
        full_size = inferred == keys.QWEN_IMAGE_20B
        matches = f"{len(sizes)} adapted weights are named as in the Qwen-Image transformer"
        if full_size:
            matches += "; their width of 3,072 is that of Qwen-Image, -Edit, -Edit-2509 and -Edit-2511 alike."
        else:
            width = f" of width {inferred.width:,}" if inferred else ""
            matches += f"{width}, which is not the size of the published 20 B models."
        if shape is not None and inferred is not None and shape.width != inferred.width:
            matches += f" The given model is {shape.width:,} wide."
    found = identify(
        family=family, matches_qwen=matches, full_size=full_size, metadata=metadata, card=card, file_name=file_name,
        repo=repo,
    )
    if full_size and _could_be_flux1(sizes) and found.confidence <= 0.3:
        return BaseEvidence(found.id, 0.1, (*found.evidence, FLUX1_DOUBT))
    return found


def _could_be_flux1(sizes: Sequence[tuple[str, int, int]]) -> bool:
    """FLUX.1's 19 double blocks have attention layers of the same names and sizes as Qwen-Image's."""
    blocks = {keys.block_index(name) for name, _, _ in sizes}
    return blocks == set(range(_FLUX1_DOUBLE_BLOCKS)) and all(
        keys.suffix(name).startswith("attn.") for name, _, _ in sizes
    )


def identify(
    *, family: tuple[str, str] | None, matches_qwen: str, full_size: bool, metadata: Mapping[str, str],
    card: Mapping[str, Any] | None = None, file_name: str = "", repo: str = "",
) -> BaseEvidence:
    """Weigh every source and name the base.

    Args:
        family: Result of `family_of_keys`: wins over everything that is written.
        matches_qwen: Sentence when keys and shapes fit the Qwen-Image architecture, else ''.
        full_size: Whether the shapes are those of the 20 B models.
        metadata: The header's own metadata.
        card: Front matter of the model card, parsed; `base_model` is read.
        file_name: Name of the file.
        repo: Repository id, such as 'owner/name'.

    Returns:
        The base, a confidence from 0 to 1, and one sentence per source; disagreeing sources are named as conflicts.
    """
    claims = [
        *_from_metadata(metadata), *_from_card(card), *_from_text("file name", file_name, 0.6),
        *_from_text("repository name", repo.rsplit("/", 1)[-1], 0.55),
    ]
    sentences = [claim.sentence for claim in claims]
    if family:
        others = sorted({claim.id for claim in claims if claim.id != family[0]})
        if others:
            sentences.append(f"CONFLICT: the keys belong to {family[0]}, whatever else says {', '.join(others)}.")
        return BaseEvidence(family[0], 0.95, (family[1], *sentences))
    lead = [matches_qwen] if matches_qwen else []
    if matches_qwen:
        impossible = [claim for claim in claims if claim.id in OTHER_FAMILIES]
        sentences += [f"CONFLICT: a source says {claim.id}, but the keys are of Qwen-Image." for claim in impossible]
        claims = [claim for claim in claims if claim.id not in OTHER_FAMILIES]
    if not claims:
        if matches_qwen:
            # The root of the family stands for 'one of them'; the low confidence says that the version is open.
            name, sure = (QWEN_IMAGE, 0.3) if full_size else (UNKNOWN, 0.0)
            return BaseEvidence(name, sure, (*lead, *sentences, "Nothing tells which Qwen-Image version it is for."))
        return BaseEvidence(UNKNOWN, 0.0, (*sentences, "Nothing tells the base model."))
    # A later source only breaks ties of trust: claims are listed in the order of trust.
    best = max(claims, key=lambda claim: claim.trust)
    confidence = best.trust
    for claim in claims:
        if claim is best:
            continue
        if claim.id == best.id:
            confidence = min(0.99, confidence + 0.05)
        elif not _is_less_exact(claim.id, best.id):
            confidence *= 0.7
            sentences.append(f"CONFLICT: sources disagree: {best.id} against {claim.id}.")
    return BaseEvidence(best.id, round(confidence, 3), (*lead, *dict.fromkeys(sentences)))


def _is_less_exact(vague: str, exact: str) -> bool:
    """Whether one name is merely the other with its version left out."""
    order = {QWEN_IMAGE: 0, QWEN_EDIT: 1, QWEN_EDIT_2509: 2, QWEN_EDIT_2511: 2, QWEN_LAYERED: 2}
    return vague in order and exact in order and order[vague] < order[exact]


def _from_metadata(metadata: Mapping[str, str]) -> list[_Claim]:
    found: list[_Claim] = []
    spec = metadata.get("modelspec.architecture", "").strip()
    if spec:
        key = spec.lower().split("/")[0]
        base = _MODELSPEC.get(key) or _says(key)[0]
        # OneTrainer writes 'Qwen-Image' whatever the version.
        vague = base == QWEN_IMAGE and any(name.startswith("ot_") for name in metadata)
        if base:
            found.append(_Claim(base, 0.4 if vague else 0.95,
                                f"Trainer metadata (modelspec.architecture) says '{printable(spec, 60)}'."))
    version = metadata.get("ss_base_model_version", "").strip().lower()
    if version:
        base, _ = _says(version.replace("_", "-"))
        # ai-toolkit writes 'qwen_image' for Qwen-Image, Edit and 2509 alike.
        trust = 0.2 if version == "qwen_image" else 0.5
        if base:
            found.append(_Claim(base, trust, f"Trainer metadata (ss_base_model_version) says '{printable(version, 60)}'"
                                + (", which is written for every version." if trust < 0.5 else ".")))
    declared = metadata.get("whichlora.base_model", "").strip()
    if declared:
        found.append(_Claim(printable(declared, 100), 0.95, f"Header metadata says '{printable(declared, 60)}'."))
    return found


def _from_card(card: Mapping[str, Any] | None) -> list[_Claim]:
    value = (card or {}).get("base_model")
    values = value if isinstance(value, list) else [value]
    found: list[_Claim] = []
    for item in values:
        if isinstance(item, str) and item.strip():
            base, sure = _says(item)
            exact = item.strip() in QWEN_FAMILY
            if base:
                trust = 0.85 if exact else 0.85 * max(sure, 0.7)
                found.append(_Claim(base, trust, f"The model card's base_model says '{printable(item, 80)}'."))
    return found


def _from_text(source: str, text: str, trust: float) -> list[_Claim]:
    base, sure = _says(text)
    if not base:
        return []
    return [_Claim(base, trust * sure, f"The {source} '{printable(text, 80)}' points to {base}.")]


def _says(text: str) -> tuple[str, float]:
    """Base that a text names, and how surely; ('', 0) when it names none."""
    plain = re.sub(r"[\s_]+", "-", text.strip().lower())
    for pattern, base, sure in _SAYS:
        if pattern.search(plain):
            return base, sure
    return "", 0.0
