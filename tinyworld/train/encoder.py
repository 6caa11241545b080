"""A batched forward pass over the Hugging Face text encoder's own weights.

The stock forward handles pictures of any size through host-side index work; training needs
one picture of a fixed size per prompt, and nothing that waits for the host.
"""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from model import PREFIX_TOKENS, SYSTEM_PROMPT
from settings import SIZES, THUMB
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

CELLS = THUMB // 28  # vision tokens along one side
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def _rms(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    wide = x.float()
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)).to(x.dtype)


def _turn(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = x.float().chunk(2, -1)
    rotated = torch.cat([-second, first], -1)
    return x.float() * cosine + rotated * sine


class PromptEncoder(nn.Module):
    """Prompt embeddings (after the pipeline's cut) from token ids and 84×84 pictures."""

    def __init__(self, text_encoder: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.stock = [text_encoder]  # in a list, so that its weights are not listed twice
        self.tokenizer = tokenizer
        self.image_token = tokenizer.convert_tokens_to_ids("<|image_pad|>")
        self.first_image = self.tokens("x").index(self.image_token)
        device = next(text_encoder.parameters()).device
        self.mean = torch.tensor(CLIP_MEAN, device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(CLIP_STD, device=device).view(1, 3, 1, 1)
        self.vision_table = self._vision_positions(device)

    def tokens(self, text: str) -> list[int]:
        """Token ids of the whole prompt around `text`, with nine image tokens."""
        before, after = SYSTEM_PROMPT.split("{}")
        picture = f"<|vision_start|>{'<|image_pad|>' * CELLS**2}<|vision_end|>"
        return self.tokenizer(f"{before}Picture 1: {picture}{text}{after}")["input_ids"]

    def table(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Padded ids (rows×length) and masks after the cut (rows×words)."""
        rows = [self.tokens(text) for text in texts]
        longest = max(map(len, rows))
        length = PREFIX_TOKENS + (longest - PREFIX_TOKENS + 7) // 8 * 8
        filler = self.tokenizer.convert_tokens_to_ids("<|endoftext|>")
        ids = torch.full((len(rows), length), filler)
        mask = torch.zeros(len(rows), length, dtype=torch.bool)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = True
        return ids, mask[:, PREFIX_TOKENS:]

    def positions(self, length: int, device: torch.device) -> Tensor:
        """Rotary tables 2×2×length×head: [1-D, three-axis] × [cosine, sine]."""
        head, start, cells = SIZES.text // 4, self.first_image, CELLS**2
        line = torch.arange(length, device=device)
        grid = torch.arange(CELLS, device=device)
        after = line[start + cells :] - cells + CELLS
        axes = (
            torch.full((cells,), start, device=device),
            start + grid.repeat_interleave(CELLS),
            start + grid.repeat(CELLS),
        )
        spatial = torch.stack([torch.cat([line[:start], axis, after]) for axis in axes])
        rate = 1.0 / (1e4 ** (torch.arange(0, head, 2, device=device).float() / head))
        tables = []
        for places in (line.expand(3, -1), spatial):
            angles = (places[..., None].float() * rate).split((4, 6, 6), -1)
            half = torch.cat([angles[i][i] for i in range(3)], -1)
            whole = torch.cat([half, half], -1)
            tables.append(torch.stack([whole.cos(), whole.sin()]))
        return torch.stack(tables)

    def _vision_positions(self, device: torch.device) -> tuple[Tensor, Tensor]:
        head, side = SIZES.vision // 2, 2 * CELLS
        line = torch.arange(side, device=device)

        def merged(grid: Tensor) -> Tensor:
            return grid.reshape(CELLS, 2, CELLS, 2).permute(0, 2, 1, 3).flatten()

        rows, columns = merged(line[:, None].expand(side, side)), merged(line.expand(side, side))
        rate = 1.0 / (1e4 ** (torch.arange(0, head // 2, 2, device=device).float() / (head // 2)))
        half = torch.cat([rows[:, None] * rate, columns[:, None] * rate], -1)
        whole = torch.cat([half, half], -1)
        return whole.cos(), whole.sin()

    def _patches(self, pictures: Tensor) -> Tensor:
        scaled = ((pictures - self.mean) / self.std).unsqueeze(2).expand(-1, -1, 2, -1, -1)
        grid = scaled.reshape(-1, 3, 2, CELLS, 2, 14, CELLS, 2, 14)
        ordered = grid.permute(0, 3, 6, 4, 7, 1, 2, 5, 8)
        return ordered.reshape(len(pictures), CELLS**2 * 4, 3 * 2 * 14 * 14)

    def _see(self, pictures: Tensor) -> Tensor:
        tower, count = self.stock[0].model.visual, len(pictures)
        x = nnf.linear(self._patches(pictures), tower.patch_embed.proj.weight.flatten(1))
        width = x.shape[-1]
        cosine, sine = self.vision_table
        for block in tower.blocks:
            mixed = block.attn.qkv(_rms(x, block.norm1.weight, 1e-6))
            query, key, value = mixed.view(count, -1, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
            query, key = (_turn(t, cosine, sine).to(value.dtype) for t in (query, key))
            seen = nnf.scaled_dot_product_attention(query, key, value)
            x = x + block.attn.proj(seen.transpose(1, 2).reshape(count, -1, width))
            inner, mlp = _rms(x, block.norm2.weight, 1e-6), block.mlp
            x = x + mlp.down_proj(nnf.silu(mlp.gate_proj(inner)) * mlp.up_proj(inner))
        merger = tower.merger
        return merger.mlp(_rms(x, merger.ln_q.weight, 1e-6).view(count, CELLS**2, -1))

    def forward(self, ids: Tensor, pictures: Tensor, table: Tensor) -> Tensor:
        """Embeddings n×words×text of prompts and their pictures.

        ids: n×length; pictures: n×3×84×84 in 0..1; table: 2×(1 or n)×length×head rotary
        cosine and sine.
        """
        language = self.stock[0].model.language_model
        count, length = ids.shape
        head = SIZES.text // 4
        cosine, sine = table[0][:, None], table[1][:, None]
        x = nnf.embedding(ids, language.embed_tokens.weight)
        seen = self._see(pictures).to(x.dtype)
        start, cells = self.first_image, CELLS**2
        x = torch.cat([x[:, :start], seen, x[:, start + cells :]], 1)
        for layer in language.layers:
            inner, attention = _rms(x, layer.input_layernorm.weight, 1e-5), layer.self_attn

            def heads(projected: Tensor) -> Tensor:
                return projected.view(count, length, -1, head).transpose(1, 2)

            query, key = heads(attention.q_proj(inner)), heads(attention.k_proj(inner))
            value = heads(attention.v_proj(inner))
            query, key = (_turn(t, cosine, sine).to(value.dtype) for t in (query, key))
            key, value = key.repeat_interleave(2, 1), value.repeat_interleave(2, 1)
            out = nnf.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = x + attention.o_proj(out.transpose(1, 2).reshape(count, length, -1))
            inner, mlp = _rms(x, layer.post_attention_layernorm.weight, 1e-5), layer.mlp
            x = x + mlp.down_proj(nnf.silu(mlp.gate_proj(inner)) * mlp.up_proj(inner))
        return _rms(x, language.norm.weight, 1e-5)[:, PREFIX_TOKENS:]
