"""How much of a picture changed, after alignment, blind to what an image codec alone changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics._colour import blurred, delta_e, lab
from whichlora.metrics.base import Picture
from whichlora.vision.align import undrifted
from whichlora.vision.picture import remembered, resized

LONGEST_PX = 512
"""Larger pictures are compared at this size: what is finer is blurred away anyway."""
SMOOTH = 0.012
"""Blur before comparing, in units of the longer side: codecs and VAEs lose what is finer."""
STILL_DELTA_E = 7.0
"""A picture whose most changed percent differs by less than this (CIE76) did not change."""


@dataclass(frozen=True)
class Change:
    """Colour difference between source and aligned output."""

    mean: float
    """Mean ΔE over the shared area."""
    top: float
    """ΔE that the most changed percent of pixels exceeds."""
    map: NDArray[np.float32]
    """ΔE per pixel; 0 where the output shows nothing of the source."""
    drift_px: float
    """Shift that was taken out before comparing."""


@remembered(8)
def change(source: Picture, output: Picture) -> Change:
    """Compare two pictures of one shape after taking out zoom and shift."""
    moved, inside, found = undrifted(source, output)
    height, width = source.shape[:2]
    factor = min(1.0, LONGEST_PX / max(height, width))
    small = (max(1, round(height * factor)), max(1, round(width * factor)))
    sigma = max(1.0, SMOOTH * max(small))
    before, after = (blurred(lab(resized(item, *small)), sigma) for item in (source, moved))
    differ = _enlarged(delta_e(before, after), height, width)
    differ = np.where(inside, differ, 0).astype(np.float32)
    values = differ[inside] if inside.any() else differ.ravel()
    return Change(
        float(values.mean()), float(np.quantile(values, 0.99)), differ, float(np.hypot(found.dx_px, found.dy_px)),
    )


def _enlarged(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    import cv2

    if values.shape == (height, width):
        return values
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
