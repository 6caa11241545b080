"""A batch of tensors under names: the common base of identities and scene states."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


@dataclass
class TensorRecord:
    """Named tensors that share their leading (batch) dimension."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    @property
    def device(self) -> torch.device:
        """Device of the first field; all fields live on it."""
        return getattr(self, fields(self)[0].name).device

    def select(self, index: torch.Tensor | slice | list[int]) -> Self:
        """The records at `index` (anything that indexes a tensor's first dimension)."""
        return type(self)(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def replaced(self, **changes: torch.Tensor | float | int) -> Self:
        """A copy with some fields changed; a plain number fills its whole field."""
        import torch

        full = {
            name: value if torch.is_tensor(value) else torch.full_like(getattr(self, name), value)
            for name, value in changes.items()
        }
        return replace(self, **full)

    def to(self, device: torch.device | str) -> Self:
        """The same records on another device."""
        return type(self)(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def repeated(self, count: int) -> Self:
        """Each record `count` times in a row."""
        return type(self)(**{f.name: getattr(self, f.name).repeat_interleave(count, 0) for f in fields(self)})

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """All records of `parts`, one after the other."""
        import torch

        return cls(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    @classmethod
    def interleave(cls, parts: Sequence[Self]) -> Self:
        """Record 0 of every part, then record 1 of every part, and so on."""
        import torch

        return cls(
            **{f.name: torch.stack([getattr(part, f.name) for part in parts], 1).flatten(0, 1) for f in fields(cls)}
        )
