"""Writes LoRA files of every layout, with the change that each must make, from matrices that are drawn here.

Uses no product code: its own safetensors writer, its own spelling of keys, its own algebra in float64.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

TINY = {
    "patch_size": 2, "in_channels": 16, "out_channels": 4, "num_layers": 2, "attention_head_dim": 12,
    "num_attention_heads": 2, "joint_attention_dim": 20, "axes_dims_rope": [4, 4, 4],
}
"""Configuration of a tiny Qwen-Image transformer; width 24."""

WIDTH = 24
BLOCK = {
    "attn.to_q": (WIDTH, WIDTH), "attn.to_out.0": (WIDTH, WIDTH), "attn.add_k_proj": (WIDTH, WIDTH),
    "attn.to_add_out": (WIDTH, WIDTH), "img_mlp.net.0.proj": (4 * WIDTH, WIDTH), "txt_mlp.net.2": (WIDTH, 4 * WIDTH),
    "img_mod.1": (6 * WIDTH, WIDTH),
}
MODULES = {f"transformer_blocks.{block}.{name}": size for block in (0, 1) for name, size in BLOCK.items()}
TOP = {
    "img_in": (WIDTH, 16), "txt_in": (WIDTH, 20), "proj_out": (16, WIDTH), "norm_out.linear": (2 * WIDTH, WIDTH),
    "time_text_embed.timestep_embedder.linear_1": (WIDTH, 256),
    "time_text_embed.timestep_embedder.linear_2": (WIDTH, WIDTH),
}

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I8": 1}


def encode(values, dtype: str) -> bytes:
    """Numbers → bytes. Values must be exact in the format (multiples of 1/8 up to 1 are, in all of them)."""
    values = np.asarray(values)
    plain = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I8": "i1"}
    if dtype in plain:
        return values.astype(plain[dtype]).tobytes()
    if dtype == "BF16":
        return (np.ascontiguousarray(values, "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    if dtype == "F8_E5M2":
        return (np.ascontiguousarray(values, "<f2").view("<u2") >> 8).astype("u1").tobytes()
    assert dtype == "F8_E4M3"
    return bytes(_e4m3(float(value)) for value in values.reshape(-1))


def _e4m3(value: float) -> int:
    sign = 0x80 if np.copysign(1.0, value) < 0 else 0
    value = abs(value)
    if value == 0:
        return sign
    mantissa, exponent = np.frexp(value)
    exponent, mantissa = int(exponent) - 1, mantissa * 2
    assert exponent >= -6
    assert (mantissa * 8) % 1 == 0
    return sign | ((exponent + 7) << 3) | int(mantissa * 8 - 8)


def write(path: Path, tensors: dict, metadata: dict | None = None, *, dtype: str = "F32") -> Path:
    """Write a safetensors file.

    `tensors` maps a key to an array, or to (dtype, array).
    """
    header: dict = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, value in tensors.items():
        kind, array = value if isinstance(value, tuple) else (dtype, value)
        raw = encode(array, kind)
        header[name] = {
            "dtype": kind, "shape": list(np.shape(array)), "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    return write_raw(path, header, data)


def write_raw(path: Path, header, data: bytes = b"", *, length: int | None = None) -> Path:
    """Write a header (dict or text) and bytes as they are, even where they contradict each other."""
    text = header if isinstance(header, bytes) else json.dumps(header, ensure_ascii=False).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def gauss(rng, shape) -> np.ndarray:
    """Values as training leaves them, rounded to float32."""
    return (rng.normal(size=shape) * 0.02).astype(np.float32).astype(np.float64)


def draw(rng, shape) -> np.ndarray:
    """Values that every number format holds exactly; never all zero."""
    values = rng.integers(-8, 9, size=shape) / 8.0
    values.reshape(-1)[0] = 0.5
    return values


@dataclass(frozen=True)
class Spelling:
    """How a layout writes its keys."""

    layout: str
    """Name that the product must give."""
    prefix: str
    flat: bool = False
    down: str = "lora_A.weight"
    up: str = "lora_B.weight"
    alpha: bool = False
    """Whether alpha tensors are written."""

    def stem(self, module: str) -> str:
        return self.prefix + (module.replace(".", "_") if self.flat else module)


KOHYA = {"flat": True, "down": "lora_down.weight", "up": "lora_up.weight"}
SPELLINGS = {
    "diffusers": Spelling("diffusers", "transformer."),
    "diffusers with alpha": Spelling("diffusers", "transformer.", alpha=True),
    "diffusers default": Spelling(
        "diffusers", "transformer.", down="lora_A.default.weight", up="lora_B.default.weight",
    ),
    "diffusers lora.down": Spelling("diffusers-down-up", "transformer.", down="lora.down.weight", up="lora.up.weight"),
    "bare": Spelling("bare", ""),
    "bare with alpha": Spelling("bare", "", alpha=True),
    "peft without record": Spelling("peft", "base_model.model."),
    "diffsynth": Spelling("diffsynth", "", down="lora_A.default.weight", up="lora_B.default.weight"),
    "diffsynth double": Spelling(
        "diffsynth", "", down="lora_A.default_0.default.weight", up="lora_B.default_0.default.weight",
    ),
    "diffsynth pipe": Spelling("diffsynth-pipe", "pipe.dit."),
    "comfy": Spelling("comfy", "diffusion_model."),
    "comfy with alpha": Spelling("comfy", "diffusion_model.", alpha=True),
    "comfy down-up": Spelling(
        "comfy-down-up", "diffusion_model.", down="lora_down.weight", up="lora_up.weight", alpha=True,
    ),
    "lightning": Spelling("bare-down-up", "", down="lora_down.weight", up="lora_up.weight", alpha=True),
    "bare down-up": Spelling("bare-down-up", "", down="lora_down.weight", up="lora_up.weight"),
    "onetrainer": Spelling(
        "diffusers-down-up", "transformer.", down="lora_down.weight", up="lora_up.weight", alpha=True,
    ),
    "onetrainer without alpha": Spelling(
        "diffusers-down-up", "transformer.", down="lora_down.weight", up="lora_up.weight",
    ),
    "kohya": Spelling("kohya", "lora_unet_", alpha=True, **KOHYA),
    "kohya without alpha": Spelling("kohya", "lora_unet_", **KOHYA),
    "kohya lora_A": Spelling("kohya", "lora_unet_", flat=True, alpha=True),
    "kohya-transformer": Spelling("kohya-transformer", "lora_transformer_", alpha=True, **KOHYA),
    "kohya-transformer without alpha": Spelling("kohya-transformer", "lora_transformer_", **KOHYA),
    "lycoris": Spelling("lycoris", "lycoris_", alpha=True, **KOHYA),
}


@dataclass
class Drawn:
    """What was drawn for one file."""

    tensors: dict
    """Key → array, as written."""
    expected: dict
    """Module → ΔW in float64."""
    matrices: dict = field(default_factory=dict)
    """Module → (up, down)."""


def plain(spelling: Spelling, modules: dict, rank: int, alpha: float | None, seed: int = 0,
          draw=draw) -> Drawn:
    """Draw a plain LoRA. The strength is alpha / rank when alpha is written, else 1."""
    rng = np.random.default_rng(seed)
    drawn = Drawn({}, {})
    for module, (rows, columns) in modules.items():
        down, up = draw(rng, (rank, columns)), draw(rng, (rows, rank))
        stem = spelling.stem(module)
        drawn.tensors[f"{stem}.{spelling.down}"] = down
        drawn.tensors[f"{stem}.{spelling.up}"] = up
        scale = 1.0
        if spelling.alpha and alpha is not None:
            drawn.tensors[f"{stem}.alpha"] = np.asarray(float(alpha))
            scale = alpha / rank
        drawn.expected[module] = scale * up @ down
        drawn.matrices[module] = (up, down)
    return drawn


def kron(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Kronecker product by its definition, entry by entry."""
    (a, b), (c, d) = left.shape, right.shape
    out = np.empty((a * c, b * d))
    for i in range(a):
        for j in range(b):
            out[i * c : (i + 1) * c, j * d : (j + 1) * d] = left[i, j] * right
    return out


def dora(weight: np.ndarray, change: np.ndarray, magnitude: np.ndarray, axis: int) -> np.ndarray:
    """ΔW of a weight-decomposed LoRA: each row (axis 1) or column (axis 0) gets the stored length."""
    merged = weight + change
    out = np.empty_like(merged)
    if axis == 1:
        for row in range(len(merged)):
            out[row] = merged[row] * magnitude[row] / np.sqrt(np.sum(merged[row] ** 2))
    else:
        for column in range(merged.shape[1]):
            out[:, column] = merged[:, column] * magnitude[column] / np.sqrt(np.sum(merged[:, column] ** 2))
    return out - weight


def full_targets(layers: int = 60, width: int = 3072) -> dict:
    """All linear layers that trainers adapt in the 20 B model, by name, with their sizes."""
    per_block = {
        "attn.to_q": (1, 1), "attn.to_k": (1, 1), "attn.to_v": (1, 1), "attn.to_out.0": (1, 1),
        "attn.add_q_proj": (1, 1), "attn.add_k_proj": (1, 1), "attn.add_v_proj": (1, 1), "attn.to_add_out": (1, 1),
        "img_mlp.net.0.proj": (4, 1), "img_mlp.net.2": (1, 4), "txt_mlp.net.0.proj": (4, 1), "txt_mlp.net.2": (1, 4),
        "img_mod.1": (6, 1), "txt_mod.1": (6, 1),
    }
    return {
        f"transformer_blocks.{block}.{name}": (rows * width, columns * width)
        for block in range(layers) for name, (rows, columns) in per_block.items()
    }


def sparse(path: Path, spelling: Spelling, modules: dict, rank: int, metadata: dict | None = None,
           dtype: str = "BF16") -> Path:
    """Write a file of true size whose data are a hole in the disk (all zero): a header of real proportions."""
    header: dict = {} if metadata is None else {"__metadata__": metadata}
    position = 0
    for module, (rows, columns) in modules.items():
        parts = [(spelling.down, [rank, columns]), (spelling.up, [rows, rank])]
        parts += [("alpha", [])] if spelling.alpha else []
        for name, shape in parts:
            end = position + SIZES[dtype] * int(np.prod(shape, dtype=np.int64))
            key = f"{spelling.stem(module)}.{name}"
            header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [position, end]}
            position = end
    write_raw(path, header)
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size + position)
    return path
