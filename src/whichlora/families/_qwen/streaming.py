"""bf16 on a small card: some blocks stay on the device, the others pass through two buffers behind the arithmetic.

Host memory holds one copy of the weights, always pristine, page-locked on CUDA. Resident blocks hold working values;
a streamed block gets its LoRA changes when it arrives, by the same function and so with the same bits. While a block
computes, the next streamed one is copied on a stream of its own. Without CUDA the same steps run one after another,
so the logic is tested on any machine.

Modulation layers, a third of a block, depend on the noise level alone: they come once per schedule, not per step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from whichlora.families._qwen.hosted import HostStore, block_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from whichlora.families._qwen.fast import BlockWeights

SLOTS = 2
"""Buffers through which streamed blocks pass: one computes while the other is filled."""


def split(blocks: int, block_bytes: int, budget_bytes: int, slots: int = SLOTS) -> int:
    """How many blocks can stay on the device.

    Args:
        blocks: Number of blocks.
        block_bytes: Size of one.
        budget_bytes: What blocks and buffers may take.
        slots: Buffers, needed as soon as one block is streamed.

    Returns:
        0 to `blocks`; −1 when not even the buffers fit.
    """
    if budget_bytes >= blocks * block_bytes:
        return blocks
    room = budget_bytes // block_bytes - slots
    return max(-1, min(room, blocks - 1))


def streamed_blocks(blocks: int, resident: int) -> tuple[int, ...]:
    """Which blocks are streamed: spread evenly, so that every copy has equally many blocks to hide behind."""
    away = blocks - resident
    return tuple(i for i in range(blocks) if (i + 1) * away // blocks > i * away // blocks)


class Lane:
    """Copies behind the arithmetic: a stream and events on CUDA; nothing to wait for elsewhere."""

    def __init__(self, device: Any) -> None:
        self._cuda = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self._cuda else None
        self._ready: dict[int, Any] = {}
        self._free: dict[int, Any] = {}
        self._fresh = True

    def fill(self, slot: int, copy: Callable[[], None]) -> None:
        """Run a copy into a slot, once the arithmetic that used it is over."""
        if self._stream is None:
            copy()
            return
        if self._fresh:
            # LoRA factors and buffers may still be on their way in the stream of the arithmetic.
            self._stream.wait_stream(torch.cuda.current_stream())
            self._fresh = False
        with torch.cuda.stream(self._stream):
            if slot in self._free:
                self._stream.wait_event(self._free[slot])
            copy()
            event = torch.cuda.Event()
            event.record(self._stream)
        self._ready[slot] = event

    def wait(self, slot: int) -> None:
        """Let the arithmetic wait until a slot is filled."""
        if self._stream is not None:
            torch.cuda.current_stream().wait_event(self._ready[slot])

    def release(self, slot: int) -> None:
        """Note that the arithmetic queued so far is the last to read a slot."""
        if self._stream is not None:
            event = torch.cuda.Event()
            event.record()
            self._free[slot] = event

    def drain(self) -> None:
        """Wait for every copy; the next one waits for the arithmetic queued until then."""
        self._fresh = True
        if self._stream is not None:
            self._stream.synchronize()


class StreamedStore(HostStore):
    """See the module and `weights.Store`."""

    name = "bf16-streamed"

    def __init__(
        self, model: Any, device: Any, budget_bytes: int, *, slots: int = SLOTS,
        fill: Callable[[str, Tensor], None] | None = None, share: tuple[int, str] | None = None,
        alone: Callable[[], None] = lambda: None,
    ) -> None:
        """Take a model whose blocks are in host memory.

        Args:
            model: Diffusers' transformer; what lies outside the blocks is on the device already.
            device: Where the arithmetic runs.
            budget_bytes: Device memory for blocks and buffers.
            slots: Buffers.
            fill: Writes a parameter's values into host memory, for a model without storage ('meta').
            share: See `HostStore`.
            alone: See `HostStore`.

        Raises:
            MemoryError: Not even the buffers fit into the budget.
        """
        super().__init__(model, device, copy=True, fill=fill, budget_bytes=budget_bytes, slots=slots, share=share,
                         alone=alone)
        self.slots = slots
        self.resident = split(self.blocks, self._layout.bytes, budget_bytes, slots)
        self._away = streamed_blocks(self.blocks, self.resident)
        self._home: dict[int, Tensor] = {}
        self._home_weights: dict[int, BlockWeights] = {}
        self._slots: list[tuple[Tensor, BlockWeights]] = []
        self._lane = Lane(self.device)
        self._arrived: dict[int, int] = {}
        self.copies: list[tuple[int, int]] | None = None
        """(block, buffer) of every copy since a test put an empty list here."""

    def _check(self, budget_bytes: int, slots: int) -> None:
        if split(self.blocks, self._layout.bytes, budget_bytes, slots) < 0:
            raise MemoryError(f"{slots} buffers of {self._layout.bytes:,} bytes do not fit into {budget_bytes:,}")

    def _on_device(self, index: int, inner: str, value: Tensor) -> None:
        if index in self._home and inner in self._layout.places:
            self._layout.view(self._home[index], inner).copy_(value, non_blocking=True)

    def working(self, name: str, base: Tensor | None = None) -> Tensor:
        """Of a block that stays on the device, the very values that its forward reads."""
        place = block_of(name)
        if place is not None and place[0] in self._home and place[1] in self._layout.places:
            return self._layout.view(self._home[place[0]], place[1])
        return super().working(name, base)

    def begin(self) -> None:
        """Blocks that arrived early bear the changes of before: they will be fetched again."""
        self._lane.drain()
        self._arrived.clear()

    # ------------------------------------------------------------------ forward

    def visit(self, work: Callable[[int, BlockWeights], None]) -> None:
        self._bring_home()
        try:
            for index in range(self.blocks):
                if index in self._home_weights:
                    work(index, self._home_weights[index])
                    continue
                slot = self._arrive(index)
                work(index, self._slots[slot][1])
                del self._arrived[index]
                self._lane.release(slot)
                self._fetch_ahead(index)
        except BaseException:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.begin()
            raise

    def _arrive(self, index: int) -> int:
        """The slot that holds a block; begins to fetch when nothing is on its way."""
        if index not in self._arrived:
            self._arrived.clear()
            self._fetch(index)
            for further in self._following(index)[: self.slots - 1]:
                if further not in self._arrived:
                    self._fetch(further)
        slot = self._arrived[index]
        self._lane.wait(slot)
        return slot

    def _fetch_ahead(self, index: int) -> None:
        """Fill the slot that became free with the next streamed block that is not on its way."""
        for further in self._following(index):
            if further not in self._arrived:
                self._fetch(further)
                return

    def _following(self, index: int) -> tuple[int, ...]:
        """Streamed blocks after this one; the last is followed by the first, for the next step."""
        place = self._away.index(index)
        return (*self._away[place + 1:], *self._away[: place + 1])

    def _fetch(self, index: int) -> None:
        used = set(self._arrived.values())
        slot = next(number for number in range(self.slots) if number not in used)
        flat = self._slots[slot][0]
        self._lane.fill(slot, lambda: self.load(index, flat))
        self._arrived[index] = slot
        if self.copies is not None:
            self.copies.append((index, slot))

    def _bring_home(self) -> None:
        """Put the resident blocks on the device, if they are not there."""
        if len(self._home) == self.resident and (self._slots or not self._away):
            return
        away = set(self._away)
        with torch.inference_mode(False), torch.no_grad():
            for index in range(self.blocks):
                if index not in away and index not in self._home:
                    self._home[index] = self.buffer()
                    self.load(index, self._home[index])
                    self._home_weights[index] = self._layout.weights(self._home[index])
            while self._away and len(self._slots) < self.slots:
                flat = self.buffer()
                self._slots.append((flat, self._layout.weights(flat)))

    def hold(self, resident: int) -> None:
        """Keep only so many blocks on the device from now on; the others are streamed, with the same bits."""
        self.begin()
        self.resident = max(0, min(resident, self.blocks))
        self._away = streamed_blocks(self.blocks, self.resident)
        for index in self._away:
            self._home.pop(index, None)
            self._home_weights.pop(index, None)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def park(self, need_bytes: int) -> None:
        """Let go of every block on the device; host memory has them."""
        self.begin()
        self._home.clear()
        self._home_weights.clear()
        self._slots.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def facts(self) -> dict[str, Any]:
        return {
            "profile": self.name, "resident_blocks": self.resident, "streamed_blocks": len(self._away),
            "device_bytes": (len(self._home) + len(self._slots)) * self._layout.bytes + self.top_bytes(),
            "host_bytes": self.host_bytes(), "streamed_bytes": len(self._away) * self._layout.bytes,
        }
