"""How the parameters of one block lie in one flat buffer, so that a block moves in a single copy.

Queries, keys and values of a stream lie one behind the other: as one matrix for the forward, as three for the LoRA
switcher and for diffusers' modules, over the same memory. Every matrix begins at a multiple of 256 bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from whichlora.families._qwen.fast import BlockWeights
from whichlora.families._qwen.linear import Dense

if TYPE_CHECKING:
    from torch import Tensor

_LINEARS: dict[str, tuple[str, ...]] = {
    "img_qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_out": ("attn.to_out.0",),
    "txt_out": ("attn.to_add_out",),
    "img_up": ("img_mlp.net.0.proj",),
    "img_down": ("img_mlp.net.2",),
    "txt_up": ("txt_mlp.net.0.proj",),
    "txt_down": ("txt_mlp.net.2",),
}
"""Linear layers of the forward, and the modules that each stacks."""
_NORMS = {
    "norm_q": "attn.norm_q", "norm_k": "attn.norm_k", "norm_added_q": "attn.norm_added_q",
    "norm_added_k": "attn.norm_added_k",
}
MODULATIONS = ("img_mod.1", "txt_mod.1")
"""Modules outside the forward's weights: they depend on the noise level alone."""
_ALIGN_BYTES = 256
SENSITIVE = {"fp8": ("img_down",), "nf4": ()}
"""Linear layers of a block that a quantised profile keeps in bf16: in fp8 as SGLang's preset for this model does."""


class Layout:
    """Offsets of a block's parameters in a flat buffer of the working format."""

    def __init__(self, block: Any, stacks: dict[str, tuple[str, ...]]) -> None:
        parameters = dict(block.named_parameters())
        element = next(iter(parameters.values())).element_size()
        step = max(1, _ALIGN_BYTES // element)
        self.places: dict[str, tuple[int, tuple[int, ...]]] = {}
        """Parameter (without the block's prefix) → offset and shape."""
        self.stacks: dict[str, tuple[int, tuple[int, ...]]] = {}
        """Stack → offset and shape."""
        end = 0
        for stack, names in stacks.items():
            start = end = -(-end // step) * step
            for name in names:
                shape = tuple(parameters[name].shape)
                self.places[name] = (end, shape)
                end += parameters[name].numel()
            first = self.places[names[0]][1]
            self.stacks[stack] = (start, (sum(self.places[name][1][0] for name in names), *first[1:]))
        self.numel = -(-end // step) * step
        """Length of the buffer in elements."""
        self.bytes = self.numel * element
        """Length in bytes."""

    def view(self, flat: Tensor, name: str) -> Tensor:
        """One parameter of a buffer."""
        return _view(flat, *self.places[name])

    def stack(self, flat: Tensor, name: str) -> Tensor:
        """One stack of a buffer."""
        return _view(flat, *self.stacks[name])

    def weights(self, flat: Tensor) -> BlockWeights:
        """The whole block, as the forward takes it."""
        linears: dict[str, Any] = {
            name: Dense(self.stack(flat, f"{name}.weight"), self.stack(flat, f"{name}.bias")) for name in _LINEARS
        }
        norms: dict[str, Any] = {name: self.stack(flat, name) for name in _NORMS}
        return BlockWeights(**linears, **norms)

    def modulations(self, flat: Tensor) -> tuple[Dense, Dense]:
        """The two modulation layers of a buffer."""
        found = [Dense(self.stack(flat, f"{name}.weight"), self.stack(flat, f"{name}.bias")) for name in MODULATIONS]
        return found[0], found[1]

    def gather(self, block: Any, out: Tensor, *, copy: bool = True) -> None:
        """Copy a block's parameters into a buffer, unless it has them, and let the parameters be views of it."""
        parameters = dict(block.named_parameters())
        with torch.no_grad():
            for name in self.places:
                view = self.view(out, name)
                if copy:
                    view.copy_(parameters[name])
                parameters[name].data = view


def _view(flat: Tensor, offset: int, shape: tuple[int, ...]) -> Tensor:
    size = 1
    for side in shape:
        size *= side
    return flat[offset: offset + size].view(shape)


def forward_layout(block: Any) -> Layout:
    """Layout of what the forward of a block needs at every step."""
    stacks: dict[str, tuple[str, ...]] = {}
    for stack, modules in _LINEARS.items():
        stacks[f"{stack}.weight"] = tuple(f"{module}.weight" for module in modules)
        stacks[f"{stack}.bias"] = tuple(f"{module}.bias" for module in modules)
    stacks.update({stack: (f"{module}.weight",) for stack, module in _NORMS.items()})
    return Layout(block, stacks)


def modulation_layout(block: Any) -> Layout:
    """Layout of a block's modulation layers, which are needed once per schedule of noise levels."""
    return Layout(block, {
        f"{module}.{kind}": (f"{module}.{kind}",) for module in MODULATIONS for kind in ("weight", "bias")
    })


def linear_stacks() -> dict[str, tuple[str, ...]]:
    """Linear layers of the forward and the modules that each stacks."""
    return dict(_LINEARS)


def norm_modules() -> dict[str, str]:
    """Normalisations of the forward and their modules."""
    return dict(_NORMS)
