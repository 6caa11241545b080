"""Step 1 of the load gate: what a file alone can tell, without a model and without torch.

Everything a loader would have to swallow is checked here: names, pairs, ranks, shapes against the model, finite values,
and that the change is not zero. Matrices are streamed from the mapped file in pieces, and ‖B·A‖ comes from the small
Gram matrices BᵀB and AAᵀ, so that memory stays far below 256 MB whatever the file claims. Whether the change does
anything to a picture is for the effect probe to say, not for this module.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import RefusedError
from whichlora.lora import dtypes, keys
from whichlora.lora.base import FLUX1_DOUBT
from whichlora.lora.header import Entry, TensorFile, printable, read_header
from whichlora.lora.inspect import inspect_lora
from whichlora.lora.keys import ModelShape
from whichlora.lora.structure import Adapted, Structure, load_structure, weight_sizes
from whichlora.types import LoraFile

MAX_RANK = 1024
MAX_FEATURES = 65_536
"""Largest dimension of a matrix; the 20 B model's largest is 18,432."""
_MAX_HADAMARD = 1 << 24
"""Most numbers of a LoHa factor that is held whole (64 MB)."""
MAX_RMS = 100.0
"""Largest root-mean-square of a change; the model's own weights lie near 0.02 to 1."""
_PIECE = 1 << 20
"""Numbers that are decoded at once (8 MB as float64)."""
_CANCELLED = 1e-13
"""‖B·A‖² below this share of ‖B‖²‖A‖² is rounding, not a change."""


@dataclass(frozen=True, slots=True)
class StaticReport:
    """What the static gate saw of a file that it lets pass."""

    modules: int
    """Changes in the file."""
    zero_modules: tuple[str, ...]
    """Modules whose change is exactly zero, as after training in which they had no gradient."""
    rms: dict[str, float]
    """Root-mean-square of the change by module; for DoRA of the part before renormalising."""
    bytes_read: int
    """Bytes of the file that were read."""
    shape: ModelShape
    """Sizes that it was checked against."""


def check_static(file: LoraFile | None, path: str | Path, shape: ModelShape | None = None) -> StaticReport:
    """Check a file whole, and refuse it with the reason.

    Args:
        file: Facts from `inspect_lora`, for what is known of its base; read anew when None.
        path: The file.
        shape: Sizes of the model; inferred from the file when None.

    Raises:
        UserError: There is no such file.
        RefusedError: It must not be used; `reason` says why in a sentence.
    """
    path = Path(path)
    header = read_header(path)
    with TensorFile(path, header) as tensors:
        structure = load_structure(tensors)
        shape = check_structure(structure, shape)
        file = file or inspect_lora(path, shape)
        if FLUX1_DOUBT in file.base.evidence:
            raise RefusedError(
                "Its base cannot be told: exactly blocks 0 to 18 and only attention, which is a FLUX.1 LoRA as well.",
                fix="Give the file a name or card that says which base it is for.",
            )
        _check_values(structure, tensors)
        rms = {_label(change): _rms(change, tensors) for change in structure.adapted}
        read = tensors.bytes_read
    zero = tuple(name for name, value in rms.items() if value == 0.0)
    if len(zero) == len(rms):
        raise RefusedError(
            "Its change is exactly zero in every module (B·A = 0 or alpha = 0): it was never trained, and would "
            "measure the base model under its name."
        )
    worst = max(rms, key=lambda name: rms[name])
    if not rms[worst] <= MAX_RMS:
        raise RefusedError(
            f"Its change of '{worst}' is absurdly large (root mean square {rms[worst]:.3g}, weights lie below 1): "
            "the file is damaged."
        )
    return StaticReport(len(rms), zero, rms, read, shape)


def check_structure(structure: Structure, shape: ModelShape | None) -> ModelShape:
    """The checks that need names and shapes only.

    Returns:
        The sizes that were used: those given, or those inferred from the file.

    Raises:
        RefusedError: Something does not fit.
    """
    if structure.problems:
        raise RefusedError(structure.problems[0])
    if structure.unmatched or not structure.adapted:
        count = len(structure.unmatched)
        first = f", such as '{printable(structure.unmatched[0])}'" if count else ""
        raise RefusedError(f"{count} of its keys are unmatched{first}.")
    for change in structure.adapted:
        _check_tensors(change)
    shape = shape or keys.infer_shape(weight_sizes(structure.adapted))
    if shape is None:
        raise RefusedError("Nothing in it tells the size of its model.", fix="Name the model with --model FOLDER.")
    for change in structure.adapted:
        _check_fit(change, shape)
    return shape


def _label(change: Adapted) -> str:
    return change.name if change.parameter == "weight" else f"{change.name}.bias"


def _check_tensors(change: Adapted) -> None:
    """Formats, empty dimensions, rank and pairing of one change."""
    for role, entry in change.tensors.items():
        shown = printable(entry.name)
        if entry.dtype not in dtypes.FLOATS and role != "alpha":
            raise RefusedError(f"'{shown}' holds {entry.dtype} numbers; weights must be floating-point.")
        if 0 in entry.shape:
            raise RefusedError(f"'{shown}' has an empty dimension: {printable(str(list(entry.shape)), 60)}.")
        if max(entry.shape, default=0) > MAX_FEATURES:
            raise RefusedError(f"'{shown}' has a dimension of {max(entry.shape):,}; no supported model is that wide.")
    label = _label(change)
    if change.kind in ("lora", "loha", "lokr") and not change.shape:
        listing = ", ".join(
            f"{role} {printable(str(list(entry.shape)), 40)}"
            for role, entry in change.tensors.items() if role not in ("alpha", "magnitude")
        )
        raise RefusedError(f"The matrices of '{label}' do not fit one another (shapes {listing}).")
    if change.rank > MAX_RANK or (change.rank < 1 and change.kind in ("lora", "loha")):
        raise RefusedError(f"'{label}' has rank {change.rank:,}; 1 to {MAX_RANK:,} is accepted.")
    if change.kind == "loha" and change.rank * max(change.shape) > _MAX_HADAMARD:
        raise RefusedError(f"'{label}' is a LoHa of rank {change.rank:,} and shape {list(change.shape)}: too large.")
    if change.dora:
        rows, columns = change.shape
        magnitude = change.tensors["magnitude"].shape
        if magnitude not in ((rows,), (rows, 1), (1, columns)):
            raise RefusedError(f"The magnitudes of '{label}' have shape {list(magnitude)}, for {rows} rows.")


def _check_fit(change: Adapted, shape: ModelShape) -> None:
    """Compare one change with the model's own parameter."""
    block = keys.block_index(change.name)
    if block is not None and block >= shape.layers:
        raise RefusedError(
            f"It adapts block {block:,} ('{change.name}'), but the model has only {shape.layers} blocks (0 to "
            f"{shape.layers - 1}): it is deeper than the model."
        )
    wanted = shape.weight_shape(change.name) if change.parameter == "weight" else shape.bias_shape(change.name)
    if wanted is None:
        raise RefusedError(f"The model has no {change.parameter} '{change.name}': it is unmatched.")
    if change.shape != wanted:
        raise RefusedError(
            f"Its change of '{_label(change)}' has shape {list(change.shape)}, but the model's is {list(wanted)}: "
            "it is made for another model."
        )


def _check_values(structure: Structure, tensors: TensorFile) -> None:
    """Every number must be finite."""
    for change in structure.adapted:
        for role, entry in change.tensors.items():
            for piece in _pieces(tensors.raw(entry).reshape(-1), _PIECE):
                if not dtypes.all_finite(piece, entry.dtype):
                    raise RefusedError(f"'{printable(entry.name)}' holds values that are not finite (NaN or infinite).")
            if role == "magnitude" and not np.any(tensors.read(entry)):
                raise RefusedError(f"The magnitudes of '{_label(change)}' are all zero.")


def _rms(change: Adapted, tensors: TensorFile) -> float:
    """Root-mean-square of a change, without building it."""
    squared = _squared_norm(change, tensors) * change.scale**2
    return math.sqrt(squared / math.prod(change.shape))


def _squared_norm(change: Adapted, tensors: TensorFile) -> float:
    entries = change.tensors
    if change.kind == "lora":
        return _pair_norm(tensors, entries["up"], entries["down"])
    if change.kind == "lokr":
        return _factor_norm(tensors, entries, "lokr_w1") * _factor_norm(tensors, entries, "lokr_w2")
    if change.kind == "loha":
        return _hadamard_norm(change, tensors)
    return sum(_plain_norm(tensors, entry) for role, entry in entries.items() if role in ("diff", "diff_b", "up_bias"))


def _factor_norm(tensors: TensorFile, entries: Any, name: str) -> float:
    if name in entries:
        return _plain_norm(tensors, entries[name])
    return _pair_norm(tensors, entries[name + "_a"], entries[name + "_b"])


def _plain_norm(tensors: TensorFile, entry: Entry) -> float:
    total = 0.0
    for piece in _pieces(tensors.raw(entry).reshape(-1), _PIECE):
        values = dtypes.decode(piece, entry.dtype).astype(np.float64)
        total += float(values @ values)
    return total


def _pair_norm(tensors: TensorFile, up: Entry, down: Entry) -> float:
    """‖B·A‖² = Σ (BᵀB)∘(AAᵀ), from two matrices as small as the rank."""
    if not np.any(tensors.raw(up)):
        # An untrained LoRA is recognised without any arithmetic.
        return 0.0
    left = _gram(tensors.raw(up), up.dtype)
    right = _gram(tensors.raw(down).T, down.dtype)
    squared = float(np.sum(left * right))
    return squared if squared > _CANCELLED * float(np.trace(left)) * float(np.trace(right)) else 0.0


def _gram(tall: NDArray[Any], dtype: str) -> NDArray[np.float64]:
    """XᵀX of a tall raw matrix, by pieces of rows, in float64."""
    columns = tall.shape[1]
    total = np.zeros((columns, columns))
    for piece in _pieces(tall, max(1, _PIECE // columns)):
        values = dtypes.decode(np.ascontiguousarray(piece), dtype).astype(np.float64)
        total += values.T @ values
    return total


def _hadamard_norm(change: Adapted, tensors: TensorFile) -> float:
    """‖(W1a·W1b)∘(W2a·W2b)‖², by pieces of rows; the right factors are held whole."""
    entries = change.tensors
    rows, columns = change.shape
    first_b, second_b = (tensors.read(entries[name]) for name in ("loha_w1_b", "loha_w2_b"))
    first_a, second_a = (tensors.raw(entries[name]) for name in ("loha_w1_a", "loha_w2_a"))
    total = 0.0
    step = max(1, _PIECE // columns)
    for start in range(0, rows, step):
        left = dtypes.decode(np.ascontiguousarray(first_a[start : start + step]), entries["loha_w1_a"].dtype) @ first_b
        right = dtypes.decode(np.ascontiguousarray(second_a[start : start + step]), entries["loha_w2_a"].dtype)
        product = left.astype(np.float64) * (right @ second_b)
        total += float(np.vdot(product, product))
    return total


def _pieces(array: NDArray[Any], step: int) -> Iterator[NDArray[Any]]:
    for start in range(0, len(array), step):
        yield array[start : start + step]
