"""Names and shapes of everything that a LoRA may adapt in a Qwen-Image transformer, without torch.

`ModelShape` is computed from the numbers of a transformer's `config.json`, at any size. The same table turns
the flattened names of kohya-style files ('transformer_blocks_0_attn_to_out_0') back into module paths, by look-up and
never by guessing where an underscore was a dot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from whichlora.errors import UserError

ARCHITECTURE = "QwenImageTransformer2DModel"

_BLOCK_LINEARS: Mapping[str, tuple[int, int]] = {
    # Module path inside a block → (rows, columns) in units of the model's width.
    "img_mod.1": (6, 1),
    "attn.to_q": (1, 1),
    "attn.to_k": (1, 1),
    "attn.to_v": (1, 1),
    "attn.add_k_proj": (1, 1),
    "attn.add_v_proj": (1, 1),
    "attn.add_q_proj": (1, 1),
    "attn.to_out.0": (1, 1),
    "attn.to_add_out": (1, 1),
    "img_mlp.net.0.proj": (4, 1),
    "img_mlp.net.2": (1, 4),
    "txt_mod.1": (6, 1),
    "txt_mlp.net.0.proj": (4, 1),
    "txt_mlp.net.2": (1, 4),
}
_BLOCK_NORMS = ("attn.norm_q", "attn.norm_k", "attn.norm_added_q", "attn.norm_added_k")
_TOP_LINEARS = (
    "time_text_embed.timestep_embedder.linear_1", "time_text_embed.timestep_embedder.linear_2",
    "img_in", "txt_in", "norm_out.linear", "proj_out",
)
_TOP_NORMS = ("txt_norm",)
_IN_BLOCK = frozenset((*_BLOCK_LINEARS, *_BLOCK_NORMS))
_ON_TOP = frozenset((*_TOP_LINEARS, *_TOP_NORMS))
# A test asserts that no two paths share a flattened name.
_FLAT_IN_BLOCK = {name.replace(".", "_"): name for name in _IN_BLOCK}
_FLAT_ON_TOP = {name.replace(".", "_"): name for name in _ON_TOP}
_TIME_CHANNELS = 256
_MAX_LAYERS = 1024

_DOTTED_BLOCK = re.compile(r"transformer_blocks\.(0|[1-9][0-9]{0,5})\.(.+)")
_FLAT_BLOCK = re.compile(r"transformer_blocks_(0|[1-9][0-9]{0,5})_(.+)")


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a Qwen-Image transformer that decide which LoRA fits."""

    layers: int
    """Number of transformer blocks."""
    width: int
    """Features of the residual stream: heads × head size."""
    head_size: int
    """Features of one attention head."""
    text_width: int
    """Features of the text encoder's output ('joint_attention_dim')."""
    in_channels: int
    """Channels of a packed latent token going in."""
    out_features: int
    """Features of a packed latent token coming out: patch² × out_channels."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ModelShape:
        """Read the sizes from a transformer's configuration.

        Args:
            config: Content of `transformer/config.json`; missing numbers take the class's own defaults.

        Raises:
            UserError: It describes another kind of model, or a number is no sensible size.
        """
        kind = config.get("_class_name", ARCHITECTURE)
        if kind != ARCHITECTURE:
            raise UserError(f"The transformer configuration describes a {kind}, not a {ARCHITECTURE}.")

        def number(key: str, default: int, ceiling: int) -> int:
            value = config.get(key, default)
            value = default if value is None else value
            if type(value) is not int or not 1 <= value <= ceiling:
                raise UserError(f"In the transformer configuration, '{key}' is {value!r}; a whole number is expected.")
            return value

        channels = number("in_channels", 64, 1 << 16)
        out_default = 16 if "out_channels" not in config else channels
        patch = number("patch_size", 2, 64)
        head = number("attention_head_dim", 128, 1 << 12)
        return cls(
            layers=number("num_layers", 60, _MAX_LAYERS),
            width=head * number("num_attention_heads", 24, 1 << 10),
            head_size=head,
            text_width=number("joint_attention_dim", 3584, 1 << 16),
            in_channels=channels,
            out_features=patch * patch * number("out_channels", out_default, 1 << 16),
        )

    @classmethod
    def from_folder(cls, folder: str | Path) -> ModelShape:
        """Read the sizes from a model folder (with 'transformer/config.json'), its transformer folder or the file.

        Raises:
            UserError: No configuration lies there, or it cannot be read.
        """
        place = Path(folder)
        choices = [place / "transformer" / "config.json", place / "config.json"] if place.is_dir() else [place]
        for choice in choices:
            if choice.is_file():
                try:
                    config = json.loads(choice.read_text(encoding="utf-8"))
                except (OSError, ValueError) as error:
                    raise UserError(f"The configuration '{choice}' is not readable JSON.") from error
                if not isinstance(config, dict):
                    raise UserError(f"The configuration '{choice}' is not a JSON object.")
                return cls.from_config(config)
        raise UserError(
            f"No transformer configuration was found at '{place}'.",
            fix="Name a folder that holds transformer/config.json.",
        )

    @cached_property
    def linears(self) -> Mapping[str, tuple[int, int]]:
        """Every linear layer: module path → (out_features, in_features). All of them have a bias."""
        width = self.width
        table: dict[str, tuple[int, int]] = {
            "time_text_embed.timestep_embedder.linear_1": (width, _TIME_CHANNELS),
            "time_text_embed.timestep_embedder.linear_2": (width, width),
            "img_in": (width, self.in_channels),
            "txt_in": (width, self.text_width),
        }
        for block in range(self.layers):
            for name, (rows, columns) in _BLOCK_LINEARS.items():
                table[f"transformer_blocks.{block}.{name}"] = (rows * width, columns * width)
        table["norm_out.linear"] = (2 * width, width)
        table["proj_out"] = (self.out_features, width)
        return table

    @cached_property
    def norms(self) -> Mapping[str, int]:
        """Every normalisation with a weight: module path → length."""
        table = {"txt_norm": self.text_width}
        for block in range(self.layers):
            for name in _BLOCK_NORMS:
                table[f"transformer_blocks.{block}.{name}"] = self.head_size
        return table

    def weight_shape(self, module: str) -> tuple[int, ...] | None:
        """Shape of a module's weight, or None when the model has no such module."""
        if module in self.linears:
            return self.linears[module]
        return (self.norms[module],) if module in self.norms else None

    def bias_shape(self, module: str) -> tuple[int, ...] | None:
        """Shape of a module's bias, or None when it has none."""
        return (self.linears[module][0],) if module in self.linears else None


QWEN_IMAGE_20B = ModelShape(
    layers=60, width=3072, head_size=128, text_width=3584, in_channels=64, out_features=64,
)
"""Qwen-Image, -Edit, -Edit-2509 and -Edit-2511 all have these sizes."""


def is_module(name: str) -> bool:
    """Whether a dotted path is a module of this architecture, at any depth."""
    match = _DOTTED_BLOCK.fullmatch(name)
    return match[2] in _IN_BLOCK if match else name in _ON_TOP


def block_index(name: str) -> int | None:
    """Block number of a canonical module path, or None for a module outside the blocks."""
    match = _DOTTED_BLOCK.fullmatch(name)
    return int(match[1]) if match else None


def suffix(name: str) -> str:
    """Module path without its block, such as 'attn.to_q'."""
    match = _DOTTED_BLOCK.fullmatch(name)
    return match[2] if match else name


def from_flat(name: str) -> str | None:
    """Find the module path behind a flattened name, by look-up; None when no module has it.

    Args:
        name: Module path with every dot written as an underscore, such as 'transformer_blocks_0_attn_to_q'.
    """
    match = _FLAT_BLOCK.fullmatch(name)
    if match:
        inner = _FLAT_IN_BLOCK.get(match[2])
        return f"transformer_blocks.{match[1]}.{inner}" if inner else None
    return _FLAT_ON_TOP.get(name)


def infer_shape(weights: Iterable[tuple[str, int, int]]) -> ModelShape | None:
    """Work out the sizes of the model that a file's matrices were made for.

    Args:
        weights: (module path, out_features, in_features) of every adapted weight.

    Returns:
        The 20 B sizes if the width fits them; else the sizes that the file itself implies, with as many blocks as it
        reaches; None when nothing tells the width.
    """
    width, deepest = 0, -1
    known: dict[str, tuple[int, int]] = {}
    for name, out_features, in_features in weights:
        inner, block = suffix(name), block_index(name)
        if block is not None and inner in _BLOCK_LINEARS:
            rows, columns = _BLOCK_LINEARS[inner]
            deepest = max(deepest, block)
            if not width and out_features * columns == in_features * rows and in_features % columns == 0:
                width = in_features // columns
        elif inner in _TOP_LINEARS:
            known[inner] = (out_features, in_features)
            width = width or (in_features if inner == "proj_out" else out_features // (2 if "norm" in inner else 1))
    if not width:
        return None
    if width == QWEN_IMAGE_20B.width:
        return QWEN_IMAGE_20B
    return ModelShape(
        layers=min(deepest + 1, _MAX_LAYERS) or 1, width=width, head_size=1,
        text_width=known.get("txt_in", (0, 3584))[1], in_channels=known.get("img_in", (0, 64))[1],
        out_features=known.get("proj_out", (64, 0))[0],
    )
