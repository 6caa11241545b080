"""Turn a LoRA file, or the header of a remote one, into the facts that people and later stages read.

Reads the header and the alpha scalars, never a matrix. It does not refuse what it can describe: a FLUX LoRA or a full
model is described as such, with its keys unmatched. Only what is no sound safetensors file is refused here; whether
a file may be used is the static gate's to say (`static.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whichlora.lora import base, keys
from whichlora.lora.header import Entry, Header, TensorFile, read_header
from whichlora.lora.keys import ModelShape
from whichlora.lora.structure import Adapted, Structure, build, target_modules
from whichlora.types import BaseEvidence, LoraFile, LoraModule

FLUX1_DOUBLE_BLOCKS = 19


def inspect_lora(
    path: str | Path, shape: ModelShape | None = None, *, card: Mapping[str, Any] | None = None, repo: str = "",
    hash_file: bool = False,
) -> LoraFile:
    """Inspect a local file.

    Args:
        path: A safetensors file.
        shape: Sizes of the model it is meant for; without, they are inferred for the base evidence alone.
        card: Front matter of its model card, already parsed.
        repo: Repository it came from, 'owner/name'.
        hash_file: Also compute the file's SHA-256, which reads the whole file.

    Returns:
        The facts, including keys that match nothing.

    Raises:
        UserError: There is no such file.
        RefusedError: It is no sound safetensors file.
    """
    path = Path(path)
    header = read_header(path)
    with TensorFile(path, header) as tensors:
        structure = build(header, path=path, read_scalar=lambda entry: _scalar(tensors, entry))
    digest = sha256_of(path) if hash_file else None
    return describe(header, structure, path.name, shape=shape, card=card, repo=repo, path=str(path), sha256=digest)


def inspect_header(
    header: Header, name: str, shape: ModelShape | None = None, *, card: Mapping[str, Any] | None = None,
    repo: str = "",
) -> LoraFile:
    """Inspect a header that was read by a range request; alphas stay unread and a note says so."""
    return describe(header, build(header), name, shape=shape, card=card, repo=repo)


def describe(
    header: Header, structure: Structure, name: str, *, shape: ModelShape | None = None,
    card: Mapping[str, Any] | None = None, repo: str = "", path: str = "", sha256: str | None = None,
) -> LoraFile:
    """Assemble a `LoraFile` from a structure that was already built."""
    modules = tuple(_module(change) for change in structure.adapted)
    alphas = {module.alpha for module in modules if module.kind not in ("diff", "bias")}
    return LoraFile(
        name=name, path=path, sha256=sha256, size_bytes=header.file_bytes, layout=structure.recognised.name,
        rank=max((module.rank for module in modules), default=0),
        alpha=alphas.pop() if len(alphas) == 1 else None,
        target_modules=target_modules(structure.adapted), modules=modules,
        base=_base(header, structure, name, shape, card, repo),
        metadata=dict(header.metadata), unmatched=structure.unmatched, notes=structure.notes,
    )


def weight_sizes(structure: Structure) -> list[tuple[str, int, int]]:
    """(module, out_features, in_features) of every two-dimensional change."""
    return [
        (change.name, change.shape[0], change.shape[1])
        for change in structure.adapted if change.parameter == "weight" and len(change.shape) == 2
    ]


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a whole file, read in pieces of 1 MB."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _scalar(tensors: TensorFile, entry: Entry) -> float:
    return float(tensors.read(entry).reshape(-1)[0])


def _module(change: Adapted) -> LoraModule:
    shape = change.shape if len(change.shape) == 2 else (*change.shape[:1], 0) if change.shape else (0, 0)
    return LoraModule(
        name=change.name, kind="dora" if change.dora else change.kind, rank=change.rank, alpha=change.alpha,
        scale=change.scale, out_features=shape[0], in_features=shape[1],
    )


def _base(
    header: Header, structure: Structure, name: str, shape: ModelShape | None, card: Mapping[str, Any] | None,
    repo: str,
) -> BaseEvidence:
    sizes = weight_sizes(structure)
    inferred = keys.infer_shape(sizes)
    matches, full_size = "", False
    if structure.adapted and not structure.family:
        full_size = inferred == keys.QWEN_IMAGE_20B
        matches = f"{len(structure.adapted)} adapted weights are named as in the Qwen-Image transformer"
        if full_size:
            matches += "; their width of 3,072 is that of Qwen-Image, -Edit, -Edit-2509 and -Edit-2511 alike."
        else:
            width = f" of width {inferred.width:,}" if inferred else ""
            matches += f"{width}, which is not the size of the published 20 B models."
        if shape is not None and inferred is not None and shape.width != inferred.width:
            matches += f" The given model is {shape.width:,} wide."
    found = base.identify(
        family=structure.family, matches_qwen=matches, full_size=full_size, metadata=header.metadata, card=card,
        file_name=name, repo=repo,
    )
    if full_size and _could_be_flux1(sizes) and found.confidence <= 0.3:
        return BaseEvidence(found.id, 0.1, (*found.evidence, FLUX1_DOUBT))
    return found


FLUX1_DOUBT = (
    "CONFLICT: it adapts exactly blocks 0 to 18 and only their attention, which fits FLUX.1 as well as Qwen-Image."
)


def _could_be_flux1(sizes: list[tuple[str, int, int]]) -> bool:
    """FLUX.1's 19 double blocks have attention layers of the same names and sizes as Qwen-Image's."""
    blocks = {keys.block_index(name) for name, _, _ in sizes}
    return blocks == set(range(FLUX1_DOUBLE_BLOCKS)) and all(
        keys.suffix(name).startswith("attn.") for name, _, _ in sizes
    )
