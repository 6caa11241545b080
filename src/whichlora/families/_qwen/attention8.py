"""Attention with queries and keys rounded to 8 bits: SageAttention's kernel where it is installed, else a reference.

The reference rounds as that kernel's paper says (arXiv 2410.02367: keys without their mean, one int8 scale a row here)
and then multiplies in the working format: it shows the change of the pictures, and saves no time.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as functional

if TYPE_CHECKING:
    from torch import Tensor


def attention_8bit(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot product attention over B × heads × tokens × head size, with 8-bit queries and keys."""
    if query.is_cuda and has_kernel():
        from sageattention import sageattn  # pyright: ignore[reportMissingImports]

        return sageattn(query.contiguous(), key.contiguous(), value.contiguous(), tensor_layout="HND")
    # A vector added to every key changes no softmax; without it the keys have smaller magnitudes to round.
    key = key - key.mean(dim=-2, keepdim=True)
    return functional.scaled_dot_product_attention(rounded(query), rounded(key), value)


def has_kernel() -> bool:
    """Whether the 8-bit kernel's package is installed."""
    return find_spec("sageattention") is not None


def rounded(x: Tensor) -> Tensor:
    """Each row rounded to 255 even steps of its largest magnitude."""
    scale = (x.float().abs().amax(-1, keepdim=True) / 127).clamp_min(1e-12)
    return (torch.round(x.float() / scale) * scale).to(x.dtype)
