"""fp8 and nf4: each block's working weights are made in bf16, LoRAs included, and rounded to few bits afterwards.

So a LoRA is never rounded into an already rounded base. The pristine bf16 blocks stay in host memory (or in their
files) and are read at a switch only. Modulations, embedders and the last projection stay in bf16; with fp8 each
block's second image MLP matrix too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from whichlora.families._qwen.fast import BlockWeights
from whichlora.families._qwen.hosted import HostStore, block_of
from whichlora.families._qwen.layout import SENSITIVE, linear_stacks, norm_modules
from whichlora.families._qwen.linear import Dense, Fp8, Nf4, to_fp8, to_nf4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from whichlora.families._qwen.changes import Patch

_ROUNDERS = {"fp8": to_fp8, "nf4": to_nf4}


class QuantisedStore(HostStore):
    """See the module and `weights.Store`."""

    def __init__(
        self, model: Any, device: Any, kind: str, *, copy: bool = True,
        fill: Callable[[str, Tensor], None] | None = None, share: tuple[int, str] | None = None,
        alone: Callable[[], None] = lambda: None,
    ) -> None:
        """Take a model whose blocks are in host memory.

        Args:
            model: Diffusers' transformer; what lies outside the blocks is on the device already.
            device: Where the arithmetic runs.
            kind: 'fp8' or 'nf4'.
            copy: Whether host memory holds a copy of the blocks; else their files are read again at every switch.
            fill: Writes a parameter's values into host memory, for a model without storage ('meta').
            share: See `HostStore`.
            alone: See `HostStore`.
        """
        super().__init__(model, device, copy=copy, fill=fill, share=share, alone=alone)
        self.name = kind
        self._round = _ROUNDERS[kind]
        self._blocks: dict[int, BlockWeights] = {}

    def put(self, name: str, wanted: Tensor, patch: Patch) -> bool:
        self._touch(name)
        return super().put(name, wanted, patch)

    def restore(self, names: Iterable[str]) -> None:
        names = list(names)
        for name in names:
            self._touch(name)
        super().restore(names)

    def _touch(self, name: str) -> None:
        """Forget the rounded weights of the block that a parameter belongs to."""
        place = block_of(name)
        if place is not None and place[1] in self._layout.places:
            self._blocks.pop(place[0], None)

    def settle(self) -> None:
        """Round the blocks that are not rounded yet, or whose changes are others than before."""
        missing = [index for index in range(self.blocks) if index not in self._blocks]
        if not missing:
            return
        with torch.inference_mode(False), torch.no_grad():
            flat = self.buffer()
            for index in missing:
                self.load(index, flat)
                self._blocks[index] = self._rounded(flat)

    def _rounded(self, flat: Tensor) -> BlockWeights:
        linears: dict[str, Any] = {}
        for name in linear_stacks():
            weight, bias = self._layout.stack(flat, f"{name}.weight"), self._layout.stack(flat, f"{name}.bias").clone()
            linears[name] = Dense(weight.clone(), bias) if name in SENSITIVE[self.name] else self._round(weight, bias)
        norms: dict[str, Any] = {name: self._layout.stack(flat, name).clone() for name in norm_modules()}
        return BlockWeights(**linears, **norms)

    def visit(self, work: Callable[[int, BlockWeights], None]) -> None:
        self.settle()
        for index in range(self.blocks):
            work(index, self._blocks[index])

    def park(self, need_bytes: int) -> None:
        """Let go of every block on the device; they are rounded again from host memory."""
        self._blocks.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def facts(self) -> dict[str, Any]:
        size = sum(
            tensor.numel() * tensor.element_size()
            for block in self._blocks.values() for field in block
            for tensor in (field if isinstance(field, Dense | Fp8 | Nf4) else (field,))
        )
        return {
            "profile": self.name, "resident_blocks": self.blocks, "streamed_blocks": 0,
            "device_bytes": size + self.top_bytes(), "host_bytes": self.host_bytes(),
        }
