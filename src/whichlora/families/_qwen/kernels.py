# ruff: noqa: ANN001, ANN202
"""Triton kernels for what lies between the products of a block: normalisation, modulation, rotation, residuals.

Each reads its rows once, computes in fp32 and rounds once at the end. They replace what a compiler makes of the same
formulas (`fast.py`), need no compilation of the block, and give the same bits for a block wherever its weights lie.
Only on CUDA (or in Triton's interpreter, for tests): `usable` tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:  # not on this platform: the compiled or the eager forward is used
    triton = tl = None  # type: ignore[assignment]

EPSILON = 1e-6
"""Of every normalisation of this architecture."""
FP8_MAX = 448.0
"""Largest number of e4m3."""


def usable(device: Any, dtype: Any, head: int) -> bool:
    """Whether the kernels run on a device, for a working format and a head size."""
    return (triton is not None and torch.device(device).type == "cuda" and not torch.version.hip
            and dtype == torch.bfloat16 and head & (head - 1) == 0)


if triton is not None and tl is not None:

    @triton.jit
    def _norm_kernel(
        x, y, kept, out, scales, mod, mod_stride, first, gate_at, shift_at, scale_at, split, width, eps,
        RESIDUAL: tl.constexpr, NORM: tl.constexpr, QUANTISE: tl.constexpr, LIMIT: tl.constexpr, BLOCK: tl.constexpr,
    ):
        """One token: residual with its gate, layer norm with scale and shift, rounding to 8 bits; each if asked for."""
        row = tl.program_id(0).to(tl.int64)
        columns = tl.arange(0, BLOCK)
        inside = columns < width
        rows = mod + tl.where(row + first >= split, mod_stride, 0)
        value = tl.load(x + row * width + columns, mask=inside, other=0.0).to(tl.float32)
        if RESIDUAL:
            added = tl.load(y + row * width + columns, mask=inside, other=0.0).to(tl.float32)
            gate = tl.load(rows + gate_at + columns, mask=inside, other=0.0).to(tl.float32)
            rounded = (value + gate * added).to(kept.dtype.element_ty)
            tl.store(kept + row * width + columns, rounded, mask=inside)
            value = rounded.to(tl.float32)
        if NORM:
            mean = tl.sum(value, 0) / width
            centred = tl.where(inside, value - mean, 0.0)
            variance = tl.sum(centred * centred, 0) / width
            shift = tl.load(rows + shift_at + columns, mask=inside, other=0.0).to(tl.float32)
            scale = tl.load(rows + scale_at + columns, mask=inside, other=0.0).to(tl.float32)
            value = tl.where(inside, centred * tl.rsqrt(variance + eps) * (1.0 + scale) + shift, 0.0)
        if QUANTISE:
            step = tl.maximum(tl.max(tl.abs(value), 0) / LIMIT, 1e-12)
            tl.store(scales + row, step)
            clamped = tl.minimum(tl.maximum(value / step, -LIMIT), LIMIT)
            tl.store(out + row * width + columns, clamped.to(out.dtype.element_ty), mask=inside)
        elif NORM:
            tl.store(out + row * width + columns, value.to(out.dtype.element_ty), mask=inside)

    @triton.jit
    def _rotate_kernel(
        qkv, row_stride, text_table, image_table, text_tokens, image_tokens, norm_q, norm_k, added_q, added_k, width,
        eps, HEADS: tl.constexpr, HEADS_UP: tl.constexpr, HEAD: tl.constexpr,
    ):
        """One token's queries (or keys) of all heads, in place: root mean square norm, weight, rotation."""
        row = tl.program_id(0).to(tl.int64)
        keys = tl.program_id(1)
        heads = tl.arange(0, HEADS_UP)
        features = tl.arange(0, HEAD)
        pairs = tl.arange(0, HEAD // 2)
        place = qkv + row * row_stride + keys * width + heads[:, None] * HEAD + features[None, :]
        inside = heads[:, None] < HEADS
        value = tl.load(place, mask=inside, other=0.0).to(tl.float32)
        is_text = row < text_tokens
        of_image = tl.where(keys == 0, tl.load(norm_q + features), tl.load(norm_k + features))
        of_text = tl.where(keys == 0, tl.load(added_q + features), tl.load(added_k + features))
        weight = tl.where(is_text, of_text, of_image).to(tl.float32)
        size = tl.sum(value * value, 1) / HEAD
        value = value * tl.rsqrt(size + eps)[:, None] * weight[None, :]
        in_text, in_image = (pairs >= 0) & is_text, (pairs >= 0) & (row >= text_tokens)
        text_place = text_table + row * (HEAD // 2) + pairs
        image_place = image_table + (row - text_tokens) * (HEAD // 2) + pairs
        cosine = (tl.load(text_place, mask=in_text, other=0.0)
                  + tl.load(image_place, mask=in_image, other=0.0))[None, :]
        sine = (tl.load(text_place + text_tokens * (HEAD // 2), mask=in_text, other=0.0)
                + tl.load(image_place + image_tokens * (HEAD // 2), mask=in_image, other=0.0))[None, :]
        first, second = tl.split(tl.reshape(value, (HEADS_UP, HEAD // 2, 2)))
        turned = tl.join(first * cosine - second * sine, first * sine + second * cosine)
        tl.store(place, tl.reshape(turned, (HEADS_UP, HEAD)).to(qkv.dtype.element_ty), mask=inside)


def _launch_norm(
    x: Tensor, y: Tensor | None, mod: Tensor, at: tuple[int, int, int], split: int, *, norm: bool, quantise: bool,
) -> tuple[Tensor | None, Any]:
    """Run `_norm_kernel`; (the new residual stream, the normalised rows or (8-bit rows, scales))."""
    tokens, width = x.shape[-2], x.shape[-1]
    kept = torch.empty_like(x) if y is not None else None
    out: Any = None
    scales: Any = None
    if quantise:
        out = torch.empty(x.shape, dtype=torch.float8_e4m3fn, device=x.device)
        scales = torch.empty((tokens, 1), dtype=torch.float32, device=x.device)
    elif norm:
        out = torch.empty_like(x)
    stride = mod.stride(0) if mod.shape[0] > 1 else 0
    gate_at, shift_at, scale_at = (place * width for place in at)
    _norm_kernel[(tokens,)](
        x, x if y is None else y, x if kept is None else kept, x if out is None else out,
        mod if scales is None else scales, mod, stride, 0, gate_at, shift_at, scale_at, split, width, EPSILON,
        RESIDUAL=y is not None, NORM=norm, QUANTISE=quantise, LIMIT=FP8_MAX,
        BLOCK=triton.next_power_of_2(width), num_warps=8,
    )
    return kept, (out, scales) if quantise else out


def norm_modulate(x: Tensor, mod: Tensor, half: int, split: int, *, quantise: bool = False) -> Any:
    """Layer norm, scale and shift of a block's first (0) or second (1) half.

    Args:
        x: 1 × tokens × width, contiguous.
        mod: Rows × (6 · width): shift, scale, gate of the first half, then of the second. With two rows, the second
            belongs to tokens from `split` on.
        half: 0 or 1.
        split: First token of the second row.
        quantise: Whether to round to 8 bits, one scale a token.

    Returns:
        1 × tokens × width, or (that in float8_e4m3fn, tokens × 1 scales).
    """
    at = (2 + 3 * half, 3 * half, 1 + 3 * half)
    return _launch_norm(x, None, mod, at, split, norm=True, quantise=quantise)[1]


def residual_norm_modulate(x: Tensor, y: Tensor, mod: Tensor, split: int, *, quantise: bool = False) -> Any:
    """X + gate · y with the first half's gate, and its layer norm with scale and shift of the second half."""
    return _launch_norm(x, y, mod, (2, 3, 4), split, norm=True, quantise=quantise)


def residual(x: Tensor, y: Tensor, mod: Tensor, split: int) -> Tensor:
    """X + gate · y with the second half's gate."""
    kept = _launch_norm(x, y, mod, (5, 3, 4), split, norm=False, quantise=False)[0]
    assert kept is not None
    return kept


def quantise_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Round to 8 bits with one scale a token: x in float8_e4m3fn, tokens × 1 in fp32."""
    return _launch_norm(x, None, x.flatten(0, -2)[:1], (0, 0, 0), 1 << 30, norm=False, quantise=True)[1]


def norm_rotate(
    qkv: Tensor, text_tokens: int, tables: tuple[Tensor, Tensor], norms: tuple[Tensor, Tensor, Tensor, Tensor],
    heads: int,
) -> None:
    """Normalise and rotate queries and keys in place.

    Args:
        qkv: 1 × (text, then image tokens) × (3 · width), contiguous.
        text_tokens: How many are the instruction's.
        tables: Rotary tables of text and image tokens, 2 × tokens × (head size / 2) in fp32, contiguous.
        norms: Weights for queries and keys of the image, then of the text: head size each.
        heads: Number of heads.
    """
    tokens, width = qkv.shape[1], qkv.shape[2] // 3
    head = width // heads
    image_q, image_k, text_q, text_k = norms
    _rotate_kernel[(tokens, 2)](
        qkv, qkv.stride(1), tables[0], tables[1], text_tokens, tokens - text_tokens, image_q, image_k, text_q, text_k,
        width, EPSILON, HEADS=heads, HEADS_UP=triton.next_power_of_2(heads), HEAD=head, num_warps=8,
    )
