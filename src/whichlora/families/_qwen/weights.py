"""Where a transformer's parameters are, and what the LoRA switcher does with them. Everything resident.

A store knows every parameter by name: pristine values (`base`), working values (`working`), how to make a change
active (`put`) and how to undo it (`restore`). For the forward it lends one block's weights after the other (`visit`).
Other ways to hold the model: `streaming.py` (blocks pass through the device) and `quantised.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch

from whichlora.families._qwen.changes import Patch
from whichlora.families._qwen.layout import Layout, forward_layout, modulation_layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from whichlora.families._qwen.fast import BlockWeights
    from whichlora.families._qwen.linear import Dense

PREFIX = "transformer_blocks."
RESERVE_BYTES = 8 << 30
"""Device memory left free for activations when pristine copies are kept on the device."""


class Store(Protocol):
    """What the switcher and the engine ask of a way to hold the model."""

    name: str
    """Name of the memory profile."""
    names: tuple[str, ...]
    """Every parameter."""
    blocks: int
    """Number of blocks."""
    device: Any
    """Where the arithmetic runs."""

    def base(self, name: str) -> Tensor:
        """Pristine values on the device, in the working format. Not to be written to."""
        ...

    def working(self, name: str) -> Tensor:
        """Working values on the device. Not to be written to."""
        ...

    def both(self, name: str) -> tuple[Tensor, Tensor]:
        """`base` and `working`, brought to the device once."""
        ...

    def put(self, name: str, wanted: Tensor, patch: Patch) -> bool:
        """Make `wanted` (base + patch) the working values; whether they are."""
        ...

    def restore(self, names: Iterable[str]) -> None:
        """Make the pristine values of some parameters the working ones, bit for bit."""
        ...

    def begin(self) -> None:
        """Prepare for a round of `put` and `restore`."""
        ...

    def settle(self) -> None:
        """Finish a round of `put` and `restore`."""
        ...

    def visit(self, work: Callable[[int, BlockWeights], None]) -> None:
        """Call `work` with every block's number and weights, in order."""
        ...

    def modulations(self, work: Callable[[int, Dense, Dense], None]) -> None:
        """Call `work` with every block's modulation layers (image, text), in order."""
        ...

    def park(self, need_bytes: int) -> None:
        """Make room on the device for something else; the next use brings everything back."""
        ...

    def facts(self) -> dict[str, Any]:
        """What a report may say of it: blocks resident and streamed, bytes on the device and in host memory."""
        ...


class Pristine:
    """Copies of what the base had, on the device while memory lasts, else in host memory."""

    def __init__(self, reserve_bytes: int = RESERVE_BYTES) -> None:
        self._kept: dict[str, Tensor] = {}
        self._reserve = reserve_bytes

    def keep(self, name: str, weight: Tensor) -> None:
        """Copy a parameter before its first change."""
        if name in self._kept:
            return
        size = weight.numel() * weight.element_size()
        if weight.is_cuda and free_bytes(weight.device) < self._reserve + size:
            self._kept[name] = to_host(weight)
        else:
            self._kept[name] = weight.detach().clone()

    def get(self, name: str) -> Tensor | None:
        """The copy, where it lies; None for a parameter that never changed."""
        return self._kept.get(name)

    def park(self, need_bytes: int) -> None:
        """Move copies to host memory until the device has room."""
        for name, kept in self._kept.items():
            if kept.is_cuda:
                if free_bytes(kept.device) >= need_bytes:
                    return
                self._kept[name] = to_host(kept)

    def bytes_on(self, kind: str) -> int:
        """Bytes of the copies on a kind of device ('cpu', 'cuda')."""
        return sum(each.numel() * each.element_size() for each in self._kept.values() if each.device.type == kind)


class ResidentStore:
    """Everything on one device; a touched parameter's pristine values are kept beside it.

    With `fuse`, each block is laid out in one buffer, as the fast forward takes it; the module's own parameters become
    views of that buffer, so diffusers' forward still works on the same memory.
    """

    name = "bf16"

    def __init__(self, model: Any, device: Any, *, fuse: bool) -> None:
        self.device = torch.device(device)
        self.blocks = len(model.transformer_blocks)
        self._parameters: dict[str, Any] = dict(model.named_parameters())
        self.names = tuple(self._parameters)
        self._pristine = Pristine()
        self._changed: set[str] = set()
        self._model = model
        self._flats: list[tuple[Tensor, Tensor]] = []
        self._weights: list[BlockWeights] = []
        self._parked: set[int] = set()
        self._layouts: tuple[Layout, Layout] | None = None
        if fuse:
            first = model.transformer_blocks[0]
            self._layouts = forward_layout(first), modulation_layout(first)
            for index in range(self.blocks):
                self._flats.append(self._laid_out(index, self.device))
                self._weights.append(self._layouts[0].weights(self._flats[index][0]))
                if self.device.type == "cuda" and index % 8 == 7:
                    torch.cuda.empty_cache()  # what the loader's own tensors leave is in pieces too small to use

    def _laid_out(self, index: int, device: Any) -> tuple[Tensor, Tensor]:
        """A block's parameters in new buffers on a device; the module's own become views of them."""
        block = self._model.transformer_blocks[index]
        dtype = next(block.parameters()).dtype
        flats: list[Tensor] = []
        for layout in self._layouts or ():
            flat = torch.zeros(layout.numel, dtype=dtype, device=device)
            layout.gather(block, flat)
            flats.append(flat)
        return flats[0], flats[1]

    def base(self, name: str) -> Tensor:
        kept = self._pristine.get(name)
        return (self._parameters[name].detach() if kept is None else kept).to(self.device)

    def working(self, name: str) -> Tensor:
        return self._parameters[name].detach()

    def both(self, name: str) -> tuple[Tensor, Tensor]:
        return self.base(name), self.working(name)

    def put(self, name: str, wanted: Tensor, patch: Patch) -> bool:
        weight = self._parameters[name]
        self._pristine.keep(name, weight)
        self._changed.add(name)
        with torch.no_grad():
            weight.copy_(wanted)
        return bool(torch.equal(weight, wanted))

    def restore(self, names: Iterable[str]) -> None:
        with torch.no_grad():
            for name in names:
                kept = self._pristine.get(name)
                if kept is not None:
                    self._parameters[name].copy_(kept, non_blocking=True)
                self._changed.discard(name)

    def begin(self) -> None:
        self._unpark()

    def settle(self) -> None:
        pass

    def visit(self, work: Callable[[int, BlockWeights], None]) -> None:
        self._unpark()
        for index, weights in enumerate(self._weights):
            work(index, weights)

    def modulations(self, work: Callable[[int, Dense, Dense], None]) -> None:
        self._unpark()
        if self._layouts is None:
            raise ValueError("the store was made without the fast forward's layout")
        for index, (_, flat) in enumerate(self._flats):
            work(index, *self._layouts[1].modulations(flat))

    def park(self, need_bytes: int) -> None:
        if self.device.type != "cuda":
            return
        self._pristine.park(need_bytes)
        for index in reversed(range(len(self._flats))):
            if free_bytes(self.device) >= need_bytes:
                return
            if index not in self._parked:
                self._flats[index] = self._laid_out(index, "cpu")
                self._weights[index] = self._weights[0]  # lets go of the device's memory; never used while parked
                self._parked.add(index)

    def _unpark(self) -> None:
        for index in sorted(self._parked):
            self._flats[index] = self._laid_out(index, self.device)
            if self._layouts is not None:
                self._weights[index] = self._layouts[0].weights(self._flats[index][0])
        self._parked.clear()

    def facts(self) -> dict[str, Any]:
        weights = sum(each.numel() * each.element_size() for each in self._parameters.values())
        return {
            "profile": self.name, "resident_blocks": self.blocks, "streamed_blocks": 0,
            "device_bytes": weights + self._pristine.bytes_on(self.device.type),
            "host_bytes": self._pristine.bytes_on("cpu") if self.device.type != "cpu" else 0,
        }


def cap_memory(device: str, limit_bytes: int) -> None:
    """Let this process take at most so much of a CUDA device."""
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit_bytes / total), _index(device))


def _index(device: Any) -> int:
    """Number of a CUDA device; that of the current one for plain 'cuda'."""
    index = torch.device(device).index
    return torch.cuda.current_device() if index is None else index


def free_bytes(device: Any) -> int:
    """Bytes that may still be taken on a CUDA device: free ones and those that torch holds unused."""
    device = _index(device)
    free, total = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    share = getattr(torch.cuda, "get_per_process_memory_fraction", lambda _: 1.0)(device)
    mine = int(total * share) - torch.cuda.memory_allocated(device)
    return max(0, min(free + held, mine))


def to_host(weight: Tensor) -> Tensor:
    """A copy in host memory, page-locked where that is possible, so that the way back is fast."""
    out = host_buffer(tuple(weight.shape), weight.dtype, pin=weight.is_cuda)
    return out.copy_(weight.detach())


def host_buffer(shape: tuple[int, ...], dtype: Any, *, pin: bool) -> Tensor:
    """Uninitialised host memory; page-locked if wished and allowed."""
    if pin:
        try:
            return torch.empty(shape, dtype=dtype, pin_memory=True)
        except RuntimeError:
            pass  # the system limits locked pages: the copy is slower, the bits are the same
    return torch.empty(shape, dtype=dtype)
