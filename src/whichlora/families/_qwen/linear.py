"""Linear layers over dense, fp8 or nf4 weights, as pure functions of tensors.

fp8: weight and activation are rounded to 8-bit floats (e4m3) with one scale a row each, products summed in fp32. On a
GPU the matrix units do it (`torch._scaled_mm`); everywhere else a reference computes the same sums from the rounded
numbers. nf4: weights in 4-bit normal-float steps, blocks of 64 values sharing a scale (QLoRA, arXiv 2305.14314,
appendix E), unpacked before the product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as functional

if TYPE_CHECKING:
    from torch import Tensor

FP8_MAX = 448.0
"""Largest number of e4m3."""
NF4_BLOCK = 64
"""Values that share a scale."""
NF4_STEPS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)
"""Quantiles of a normal distribution, zero among them (the constants of the paper's appendix)."""


class Dense(NamedTuple):
    """A weight as it is."""

    weight: Tensor
    """out × in."""
    bias: Tensor
    """out."""


class Fp8(NamedTuple):
    """A weight in 8-bit floats, one scale a row."""

    weight: Tensor
    """out × in, float8_e4m3fn."""
    scale: Tensor
    """out × 1, fp32: what a row is multiplied by."""
    bias: Tensor
    """out."""


class Nf4(NamedTuple):
    """A weight in 4-bit steps."""

    packed: Tensor
    """out × in/2, uint8: two values a byte, the first in the high half."""
    scale: Tensor
    """out × in/64, in the working format: largest magnitude of a block."""
    steps: Tensor
    """16 values, in the working format."""
    bias: Tensor
    """out."""


Weight = Dense | Fp8 | Nf4


def linear(x: Tensor, weight: Weight) -> Tensor:
    """The product x · weightᵀ + bias."""
    if isinstance(weight, Dense):
        return functional.linear(x, weight.weight, weight.bias)
    if isinstance(weight, Nf4):
        return functional.linear(x, nf4_values(weight), weight.bias)
    return _linear_fp8(x, weight)


def linear_gelu(x: Tensor, weight: Weight) -> Tensor:
    """The same, then GELU (tanh form); in the product's own epilogue where the GPU offers that."""
    if isinstance(weight, Dense) and x.is_cuda and x.dtype != torch.float32:
        return torch.ops.whichlora.linear_gelu(x, weight.weight, weight.bias)
    return functional.gelu(linear(x, weight), approximate="tanh")


@torch.library.custom_op("whichlora::linear_gelu", mutates_args=())
def _fused_gelu(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """GELU in the epilogue of cuBLASLt's product: taken of the fp32 sum, nothing is read back from memory."""
    flat = torch.ops.aten._addmm_activation(bias, x.flatten(0, -2), weight.t(), use_gelu=True)
    return flat.view(*x.shape[:-1], -1)


@_fused_gelu.register_fake
def _(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


# --------------------------------------------------------------------------- fp8


def to_fp8(weight: Tensor, bias: Tensor) -> Fp8:
    """Round a weight to e4m3 with one scale a row."""
    rounded, scale = _rounded(weight)
    return Fp8(rounded, scale, bias)


def _rounded(x: Tensor) -> tuple[Tensor, Tensor]:
    """(numbers in e4m3, fp32 scale of each row): a row's largest magnitude becomes 448."""
    wide = x.float()
    scale = (wide.abs().amax(-1, keepdim=True) / FP8_MAX).clamp_min(1e-12)
    return (wide / scale).clamp(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn), scale


def _linear_fp8(x: Tensor, weight: Fp8) -> Tensor:
    flat = x.flatten(0, -2)
    rounded, scale = _rounded(flat)
    if x.is_cuda:
        out = torch._scaled_mm(  # pyright: ignore[reportPrivateImportUsage]
            rounded, weight.weight.t(), scale_a=scale, scale_b=weight.scale.t(), bias=weight.bias,
            out_dtype=x.dtype, use_fast_accum=True,
        )
    else:
        out = fp8_reference(rounded, scale, weight, x.dtype)
    return out.view(*x.shape[:-1], -1)


def fp8_reference(rounded: Tensor, scale: Tensor, weight: Fp8, dtype: torch.dtype) -> Tensor:
    """What the matrix units compute, in fp32 from the rounded numbers; for processors and for tests."""
    sums = rounded.float() @ weight.weight.float().t()
    return (sums * scale * weight.scale.t() + weight.bias.float()).to(dtype)


# --------------------------------------------------------------------------- nf4


def to_nf4(weight: Tensor, bias: Tensor) -> Nf4:
    """Round a weight to 4-bit steps.

    Raises:
        ValueError: Its rows are no multiple of 64 values long.
    """
    rows, columns = weight.shape
    if columns % NF4_BLOCK:
        raise ValueError(f"nf4 needs rows of a multiple of {NF4_BLOCK} values, got {columns}")
    wide = weight.float().view(rows, columns // NF4_BLOCK, NF4_BLOCK)
    scale = wide.abs().amax(-1).to(weight.dtype)
    steps = torch.tensor(NF4_STEPS, device=weight.device)
    borders = (steps[1:] + steps[:-1]) / 2
    shares = wide / scale.float().clamp_min(1e-12).unsqueeze(-1)
    codes = torch.bucketize(shares, borders).to(torch.uint8).view(rows, columns)
    return Nf4((codes[:, 0::2] << 4) | codes[:, 1::2], scale, steps.to(weight.dtype), bias)


def nf4_values(weight: Nf4) -> Tensor:
    """The numbers that an nf4 weight stands for: out × in, in the working format."""
    packed = weight.packed
    codes = torch.stack([packed >> 4, packed & 15], dim=-1).flatten(-2)
    values = weight.steps[codes.int()].unflatten(-1, (-1, NF4_BLOCK))
    return (values * weight.scale.unsqueeze(-1)).flatten(-2)
