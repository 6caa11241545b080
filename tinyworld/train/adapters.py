"""Low-rank adapters on the transformer's attention and feed-forward layers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

ATTENTION = (
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "add_q_proj",
    "add_k_proj",
    "add_v_proj",
    "to_add_out",
)
FEED_FORWARD = ("img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2")
RANK = 4


class LowRankLinear(nn.Module):
    """A frozen linear layer plus gate · up(down(x)); with up at zero it changes nothing."""

    def __init__(self, inner: nn.Linear, rank: int, gate: Tensor) -> None:
        super().__init__()
        self.inner, self.gate = inner, gate
        device = inner.weight.device
        self.down = nn.Parameter(torch.zeros(rank, inner.in_features, device=device))
        self.up = nn.Parameter(torch.zeros(inner.out_features, rank, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """The frozen layer plus the low-rank change."""
        return self.inner(x) + nnf.linear(nnf.linear(x, self.down), self.up) * self.gate


class AdapterSet:
    """All adapters of a transformer; their names are those of the layers they sit on."""

    def __init__(self, transformer: nn.Module, rank: int = RANK) -> None:
        transformer.requires_grad_(False)
        self.gate = torch.ones((), device=next(transformer.parameters()).device)
        self.layers: dict[str, LowRankLinear] = {}
        for index, block in enumerate(transformer.transformer_blocks):
            for suffix in [*(f"attn.{name}" for name in ATTENTION), *FEED_FORWARD]:
                parent_name, _, leaf = suffix.rpartition(".")
                parent = block.get_submodule(parent_name)
                adapter = LowRankLinear(block.get_submodule(suffix), rank, self.gate)
                setattr(parent, leaf, adapter)
                self.layers[f"transformer_blocks.{index}.{suffix}"] = adapter

    def parameters(self) -> list[nn.Parameter]:
        """All trainable factors."""
        return [p for layer in self.layers.values() for p in (layer.down, layer.up)]

    @torch.no_grad()
    def reset(self, seed: int = 0, start: dict[str, Tensor] | None = None) -> None:
        """Fresh adapters, or those of `start` (name.down / name.up)."""
        torch.manual_seed(seed)
        for name, layer in self.layers.items():
            layer.up.zero_()
            nn.init.kaiming_uniform_(layer.down, a=math.sqrt(5))
            if start is not None:
                layer.down.copy_(start[f"{name}.down"])
                layer.up.copy_(start[f"{name}.up"])

    @torch.no_grad()
    def state(self, sign: float = 1.0) -> dict[str, Tensor]:
        """Copies of all factors; sign -1 gives the adapter that undoes this one."""
        out = {}
        for name, layer in self.layers.items():
            out[f"{name}.down"] = layer.down.detach().clone()
            out[f"{name}.up"] = layer.up.detach().clone() * sign
        return out

    @torch.no_grad()
    def fold(self) -> None:
        """Add the adapters to the weights beneath, and start again at no change."""
        for layer in self.layers.values():
            layer.inner.weight += layer.up @ layer.down
            layer.up.zero_()
