"""Contact sheets for a look at what training made."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor


def save_grid(images: list[Tensor], columns: int, path: Path, gap: int = 2) -> None:
    """Pictures (3×h×w in 0..1) side by side in rows of `columns`."""
    height, width = images[0].shape[1:]
    rows = -(-len(images) // columns)
    sheet = torch.ones(3, rows * (height + gap), columns * (width + gap))
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[:, top : top + height, left : left + width] = image.float().cpu()
    pixels = (sheet.clamp(0, 1).permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(path)
