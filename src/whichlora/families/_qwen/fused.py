"""A block of the forward on Triton kernels: nothing to compile, every row read once between two products.

The formulas are those of `fast.block_forward`. Queries, keys and values of both streams are written into one buffer by
the products themselves, normalised and rotated there, and attention reads them where they lie; values are never copied.
For dense weights and for fp8, whose rows are rounded to 8 bits by the kernel that makes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as functional

from whichlora.families._qwen import kernels
from whichlora.families._qwen.fast import BlockWeights, Extra, Kept
from whichlora.families._qwen.linear import Dense, Fp8, Weight, linear_gelu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def suits(weights: BlockWeights) -> bool:
    """Whether every linear layer is dense or fp8."""
    return all(isinstance(each, Dense | Fp8) for each in weights if not isinstance(each, torch.Tensor))


class Stream(NamedTuple):
    """One forward's tokens on their way through the blocks."""

    img: Tensor
    """1 × image tokens × width."""
    txt: Tensor
    """1 × text tokens × width."""
    tables: tuple[Tensor, Tensor]
    """Rotary tables of text and image tokens."""
    extra: Extra


def fused_block(
    streams: Sequence[Stream], modulation: tuple[Tensor, Tensor], weights: BlockWeights,
    attend: Any = functional.scaled_dot_product_attention,
) -> list[tuple[Tensor, Tensor, Kept | None]]:
    """One block for several forwards of the same step.

    Their texts go through the text stream's layers together: a few hundred tokens cost little more than reading the
    weights. Pictures are thousands of tokens and gain nothing by that.

    Args:
        streams: The forwards.
        modulation: Of the image and the text stream, as `fast.block_forward` takes it.
        weights: The block's, dense or fp8.
        attend: Scaled dot product attention.

    Returns:
        For each forward, what `fast.block_forward` returns.
    """
    img_mod, txt_mod = modulation
    lengths = [each.txt.shape[1] for each in streams]
    text = _joined([each.txt for each in streams])
    text_qkv = _product(_normed(text, txt_mod, 0, 0, weights.txt_qkv), weights.txt_qkv).split(lengths, dim=1)
    attended = [
        _attention(each, words, img_mod, weights, attend) for each, words in zip(streams, text_qkv, strict=True)
    ]
    images: list[Tensor] = []
    for each, (out, _) in zip(streams, attended, strict=True):
        img = each.img[:, : each.extra.only] if each.extra.only else each.img
        layers = (weights.img_out, weights.img_up, weights.img_down)
        images.append(_after(img, out[:, each.txt.shape[1]:], img_mod, each.extra.noisy, layers))
    texts: Sequence[Tensor] = [each.txt for each in streams]
    if not streams[0].extra.only:
        out = _joined([found[:, :length] for (found, _), length in zip(attended, lengths, strict=True)])
        texts = _after(text, out, txt_mod, 0, (weights.txt_out, weights.txt_up, weights.txt_down)).split(lengths, dim=1)
    return [(img, txt, kept) for img, txt, (_, kept) in zip(images, texts, attended, strict=True)]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)


def _attention(
    stream: Stream, text_qkv: Tensor, img_mod: Tensor, weights: BlockWeights, attend: Any
) -> tuple[Tensor, Kept | None]:
    """Attention over text and image tokens together: 1 × tokens × width, and kept keys and values."""
    img, extra, text_tokens = stream.img, stream.extra, stream.txt.shape[1]
    qkv = img.new_empty((1, text_tokens + img.shape[1], 3 * img.shape[2]))
    qkv[:, :text_tokens].copy_(text_qkv)
    _product(_normed(img, img_mod, 0, extra.noisy, weights.img_qkv), weights.img_qkv, qkv[0, text_tokens:])
    norms = (weights.norm_q, weights.norm_k, weights.norm_added_q, weights.norm_added_k)
    kernels.norm_rotate(qkv, text_tokens, stream.tables, norms, extra.heads)
    query, key, value = (part.unflatten(-1, (extra.heads, -1)) for part in qkv.chunk(3, dim=-1))
    captured = None
    if extra.capture:
        captured = Kept(key[:, -extra.capture:].clone(), value[:, -extra.capture:].clone())
    if extra.kept is not None:
        key, value = torch.cat([key, extra.kept.key], dim=1), torch.cat([value, extra.kept.value], dim=1)
    if extra.only:
        query = query[:, : text_tokens + extra.only]
    out = attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)).transpose(1, 2).flatten(2)
    return out, captured


def _after(
    x: Tensor, attended: Tensor, mod: Tensor, noisy: int, layers: tuple[Weight, Weight, Weight]
) -> Tensor:
    """A stream's residual after attention, and its MLP."""
    last, up, down = layers
    x, rows = kernels.residual_norm_modulate(x, _product(_rounded(attended, last), last), mod, noisy,
                                             quantise=isinstance(up, Fp8))
    hidden = linear_gelu(rows, up) if isinstance(up, Dense) else functional.gelu(_product(rows, up), approximate="tanh")
    return kernels.residual(x, _product(_rounded(hidden, down), down), mod, noisy)


def _normed(x: Tensor, mod: Tensor, half: int, noisy: int, layer: Weight) -> Any:
    return kernels.norm_modulate(x, mod, half, noisy, quantise=isinstance(layer, Fp8))


def _rounded(x: Tensor, layer: Weight) -> Any:
    return kernels.quantise_rows(x) if isinstance(layer, Fp8) else x


def _product(rows: Any, layer: Weight, out: Tensor | None = None) -> Tensor:
    """Rows · weightᵀ + bias, into `out` (tokens × columns) when given; else 1 × tokens × columns."""
    if isinstance(layer, Fp8):
        values, scale = rows
        found = torch._scaled_mm(  # pyright: ignore[reportPrivateImportUsage]
            values.flatten(0, -2), layer.weight.t(), scale_a=scale, scale_b=layer.scale.t(), bias=layer.bias,
            out_dtype=layer.bias.dtype, use_fast_accum=True, out=out,
        )
        return found.unsqueeze(0)
    if not isinstance(layer, Dense):
        raise TypeError(f"these kernels take dense and fp8 weights, not {type(layer).__name__}")
    flat = rows.flatten(0, -2)
    if out is None:
        return torch.addmm(layer.bias, flat, layer.weight.t()).unsqueeze(0)
    return torch.addmm(layer.bias, flat, layer.weight.t(), out=out).unsqueeze(0)
