"""One canonical form for every layout: modules in the model's order, each giving exactly its change of a parameter.

A `CanonicalLora` reads matrices only when they are asked for. Plain LoRAs give their factors, so that an adapter can be
kept low-rank; everything else (LoKr, LoHa, DoRA, differences of weights and biases) gives the full change. The
strength is the file's own; an adapter weight chosen by the user is multiplied in by whoever applies it.

Formulas: LoRA ΔW = s·B·A; LoKr ΔW = s·(W1 ⊗ W2) and LoHa ΔW = s·(W1a·W1b) ∘ (W2a·W2b) as in LyCORIS; DoRA
ΔW = m·(W + s·B·A)/‖W + s·B·A‖ − W as in PEFT, with the norm taken along the axis that the magnitudes' shape tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import RefusedError
from whichlora.lora.dtypes import Float32
from whichlora.lora.header import TensorFile, read_header
from whichlora.lora.keys import ModelShape
from whichlora.lora.static import check_structure
from whichlora.lora.structure import Adapted, load_structure


@dataclass(frozen=True, slots=True)
class CanonicalModule:
    """One change of one parameter, ready to be computed."""

    name: str
    """Canonical module path, such as 'transformer_blocks.0.attn.to_q'."""
    parameter: str
    """'weight' or 'bias'."""
    kind: str
    """'lora', 'dora', 'lokr', 'loha', 'diff' or 'bias'."""
    shape: tuple[int, ...]
    """Shape of the change: (out, in) for a linear weight, (n,) for a bias or a normalisation."""
    rank: int
    """Inner dimension, 0 where there is none."""
    scale: float
    """Factor inside the change, alpha / rank; already applied by `delta`."""
    _change: Adapted
    _tensors: TensorFile

    @property
    def needs_weight(self) -> bool:
        """Whether `delta` must be given the pristine weight (DoRA)."""
        return self._change.dora

    def factors(self) -> tuple[Float32, Float32, float] | None:
        """(up, down, scale) of a plain LoRA, with ΔW = scale · up · down; None for every other kind.

        Returns:
            up of shape (out, rank), down of shape (rank, in), both float32, and the scale.
        """
        if self.kind != "lora":
            return None
        return self._read("up"), self._read("down"), self.scale

    def delta(self, weight: NDArray[np.floating] | None = None) -> Float32:
        """The whole change as float32, of `shape`.

        Args:
            weight: The pristine weight; needed by DoRA alone, where a wrong one gives a wrong change.

        Raises:
            ValueError: A DoRA was asked without its weight, or with one of another shape.
            RefusedError: The change is not finite in float32.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            change = self._plain()
            if self._change.dora:
                change = self._renormalised(change, weight)
        if not np.all(np.isfinite(change)):
            raise RefusedError(f"The change of '{self.name}' overflows: it is not finite in float32.")
        return change

    def _plain(self) -> Float32:
        scale = np.float32(self.scale)
        if self._change.kind == "lora":
            return scale * (self._read("up") @ self._read("down"))
        if self._change.kind == "lokr":
            return scale * np.kron(self._factor("lokr_w1"), self._factor("lokr_w2"))
        if self._change.kind == "loha":
            return scale * (self._factor("loha_w1") * self._factor("loha_w2"))
        role = next(role for role in ("diff", "diff_b", "up_bias") if role in self._change.tensors)
        # A full difference has no strength of its own; the bias of lora_B shares its module's.
        return self._read(role) * (scale if role == "up_bias" else np.float32(1.0))

    def _factor(self, name: str) -> Float32:
        if name in self._change.tensors:
            return self._read(name)
        return self._read(name + "_a") @ self._read(name + "_b")

    def _renormalised(self, change: Float32, weight: NDArray[np.floating] | None) -> Float32:
        if weight is None or weight.shape != self.shape:
            found = "none" if weight is None else str(weight.shape)
            raise ValueError(f"The DoRA of '{self.name}' needs its pristine weight of shape {self.shape}, got {found}.")
        magnitude = self._read("magnitude")
        rows, columns = self.shape
        along_rows = magnitude.shape in ((rows,), (rows, 1))
        merged = weight.astype(np.float64) + change
        norm = np.linalg.norm(merged, axis=1 if along_rows else 0, keepdims=True)
        target = magnitude.reshape((rows, 1) if along_rows else (1, columns)).astype(np.float64)
        # A direction of length zero has no direction to scale; it stays zero.
        factor = np.divide(target, norm, out=np.zeros_like(target), where=norm > 0)
        return (merged * factor - weight).astype(np.float32)

    def _read(self, role: str) -> Float32:
        return self._tensors.read(self._change.tensors[role])


class CanonicalLora:
    """A LoRA file in canonical form. Use as a context manager, or call `close`."""

    def __init__(self, path: Path, layout: str, modules: tuple[CanonicalModule, ...], tensors: TensorFile) -> None:
        self.path = path
        self.layout = layout
        self.modules = modules
        self.keys_in_file = len(tensors.header.entries)
        self._tensors = tensors
        self._by_name = {(module.name, module.parameter): module for module in modules}

    def __len__(self) -> int:
        return len(self.modules)

    def __iter__(self) -> Iterator[CanonicalModule]:
        return iter(self.modules)

    def get(self, name: str, parameter: str = "weight") -> CanonicalModule | None:
        """The change of one parameter, or None when the file leaves it alone."""
        return self._by_name.get((name, parameter))

    @property
    def is_plain(self) -> bool:
        """Whether every change has low-rank factors."""
        return all(module.kind == "lora" for module in self.modules)

    def close(self) -> None:
        """Release the file; no matrix can be read afterwards."""
        self._tensors.close()

    def __enter__(self) -> CanonicalLora:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self.close()


def load_canonical(path: str | Path, shape: ModelShape | None = None) -> CanonicalLora:
    """Open a file in canonical form.

    Names, pairs, ranks and shapes are checked; values are not scanned (that is `check_static`'s work).

    Args:
        path: A safetensors file.
        shape: Sizes of the model; inferred from the file when None.

    Raises:
        UserError: There is no such file.
        RefusedError: It cannot be applied whole; the reason says why.
    """
    path = Path(path)
    header = read_header(path)
    tensors = TensorFile(path, header)
    try:
        structure = load_structure(tensors)
        shape = check_structure(structure, shape)
    except BaseException:
        tensors.close()
        raise
    places = {name: place for place, name in enumerate((*shape.linears, *shape.norms))}
    ordered = sorted(structure.adapted, key=lambda change: (places[change.name], change.parameter != "weight"))
    modules = tuple(
        CanonicalModule(
            change.name, change.parameter, "dora" if change.dora else change.kind, change.shape, change.rank,
            change.scale, change, tensors,
        )
        for change in ordered
    )
    return CanonicalLora(path, structure.recognised.name, modules, tensors)


def canonical_state_dict(path: str | Path, shape: ModelShape | None = None) -> Mapping[str, Float32]:
    """A plain LoRA as the dictionary that diffusers loads, with every scale multiplied into lora_B.

    Factors are padded with zeros to the file's largest rank: library versions differ in the strength that they give to
    mixed ranks without alpha, and with one rank there is nothing to differ in.

    Returns:
        'transformer.<module>.lora_A.weight' (rank, in) and '….lora_B.weight' (out, rank), float32.

    Raises:
        RefusedError: The file cannot be applied, or holds something other than plain LoRA pairs.
    """
    with load_canonical(path, shape) as lora:
        if not lora.is_plain:
            kinds = sorted({module.kind for module in lora if module.kind != "lora"})
            raise RefusedError(f"It holds {', '.join(kinds)}, which cannot be written as plain LoRA matrices.")
        rank = max(module.rank for module in lora)
        state: dict[str, Float32] = {}
        for module in lora:
            up, down, scale = module.factors() or (None, None, 0.0)
            if up is None or down is None:
                continue
            padding = rank - module.rank
            state[f"transformer.{module.name}.lora_A.weight"] = np.pad(down, ((0, padding), (0, 0)))
            state[f"transformer.{module.name}.lora_B.weight"] = np.pad(up * np.float32(scale), ((0, 0), (0, padding)))
    return state
