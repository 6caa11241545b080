"""Stores whose blocks live in host memory, one pristine copy: common part of `streaming.py` and `quantised.py`.

Changes are kept as low-rank factors on the device and made when a block is loaded; a change without factors is kept as
the finished weight, in host memory.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from whichlora.families._qwen.changes import Patch, is_low_rank
from whichlora.families._qwen.layout import Layout, forward_layout, modulation_layout
from whichlora.families._qwen.patches import merge
from whichlora.families._qwen.shared import SharedBlocks
from whichlora.families._qwen.weights import PREFIX, Pristine, host_buffer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from whichlora.families._qwen.linear import Dense


class HostStore:
    """The switcher's side of a store; see `weights.Store` for its methods."""

    def __init__(
        self, model: Any, device: Any, *, copy: bool, fill: Callable[[str, Tensor], None] | None = None,
        budget_bytes: int = 0, slots: int = 0, share: tuple[int, str] | None = None,
        alone: Callable[[], None] = lambda: None,
    ) -> None:
        """Take a model; see `streaming.StreamedStore` for the other arguments.

        With `copy`, every block is laid out in (page-locked) host memory. Without, blocks stay where the loader left
        them, mapped from their files, and are read from there whenever they are loaded.

        `share`: a file in memory that all workers of the machine lay the blocks out in, and what the blocks are.
        `alone` is called when they cannot be shared, before a copy of one's own is made; it may refuse.
        """
        self.notes: list[str] = []
        """Sentences about what was not possible."""
        self.device = torch.device(device)
        self.blocks = len(model.transformer_blocks)
        self._pin = self.device.type == "cuda"
        self._fill = fill
        self._parameters: dict[str, Any] = dict(model.named_parameters())
        self.names = tuple(self._parameters)
        first = model.transformer_blocks[0]
        self._layout, self._mod_layout = forward_layout(first), modulation_layout(first)
        self._dtype = next(first.parameters()).dtype
        self._check(budget_bytes, slots)
        self._shared = self._join(share, alone) if share is not None and copy else None
        self._host = [
            self._to_host(index, block, fill) if copy else None for index, block in enumerate(model.transformer_blocks)
        ]
        if self._pin and copy:
            self._lock_pages()
        self._patches: list[dict[str, Patch]] = [{} for _ in range(self.blocks)]
        self._overrides: list[dict[str, Tensor]] = [{} for _ in range(self.blocks)]
        self._pristine = Pristine()

    def _check(self, budget_bytes: int, slots: int) -> None:
        """Refuse what cannot work before anything large is allocated."""

    def _to_host(self, index: int, block: Any, fill: Callable[[str, Tensor], None] | None) -> tuple[Tensor, Tensor]:
        """Lay a block out; its module's parameters become views, so there is one copy."""
        layouts = self._layout, self._mod_layout
        if self._shared is None:
            flats = [host_buffer((layout.numel,), self._dtype, pin=self._pin) for layout in layouts]
            turn = nullcontext(enter_result=True)
        else:
            flats, turn = self._shared.flats(index), self._shared.turn(index)
        with turn as empty:
            for layout, flat in zip(layouts, flats, strict=True):
                if fill is None:
                    layout.gather(block, flat, copy=empty)
                else:
                    self._draw(index, block, layout, flat, fill if empty else None)
        return flats[0], flats[1]

    def _join(self, share: tuple[int, str], alone: Callable[[], None]) -> SharedBlocks | None:
        """The blocks that all workers share; None when the others hold something else."""
        sizes = self._layout.numel, self._mod_layout.numel
        try:
            return SharedBlocks(*share, self.blocks, sizes, self._dtype)
        except (OSError, ValueError) as error:
            alone()  # there may be no room for a copy of one's own, which is always right
            self.notes.append(f"This worker holds its own copy of the weights in host memory: {error}.")
            return None

    def _lock_pages(self) -> None:
        """Say in a sentence where the system did not lock the pages."""
        if self._shared is not None:
            why = self._shared.page_lock()
        else:
            kept = [flat for host in self._host if host is not None for flat in host]
            why = "" if all(flat.is_pinned() for flat in kept) else "the system allows no more of it"
        if why:
            self.notes.append(f"Host memory could not be page-locked ({why}): copies to the GPU are slower, pictures "
                              "are the same.")

    def _draw(
        self, index: int, block: Any, layout: Layout, flat: Tensor, fill: Callable[[str, Tensor], None] | None
    ) -> None:
        for inner in layout.places:
            view = layout.view(flat, inner)
            if fill is not None:
                fill(f"{PREFIX}{index}.{inner}", view)
            owner, _, last = inner.rpartition(".")
            parameter = torch.nn.Parameter(view, requires_grad=False)
            setattr(block.get_submodule(owner), last, parameter)
            self._parameters[f"{PREFIX}{index}.{inner}"] = parameter

    # ------------------------------------------------------------------ switcher

    def base(self, name: str) -> Tensor:
        kept = self._pristine.get(name)
        weight = self._parameters[name].detach() if kept is None else kept
        if weight.is_meta and self._fill is not None:
            drawn = torch.empty(weight.shape, dtype=self._dtype, device=self.device)
            self._fill(name, drawn)
            return drawn
        return weight.to(self.device, non_blocking=True)  # the copy in host memory is never written to

    def both(self, name: str) -> tuple[Tensor, Tensor]:
        base = self.base(name)
        return base, self.working(name, base)

    def working(self, name: str, base: Tensor | None = None) -> Tensor:
        """See `weights.Store`; `base` spares a copy from host memory when the caller has it."""
        place = block_of(name)
        if place is None:
            return self._parameters[name].detach()
        index, inner = place
        if inner in self._overrides[index]:
            return self._overrides[index][inner].to(self.device)
        patch = self._patches[index].get(inner)
        base = self.base(name) if base is None else base
        return base if patch is None else merge(base, patch)

    def begin(self) -> None:
        """Prepare for a round of `put` and `restore`."""

    def put(self, name: str, wanted: Tensor, patch: Patch) -> bool:
        place = block_of(name)
        if place is None:
            weight = self._parameters[name]
            self._pristine.keep(name, weight)
            with torch.no_grad():
                weight.copy_(wanted)
            return bool(torch.equal(weight, wanted))
        index, inner = place
        self._forget(index, inner)
        if is_low_rank(patch):
            self._patches[index][inner] = patch
        else:
            # Computing it again at every arrival would be dear; keeping the result is one more copy of this weight.
            kept = host_buffer(tuple(wanted.shape), wanted.dtype, pin=self._pin)
            self._overrides[index][inner] = kept.copy_(wanted)
        self._on_device(index, inner, wanted)
        return True

    def restore(self, names: Iterable[str]) -> None:
        for name in names:
            place = block_of(name)
            if place is None:
                kept = self._pristine.get(name)
                if kept is not None:
                    with torch.no_grad():
                        self._parameters[name].copy_(kept)
                continue
            self._forget(*place)
            self._on_device(*place, self._parameters[name].detach())

    def _on_device(self, index: int, inner: str, value: Tensor) -> None:
        """Tell the device's copy of a block, if there is one."""

    def settle(self) -> None:
        """Finish a round of `put` and `restore`."""

    def _forget(self, index: int, inner: str) -> None:
        self._patches[index].pop(inner, None)
        self._overrides[index].pop(inner, None)

    # ------------------------------------------------------------------ loading

    def buffer(self) -> Tensor:
        """Device memory for one block."""
        return torch.empty(self._layout.numel, dtype=self._dtype, device=self.device)

    def load(self, index: int, flat: Tensor) -> None:
        """Copy a block from host memory and make its changes."""
        self._read(index, self._layout, 0, flat)
        self._change(index, self._layout, flat)

    def _read(self, index: int, layout: Layout, which: int, flat: Tensor) -> None:
        """Pristine values of a block's forward weights (0) or modulations (1)."""
        host = self._host[index]
        if host is not None:
            flat.copy_(host[which], non_blocking=True)
            return
        for inner in layout.places:
            name = f"{PREFIX}{index}.{inner}"
            if self._parameters[name].is_meta and self._fill is not None:
                self._fill(name, layout.view(flat, inner))
            else:
                layout.view(flat, inner).copy_(self._parameters[name])

    def modulations(self, work: Callable[[int, Dense, Dense], None]) -> None:
        flat = torch.empty(self._mod_layout.numel, dtype=self._dtype, device=self.device)
        for index in range(self.blocks):
            self._read(index, self._mod_layout, 1, flat)
            self._change(index, self._mod_layout, flat)
            work(index, *self._mod_layout.modulations(flat))

    def _change(self, index: int, layout: Layout, flat: Tensor) -> None:
        for inner, patch in self._patches[index].items():
            if inner in layout.places:
                view = layout.view(flat, inner)
                merge(view, patch, view)
        for inner, kept in self._overrides[index].items():
            if inner in layout.places:
                layout.view(flat, inner).copy_(kept, non_blocking=True)

    def top_bytes(self) -> int:
        """Bytes of the parameters outside the blocks, which stay on the device."""
        return sum(
            each.numel() * each.element_size() for name, each in self._parameters.items() if block_of(name) is None
        )

    def host_bytes(self) -> int:
        """Bytes of blocks and finished weights in host memory."""
        overrides = sum(each.numel() * each.element_size() for kept in self._overrides for each in kept.values())
        copied = sum(1 for host in self._host if host is not None)
        return copied * (self._layout.bytes + self._mod_layout.bytes) + overrides


def block_of(name: str) -> tuple[int, str] | None:
    """(block, parameter inside it) of a parameter's name; None outside the blocks."""
    if not name.startswith(PREFIX):
        return None
    number, _, inner = name[len(PREFIX):].partition(".")
    return int(number), inner
