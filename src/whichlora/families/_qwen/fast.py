"""The forward of a Qwen-Image transformer over plain tensors: the same maths as diffusers' modules, fewer operations.

What is saved, without changing a formula: rotary embedding with real numbers (no complex ones, which no compiler
fuses), queries, keys and values of a stream in one product, modulations handed in ready-made (they depend on the
noise level alone, see `modulation.py`), no output for reference tokens. One pure function computes a block from a
tuple of tensors, so one compilation serves every block, every candidate and weights that pass through a buffer.

Does not hold weights (`weights.py`), does not choose kernels (`engine.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as functional

from whichlora.families._qwen.linear import Weight, linear, linear_gelu

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-6
"""Of every normalisation of this architecture."""


class BlockWeights(NamedTuple):
    """Weights of one block without its modulations; linear ones dense or quantised."""

    img_qkv: Weight
    txt_qkv: Weight
    norm_q: Tensor
    norm_k: Tensor
    norm_added_q: Tensor
    norm_added_k: Tensor
    img_out: Weight
    txt_out: Weight
    img_up: Weight
    img_down: Weight
    txt_up: Weight
    txt_down: Weight


class Kept(NamedTuple):
    """Keys and values of the reference tokens in one block, from an earlier step."""

    key: Tensor
    """1 × reference tokens × heads × head size, after normalisation and rotation."""
    value: Tensor
    """The same shape."""


class Extra(NamedTuple):
    """What attention needs beside tensors."""

    heads: int
    """Number of heads."""
    capture: int = 0
    """How many image tokens at the end are references whose keys and values are to be returned."""
    kept: Kept | None = None
    """Keys and values of reference tokens that are not among the image tokens (near-lossless reuse)."""
    noisy: int = 0
    """How many image tokens at the beginning are the picture that is made; the others are references."""
    only: int = 0
    """In the last block: how many image tokens are wanted of the result; all when 0, and the text stream with them."""


def rotation(
    model: Any, shapes: list[list[tuple[int, int, int]]], text_tokens: int, device: Any
) -> tuple[Tensor, Tensor]:
    """Rotary tables of text and image tokens as real numbers: 2 (cosine, sine) × tokens × (head size / 2), fp32.

    Args:
        model: Diffusers' transformer, whose own `pos_embed` computes the angles.
        shapes: As diffusers takes them: one list of (frames, height, width) in tokens.
        text_tokens: Tokens of the instruction.
        device: Where the table goes.
    """
    image, text = model.pos_embed(shapes, max_txt_seq_len=text_tokens, device=torch.device("cpu"))
    tables = [torch.stack([angles.real, angles.imag]).float().to(device).contiguous() for angles in (text, image)]
    return tables[0], tables[1]


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn each pair of features by its token's angle; x is B × tokens × heads × head size, in fp32."""
    cosine, sine = table[0][:, None, :], table[1][:, None, :]
    pairs = x.unflatten(-1, (-1, 2))
    first, second = pairs[..., 0], pairs[..., 1]
    return torch.stack([first * cosine - second * sine, first * sine + second * cosine], dim=-1).flatten(-2)


def normed(x: Tensor, weight: Tensor) -> Tensor:
    """Root-mean-square normalisation over the head, in fp32."""
    wide = x.float()
    return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPSILON) * weight.float()


def modulated(x: Tensor, rows: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor]:
    """Layer norm, scale and shift; and the gate.

    Args:
        x: B × tokens × width.
        rows: B × (3 · width): shift, scale, gate. With `reference`, 2B rows: those of the reference tokens follow.
        reference: tokens × 1, true for reference tokens, which 2511 treats as free of noise; None for 2509.
    """
    parts = [part.unsqueeze(1) for part in rows.chunk(3, dim=-1)]
    if reference is not None:
        half = rows.shape[0] // 2
        parts = [torch.where(reference, part[half:], part[:half]) for part in parts]
    shift, scale, gate = parts
    return functional.layer_norm(x, (x.shape[-1],), eps=EPSILON) * (1 + scale) + shift, gate


def joint_attention(
    img: Tensor, txt: Tensor, weights: BlockWeights, tables: tuple[Tensor, Tensor], extra: Extra, attend: Any,
) -> tuple[Tensor, Tensor, Kept | None]:
    """Attention over text and image tokens together, before the output projections.

    Args:
        img: B × image tokens × width, modulated.
        txt: B × text tokens × width, modulated.
        weights: The block's.
        tables: Rotary tables of text and image tokens.
        extra: Heads and reference tokens.
        attend: Scaled dot product attention.
    """
    text_tokens = txt.shape[1]
    text_table, image_table = tables
    heads, capture, kept = extra.heads, extra.capture, extra.kept
    parts: list[list[Tensor]] = []
    for x, qkv, norm_q, norm_k, turn in (
        (txt, weights.txt_qkv, weights.norm_added_q, weights.norm_added_k, text_table),
        (img, weights.img_qkv, weights.norm_q, weights.norm_k, image_table),
    ):
        query, key, value = (part.unflatten(-1, (heads, -1)) for part in linear(x, qkv).chunk(3, dim=-1))
        parts.append([rotate(normed(query, norm_q), turn).to(x.dtype), rotate(normed(key, norm_k), turn).to(x.dtype),
                      value])
    query, key, value = (torch.cat([text, image], dim=1) for text, image in zip(*parts, strict=True))
    captured = Kept(key[:, -capture:], value[:, -capture:]) if capture else None
    if kept is not None:
        key, value = torch.cat([key, kept.key], dim=1), torch.cat([value, kept.value], dim=1)
    if extra.only:
        query = query[:, : text_tokens + extra.only]
    out = attend(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)).transpose(1, 2).flatten(2)
    return out[:, text_tokens:], out[:, :text_tokens], captured


def block_forward(
    img: Tensor, txt: Tensor, modulation: tuple[Tensor, Tensor], tables: tuple[Tensor, Tensor, Tensor | None],
    weights: BlockWeights, extra: Extra, attend: Any = functional.scaled_dot_product_attention,
) -> tuple[Tensor, Tensor, Kept | None]:
    """One block on both streams.

    Args:
        img: B × image tokens × width.
        txt: B × text tokens × width.
        modulation: Of the image and the text stream, B (or 2B, see `modulated`) × (6 · width).
        tables: Rotary tables of text and image tokens, and which image tokens are references (None for 2509).
        weights: The block's.
        extra: Heads and reference tokens.
        attend: Scaled dot product attention.
    """
    text_table, image_table, reference = tables
    img_mod1, img_mod2 = modulation[0].chunk(2, dim=-1)
    txt_mod1, txt_mod2 = modulation[1].chunk(2, dim=-1)
    img_in, img_gate = modulated(img, img_mod1, reference)
    txt_in, txt_gate = modulated(txt, txt_mod1, None)
    img_out, txt_out, captured = joint_attention(img_in, txt_in, weights, (text_table, image_table), extra, attend)
    if extra.only:  # nothing reads what the last block would make of references and text
        img, img_gate = img[:, : extra.only], img_gate[:, : extra.only]
        reference = None if reference is None else reference[: extra.only]
    img = img + img_gate * linear(img_out, weights.img_out)
    img_in, img_gate = modulated(img, img_mod2, reference)
    img = img + img_gate * linear(linear_gelu(img_in, weights.img_up), weights.img_down)
    if extra.only:
        return _within_range(img), txt, captured
    txt = txt + txt_gate * linear(txt_out, weights.txt_out)
    txt_in, txt_gate = modulated(txt, txt_mod2, None)
    txt = txt + txt_gate * linear(linear_gelu(txt_in, weights.txt_up), weights.txt_down)
    return _within_range(img), _within_range(txt), captured


def _within_range(x: Tensor) -> Tensor:
    """In fp16, no further than its largest number: as diffusers does, against overflow."""
    return x.clip(-65504, 65504) if x.dtype == torch.float16 else x
