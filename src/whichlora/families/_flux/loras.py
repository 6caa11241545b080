"""LoRA files for FLUX transformers, in every common key layout, as exact changes of the base's own weights.

Accepted: diffusers and ai-toolkit names (with or without 'transformer.', 'diffusion_model.' or 'base_model.model.'),
kohya's 'lora_unet_…', and the names of the original FLUX code, whose fused projections are split by rows: with
ΔW = s·B·A a part of B's rows is the change of that part of the fused weight. Everything must fit: one key that is not
understood, one shape that differs, and the file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import RefusedError
from whichlora.lora.dtypes import Float32
from whichlora.lora.header import Entry, TensorFile, read_header

_PREFIXES = ("base_model.model.", "diffusion_model.", "transformer.")
_ROLES = (
    (".lora_A.default.weight", "down"), (".lora_B.default.weight", "up"), (".lora_A.weight", "down"),
    (".lora_B.weight", "up"), (".lora_down.weight", "down"), (".lora_up.weight", "up"), (".alpha", "alpha"),
)
Shapes = Mapping[str, tuple[int, int]]
ORIGINAL: Mapping[str, tuple[str, ...]] = {
    # name in the original FLUX code → names in diffusers, several where it is fused; first that the model has counts
    "double_blocks.{}.img_attn.qkv": ("transformer_blocks.{}.attn.to_q", "transformer_blocks.{}.attn.to_k",
                                      "transformer_blocks.{}.attn.to_v"),
    "double_blocks.{}.txt_attn.qkv": ("transformer_blocks.{}.attn.add_q_proj", "transformer_blocks.{}.attn.add_k_proj",
                                      "transformer_blocks.{}.attn.add_v_proj"),
    "double_blocks.{}.img_attn.proj": ("transformer_blocks.{}.attn.to_out.0",),
    "double_blocks.{}.txt_attn.proj": ("transformer_blocks.{}.attn.to_add_out",),
    "double_blocks.{}.img_mlp.0": ("transformer_blocks.{}.ff.net.0.proj", "|", "transformer_blocks.{}.ff.linear_in"),
    "double_blocks.{}.img_mlp.2": ("transformer_blocks.{}.ff.net.2", "|", "transformer_blocks.{}.ff.linear_out"),
    "double_blocks.{}.txt_mlp.0": ("transformer_blocks.{}.ff_context.net.0.proj", "|",
                                   "transformer_blocks.{}.ff_context.linear_in"),
    "double_blocks.{}.txt_mlp.2": ("transformer_blocks.{}.ff_context.net.2", "|",
                                   "transformer_blocks.{}.ff_context.linear_out"),
    "double_blocks.{}.img_mod.lin": ("transformer_blocks.{}.norm1.linear",),
    "double_blocks.{}.txt_mod.lin": ("transformer_blocks.{}.norm1_context.linear",),
    "single_blocks.{}.linear1": ("single_transformer_blocks.{}.attn.to_q", "single_transformer_blocks.{}.attn.to_k",
                                 "single_transformer_blocks.{}.attn.to_v", "single_transformer_blocks.{}.proj_mlp", "|",
                                 "single_transformer_blocks.{}.attn.to_qkv_mlp_proj"),
    "single_blocks.{}.linear2": ("single_transformer_blocks.{}.proj_out", "|",
                                 "single_transformer_blocks.{}.attn.to_out"),
    "single_blocks.{}.modulation.lin": ("single_transformer_blocks.{}.norm.linear",),
}


@dataclass(frozen=True, slots=True)
class FluxChange:
    """The change of one weight; see `lora/delta.py` for the meaning of its methods."""

    name: str
    shape: tuple[int, int]
    scale: float
    rows: slice
    """Rows of the file's 'up' matrix that belong to this weight."""
    down: Entry
    up: Entry
    _file: TensorFile
    parameter: str = "weight"
    needs_weight: bool = False
    kind: str = "lora"

    def factors(self) -> tuple[Float32, Float32, float]:
        """(up, down, scale) with ΔW = scale · up · down."""
        return self._file.read(self.up)[self.rows], self._file.read(self.down), self.scale

    def delta(self, weight: NDArray[np.floating] | None = None) -> Float32:
        """The whole change."""
        up, down, scale = self.factors()
        return np.float32(scale) * (up @ down)


@contextmanager
def open_changes(path: Path, shapes: Shapes) -> Iterator[tuple[FluxChange, ...]]:
    """The changes of a file, in the order of their names.

    Args:
        path: A safetensors file.
        shapes: (out, in) of the transformer's weights, by module path.

    Raises:
        RefusedError: It does not fit this model whole.
    """
    header = read_header(path)
    with TensorFile(path, header) as file:
        modules = _gather(header.entries)
        underscored = {name.replace(".", "_"): name for name in (*shapes, *_original_names(shapes))}
        changes: list[FluxChange] = []
        for raw, roles in sorted(modules.items()):
            changes += _resolve(raw, roles, shapes, underscored, file)
        names = [change.name for change in changes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise RefusedError(f"It changes '{twice[0]}' twice, under two names.")
        if not changes:
            raise RefusedError("It holds no LoRA matrices.")
        yield tuple(changes)


def check_file(path: Path, shapes: Shapes) -> None:
    """Refuse a file that this model cannot take whole, or that changes nothing.

    Raises:
        RefusedError: With the reason in one sentence.
    """
    with open_changes(path, shapes) as changes:
        alive = False
        for change in changes:
            up, down, scale = change.factors()
            if not (np.isfinite(up).all() and np.isfinite(down).all() and np.isfinite(scale)):
                raise RefusedError(f"The change of '{change.name}' is not finite.")
            alive = alive or bool(scale and up.any() and down.any())
        if not alive:
            raise RefusedError("Every change in it is zero: it would measure the base under its name.")


def _gather(entries: Mapping[str, Entry]) -> dict[str, dict[str, Entry]]:
    """Tensors by module and role.

    Raises:
        RefusedError: A key is no part of a plain LoRA.
    """
    modules: dict[str, dict[str, Entry]] = {}
    for key, entry in entries.items():
        found = next(((key.removesuffix(suffix), role) for suffix, role in _ROLES if key.endswith(suffix)), None)
        if found is None:
            raise RefusedError(f"'{key[:120]}' is no part of a plain LoRA: the file was made for another model, or in "
                               "a form that this family does not take.")
        modules.setdefault(found[0], {})[found[1]] = entry
    return modules


def _resolve(
    raw: str, roles: Mapping[str, Entry], shapes: Shapes, underscored: Mapping[str, str], file: TensorFile
) -> list[FluxChange]:
    """The changes that one module of the file stands for."""
    if not {"down", "up"} <= set(roles):
        raise RefusedError(f"Of '{raw[:120]}' one of the two matrices is missing.")
    down, up = roles["down"], roles["up"]
    targets = _targets(raw, shapes, underscored)
    rank = down.shape[0] if len(down.shape) == 2 else 0
    rows, columns = sum(shapes[name][0] for name in targets), shapes[targets[0]][1]
    if (len(down.shape), len(up.shape)) != (2, 2) or up.shape[1] != rank or rank == 0 or (
            up.shape[0], down.shape[1]) != (rows, columns):
        raise RefusedError(
            f"'{raw[:120]}' has matrices of {list(up.shape)} and {list(down.shape)}; this model's weight is "
            f"{rows} × {columns}."
        )
    alpha = float(np.asarray(file.read(roles["alpha"])).reshape(-1)[0]) if "alpha" in roles else float(rank)
    changes: list[FluxChange] = []
    start = 0
    for name in targets:
        height = shapes[name][0]
        changes.append(FluxChange(name, shapes[name], alpha / rank, slice(start, start + height), down, up, file))
        start += height
    return changes


def _targets(raw: str, shapes: Shapes, underscored: Mapping[str, str]) -> Sequence[str]:
    """Names of the weights that a module of a file changes.

    Raises:
        RefusedError: The model has no such weight.
    """
    name = raw
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    if name.startswith(("lora_unet_", "lora_transformer_")):
        name = underscored.get(re.sub(r"^lora_(unet|transformer)_", "", name), name)
    if name in shapes:
        return (name,)
    original = _from_original(name, shapes)
    if original:
        return original
    raise RefusedError(f"This model has no weight '{name[:120]}': the file was made for another model.")


def _from_original(name: str, shapes: Shapes) -> tuple[str, ...]:
    number = re.search(r"\.(\d+)\.", name)
    if number is None:
        return ()
    ways = ORIGINAL.get(f"{name[: number.start()]}.{{}}.{name[number.end():]}")
    if ways is None:
        return ()
    for way in " ".join(ways).split(" | "):
        names = tuple(part.format(number[1]) for part in way.split())
        if all(each in shapes for each in names):
            return names
    return ()


def _original_names(shapes: Shapes) -> Iterator[str]:
    """Every name of the original code that this model has, for kohya's underscores."""
    highest = max((int(found[1]) for name in shapes if (found := re.search(r"\.(\d+)\.", name))), default=-1)
    for pattern in ORIGINAL:
        for number in range(highest + 1):
            name = pattern.format(number)
            if _from_original(name, shapes):
                yield name
