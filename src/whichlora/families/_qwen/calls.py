"""What a denoising step asks of a forward, and diffusers' own forward, which answers it on any device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Call:
    """One forward that a step asks for."""

    key: object
    """The same at every step for the same picture and instruction."""
    latents: Tensor
    """Noisy tokens: 1 × tokens × channels."""
    references: tuple[Tensor, ...]
    """Tokens of the reference pictures, constant over the steps."""
    text: Tensor
    """The encoded instruction: 1 × tokens × width, constant over the steps."""
    shapes: list[list[tuple[int, int, int]]]
    """(frames, height, width) in tokens of the output and of every reference, as diffusers takes them."""
    picture: int = 0
    """Which of the pictures made together it belongs to."""


class PlainEngine:
    """Diffusers' own forward, one call after another: any device, any kind of weights."""

    name = "plain"

    def __init__(self, model: Any) -> None:
        self._model = model
        self._levels: Tensor | None = None
        self.notes: list[str] = []

    def begin(self, levels: Tensor) -> None:
        """Prepare for a schedule of noise levels (sigma, 0 to 1), in the working format."""
        self._levels = levels

    def invalidate(self) -> None:
        """Weights changed; nothing is kept that depends on them."""

    def forward(self, calls: Sequence[Call], step: int) -> list[Tensor]:
        """Velocities of the noisy tokens, for each call."""
        if self._levels is None:
            raise RuntimeError("begin() was not called")
        level = self._levels[step].expand(1)
        found: list[Tensor] = []
        for call in calls:
            tokens = torch.cat([call.latents, *call.references], dim=1)
            velocity = self._model(
                hidden_states=tokens, timestep=level, encoder_hidden_states=call.text,
                encoder_hidden_states_mask=None, img_shapes=call.shapes, guidance=None, return_dict=False,
            )[0]
            found.append(velocity[:, : call.latents.shape[1]])
        return found

    def way(self) -> str:
        """By what blocks are computed."""
        return self.name

    def facts(self) -> dict[str, Any]:
        """What a report may say of it."""
        return {"engine": self.name}
