"""How far a merge is from the plain sum of its parts, and whether anything is left of them at all.

Works through Gram matrices as small as the ranks; whole changes are built only for parts without factors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import RefusedError
from whichlora.lora.merge import Part

_ROUNDING = 1e-10
"""Share of the parts' squared size below which a merge is the rounding of fp32 factors and of no use."""


class Tally:
    """Squared sizes (Frobenius), summed over the modules."""

    def __init__(self) -> None:
        self.wanted = 0.0
        """‖Σ weight · ΔW‖²."""
        self.off = 0.0
        """‖written − Σ weight · ΔW‖²."""
        self.written = 0.0
        """‖written‖²."""
        self.apart = 0.0
        """Σ ‖weight · ΔW‖²: what the parts would weigh if none stood against another."""

    def add(self, parts: Sequence[Part], up: NDArray[np.float64], down: NDArray[np.float64]) -> None:
        """Count one module, through the small Gram matrices of all factors side by side."""
        self.written += _squared(up, down)
        if any(part.up is None for part in parts):
            changes = [part.weight * part.delta() for part in parts]
            total = sum(changes)
            self.apart += sum(float(np.sum(np.square(change))) for change in changes)
            self.wanted += float(np.sum(np.square(total)))
            self.off += float(np.sum(np.square(up @ down - total)))
            return
        self.apart += sum((part.weight * part.scale) ** 2 * _squared(part.up, part.down)
                          for part in parts if part.up is not None and part.down is not None)
        ups = np.concatenate([part.weight * part.scale * part.up for part in parts if part.up is not None], axis=1)
        downs = np.concatenate([part.down for part in parts if part.down is not None])
        self.wanted += _squared(ups, downs)
        self.off += _squared(np.concatenate([ups, -up], axis=1), np.concatenate([downs, down]))

    def require_effect(self) -> None:
        """Refuse a merge that changes nothing, or no more than rounding leaves of parts that cancel each other.

        Raises:
            RefusedError: Nothing is left; the message says whether the parts or the method took it away.
        """
        if self.wanted <= _ROUNDING * self.apart:
            raise RefusedError("The parts cancel each other: the merge would change nothing.")
        if self.written <= _ROUNDING * self.apart:
            raise RefusedError("The method leaves nothing of the parts: the merge would change nothing.",
                               fix="Keep more numbers (a larger density), or use another method.")

    @property
    def error(self) -> float:
        """See `MergeReport.error`."""
        return float(np.sqrt(max(0.0, self.off) / self.wanted)) if self.wanted > 0 else 0.0


def _squared(up: NDArray[np.float64], down: NDArray[np.float64]) -> float:
    """‖up · down‖² from matrices as small as the rank."""
    return float(np.sum((up.T @ up) * (down @ down.T)))
