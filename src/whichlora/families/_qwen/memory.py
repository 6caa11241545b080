"""Peak memory: the allocator's own figure on CUDA, else the largest resident size that was seen."""

from __future__ import annotations


class PeakMemory:
    """Watches the memory of one device."""

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        self._device = device
        self._peak = 0
        self.reset()

    def reset(self) -> None:
        """Start a new peak."""
        if self._cuda:
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._peak = 0
            self.note()

    def note(self) -> None:
        """Look at resident memory now (CUDA needs no looking: its allocator counts)."""
        if not self._cuda:
            import psutil

            self._peak = max(self._peak, int(psutil.Process().memory_info().rss))

    def peak_bytes(self) -> int:
        """Peak since `reset`."""
        if self._cuda:
            import torch

            return int(torch.cuda.max_memory_allocated(self._device))
        self.note()
        return self._peak
