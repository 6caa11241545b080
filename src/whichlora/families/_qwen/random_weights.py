"""A base of random weights at whatever size its configurations state: for rehearsals and measurements.

Random weights cost what real ones cost; the pictures mean nothing. A folder with `whichlora.json` and
`{"random_weights": true}` in it needs configurations, tokenizer and processor, but no weight file. Every parameter is
drawn from a seed of its own name, so that a block can be drawn again whenever it is needed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


def draw(name: str, out: Tensor) -> None:
    """Fill a parameter: matrices uniform within ±1/√inputs, as torch does it; normalisations 1; biases small."""
    if out.ndim >= 2:
        inputs = out[0].numel()
        _uniform(name, out, inputs**-0.5)
    elif name.endswith("bias"):
        _uniform(name, out, 0.01)
    else:
        out.fill_(1.0)


def _uniform(name: str, out: Tensor, bound: float) -> None:
    generator = torch.Generator(out.device if out.is_cuda else "cpu").manual_seed(zlib.crc32(name.encode()))
    with torch.no_grad():
        if out.is_cuda or not torch.cuda.is_available():
            out.uniform_(-bound, bound, generator=generator)
            return
        # Host memory is filled through the GPU: drawing billions of numbers on a processor takes minutes, and a
        # parameter must be the same wherever it lies.
        drawn = torch.empty(out.shape, dtype=out.dtype, device="cuda")
        drawn.uniform_(-bound, bound, generator=torch.Generator("cuda").manual_seed(zlib.crc32(name.encode())))
        out.copy_(drawn)


def random_transformer(folder: Path, device: str, dtype: torch.dtype, *, blocks: bool) -> Any:
    """The transformer that a base's folder configures; blocks on the device, or without storage."""
    from accelerate import init_empty_weights
    from diffusers import QwenImageTransformer2DModel  # pyright: ignore[reportPrivateImportUsage]

    config: Any = QwenImageTransformer2DModel.load_config(str(folder / "transformer"))
    with init_empty_weights(), _numbers(dtype):
        model: Any = QwenImageTransformer2DModel.from_config(config)
    for name, child in model.named_children():
        if name != "transformer_blocks" or blocks:
            child.to_empty(device=device)
            for inner, weight in child.named_parameters():
                draw(f"{name}.{inner}", weight.data)
    # Computed at construction, outside any parameter: not to be left without storage.
    model.pos_embed = type(model.pos_embed)(
        theta=model.pos_embed.theta, axes_dim=list(model.pos_embed.axes_dim), scale_rope=model.pos_embed.scale_rope
    )
    return model


def random_vae(folder: Path, dtype: torch.dtype) -> Any:
    """The VAE that a base's folder configures."""
    from diffusers import AutoencoderKLQwenImage  # pyright: ignore[reportPrivateImportUsage]

    torch.manual_seed(20509)
    config: Any = AutoencoderKLQwenImage.load_config(str(folder / "vae"))
    with _numbers(dtype):
        return AutoencoderKLQwenImage.from_config(config)


def random_text_encoder(folder: Path, device: str, dtype: torch.dtype) -> Any:
    """The text encoder that a base's folder configures, made on its device."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = (folder / "text_encoder" / "config.json").read_text(encoding="utf-8")
    torch.manual_seed(20509)
    with _numbers(dtype), torch.device(device):
        return Qwen2_5_VLForConditionalGeneration._from_config(
            Qwen2_5_VLConfig.from_dict(json.loads(text)), dtype=dtype
        )


@contextmanager
def _numbers(dtype: torch.dtype) -> Iterator[None]:
    """Make parameters in a format from the start."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)

