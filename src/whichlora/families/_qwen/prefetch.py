"""Reading the next candidate's LoRA factors in the background, while the GPU is busy with this one.

Only what is cheap to hold is read ahead: low-rank factors. A file that cannot be read is no error here: it is read
again at the switch, which then refuses it with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from whichlora.errors import WhichloraError
from whichlora.types import AdapterUse

if TYPE_CHECKING:
    from torch import Tensor

    from whichlora.lora.delta import CanonicalLora

Factors = tuple["Tensor", "Tensor", float]
"""up (out × rank), down (rank × in), both fp32 in host memory, and the file's scale."""
MAX_BYTES = 4 << 30
"""Factors beyond this are left to the switch."""


class Prefetcher:
    """At most one set of adapters is held; asking for another lets go of it."""

    def __init__(self, load: Callable[[AdapterUse], CanonicalLora], *, pin: bool) -> None:
        self._load = load
        self._pin = pin
        self._pool: ThreadPoolExecutor | None = None
        self._held: dict[tuple[str, str], Future[Mapping[str, Factors]]] = {}

    def start(self, uses: Sequence[AdapterUse]) -> None:
        """Begin to read; returns at once."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lora-prefetch")
        wanted = {(use.path, use.sha256): use for use in uses}
        for key in list(self._held):
            if key not in wanted:
                self._held.pop(key).cancel()
        for key, use in wanted.items():
            if key not in self._held:
                self._held[key] = self._pool.submit(self._read, use)

    def take(self, use: AdapterUse) -> Mapping[str, Factors]:
        """Factors by parameter name, waiting for a read under way; empty for what was not read ahead."""
        future = self._held.pop((use.path, use.sha256), None)
        return {} if future is None or future.cancelled() else future.result()

    def _read(self, use: AdapterUse) -> Mapping[str, Factors]:
        import torch

        found: dict[str, Factors] = {}
        size = 0
        try:
            with self._load(use) as lora:
                for module in lora:
                    factors = module.factors()
                    if factors is None:
                        continue
                    size += factors[0].nbytes + factors[1].nbytes
                    if size > MAX_BYTES:
                        break
                    up, down = torch.from_numpy(factors[0]), torch.from_numpy(factors[1])
                    if self._pin:
                        up, down = up.pin_memory(), down.pin_memory()
                    found[f"{module.name}.{module.parameter}"] = (up, down, factors[2])
        except (WhichloraError, OSError, RuntimeError):
            return {}
        return found


