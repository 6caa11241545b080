"""What LoRAs change of one parameter: factors, or the whole difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Change:
    """One adapter's change of one parameter: strength · scale · up · down, or strength · full."""

    strength: float
    """Adapter weight that the user chose."""
    up: Tensor | None = None
    """out × rank, fp32, on the device."""
    down: Tensor | None = None
    """rank × in, fp32, on the device."""
    scale: float = 1.0
    """The file's own strength, alpha / rank."""
    full: Tensor | None = None
    """The whole change in fp32, where it has no factors."""

    def rows(self, start: int, stop: int) -> Tensor:
        """A piece of the change, in fp32."""
        if self.full is not None:
            return self.full[start:stop] * self.strength
        if self.up is None or self.down is None:
            raise ValueError("a change needs factors or the full difference")
        return (self.up[start:stop] @ self.down) * self.scale * self.strength


Patch = tuple[Change, ...]
"""Every change of one parameter, in the order of the adapters."""


def is_low_rank(patch: Patch) -> bool:
    """Whether every change has factors, so that it is cheap to keep and to apply again."""
    return all(change.full is None for change in patch)
