"""Sizes and packing of Qwen-Image-Edit, as the stock pipeline has them. Pure functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

GRID_PX = 32
"""Sides are rounded to this by the stock pipeline."""
PATCH_PX = 16
"""Pixels of one transformer token: 8 by the VAE, 2 by packing."""


def fit_area(area_px: int, height_px: int, width_px: int) -> tuple[int, int]:
    """Height and width of about `area_px` pixels with the ratio of a picture, each a multiple of 32 and at least 32.

    Source: `calculate_dimensions` in diffusers' Qwen-Image-Edit-Plus pipeline.
    """
    ratio = width_px / height_px
    width = math.sqrt(area_px * ratio)
    height = width / ratio
    return max(GRID_PX, round(height / GRID_PX) * GRID_PX), max(GRID_PX, round(width / GRID_PX) * GRID_PX)


def pack(latents: Tensor) -> Tensor:
    """(1, channels, height, width) latents → (1, tokens, 4 · channels), 2 × 2 patches in row-major order."""
    _, channels, height, width = latents.shape
    patches = latents.view(1, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(1, (height // 2) * (width // 2), channels * 4)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """Inverse of `pack`; `height` and `width` are those of the latents."""
    _, _, channels = tokens.shape
    patches = tokens.view(1, height // 2, width // 2, channels // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(1, channels // 4, height, width)
