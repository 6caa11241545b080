"""The one function that adds changes to pristine values, in fp32 and rounded once; and sums over what was changed.

The same function serves a weight that stays on the device and one that passes through a buffer, in the same pieces,
so both hold the same bits. On CUDA one kernel does it in a single pass (`merge_kernel.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from whichlora.families._qwen import merge_kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from whichlora.families._qwen.changes import Patch

ROWS = 4096
"""Rows that are worked on at once: bounds the fp32 temporaries of the largest weight to some hundred MB."""


class Tally:
    """Sums over the changes of one activation; kept on the device, so that the host waits once."""

    def __init__(self) -> None:
        self.changes: dict[tuple[str, int], Tensor] = {}
        """(parameter, place of the change) → [‖Δ‖², ‖W‖²]."""
        self.rounding: dict[str, Tensor] = {}
        """Parameter → [‖wanted change‖², ‖error of the change that was got‖²]."""
        self.finite: dict[str, Tensor] = {}
        """Parameter → 1 where every working value is finite, 0 otherwise."""

    def add(self, name: str, base: Tensor, deltas: Sequence[Tensor], wanted: Tensor) -> None:
        """Count the changes of one piece of a parameter."""
        size = base.square().sum()
        for place, delta in enumerate(deltas):
            _accumulate(self.changes, (name, place), torch.stack([delta.square().sum(), size]))
        self.add_rounding(name, _total(deltas), wanted.float() - base)
        finite = torch.isfinite(wanted).all().float()
        self.finite[name] = torch.minimum(self.finite[name], finite) if name in self.finite else finite

    def add_sums(self, name: str, patch: Patch, sums: Tensor) -> None:
        """Count a whole parameter from what `merge_kernel.merge` summed."""
        weight, change, lost, unbounded = sums.float().unbind()
        for place, each in enumerate(patch):
            size = change if len(patch) == 1 else merge_kernel.change_size(each).float()
            _accumulate(self.changes, (name, place), torch.stack([size, weight]))
        _accumulate(self.rounding, name, torch.stack([change, lost]))
        self.finite[name] = (unbounded == 0).float()

    def add_rounding(self, name: str, wanted: Tensor, got: Tensor) -> None:
        """Note how far a working change is from the wanted one."""
        _accumulate(self.rounding, name, torch.stack([wanted.square().sum(), (got - wanted).square().sum()]))


def _accumulate(sums: dict[Any, Tensor], key: Any, value: Tensor) -> None:
    sums[key] = sums[key] + value if key in sums else value


def merge(base: Tensor, patch: Patch, out: Tensor | None = None, count: tuple[Tally, str] | None = None) -> Tensor:
    """Pristine values + every change, rounded once to the format of `base`.

    Args:
        base: Pristine values on the device; may be `out` itself.
        patch: The changes.
        out: Where the result goes; a new tensor when None.
        count: Where to count the changes, and the parameter's name; None not to.
    """
    out = torch.empty_like(base) if out is None else out
    if merge_kernel.usable(base, patch):
        sums = merge_kernel.merge(base, patch, out, count=count is not None)
        if count is not None and sums is not None:
            count[0].add_sums(count[1], patch, sums)
        return out
    rows = base.shape[0]
    for start in range(0, rows, ROWS):
        stop = min(start + ROWS, rows)
        wide = base[start:stop].float()
        deltas = [change.rows(start, stop) for change in patch]
        wanted = (wide + _total(deltas)).to(base.dtype)
        if count is not None:
            count[0].add(count[1], wide, deltas, wanted)
        out[start:stop].copy_(wanted)
    return out


def _total(deltas: Sequence[Tensor]) -> Tensor:
    return deltas[0] if len(deltas) == 1 else torch.stack(list(deltas)).sum(0)
