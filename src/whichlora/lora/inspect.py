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

from whichlora.lora import base
from whichlora.lora.header import Header, TensorFile, read_header
from whichlora.lora.keys import ModelShape
from whichlora.lora.structure import (
    Adapted,
    Structure,
    build,
    load_structure,
    shared_alpha,
    target_modules,
    weight_sizes,
)
from whichlora.types import LoraFile, LoraModule


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
        structure = load_structure(tensors)
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
    return LoraFile(
        name=name, path=path, sha256=sha256, size_bytes=header.file_bytes, layout=structure.recognised.name,
        rank=max((module.rank for module in modules), default=0),
        alpha=shared_alpha(structure.adapted),
        target_modules=target_modules(structure.adapted), modules=modules,
        base=base.weigh(
            weight_sizes(structure.adapted), structure.family, header.metadata, shape=shape, card=card, file_name=name,
            repo=repo,
        ),
        metadata=dict(header.metadata), unmatched=structure.unmatched, notes=structure.notes,
    )


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a whole file, read in pieces of 1 MB."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _module(change: Adapted) -> LoraModule:
    shape = change.shape if len(change.shape) == 2 else (*change.shape[:1], 0) if change.shape else (0, 0)
    return LoraModule(
        name=change.name, kind="dora" if change.dora else change.kind, rank=change.rank, alpha=change.alpha,
        scale=change.scale, out_features=shape[0], in_features=shape[1],
    )
