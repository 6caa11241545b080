"""How much of a picture changed, after alignment, blind to what an image codec alone changes; mirror images too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics._colour import blurred, delta_e, lab
from whichlora.metrics._common import missed, not_measured
from whichlora.metrics.base import Picture, View
from whichlora.types import Measurement
from whichlora.vision.align import undrifted
from whichlora.vision.picture import remembered, resized

LONGEST_PX = 512
"""Larger pictures are compared at this size: what is finer is blurred away anyway."""
SMOOTH = 0.012
"""Blur before comparing, in units of the longer side: codecs and VAEs lose what is finer."""
STILL_DELTA_E = 7.0
"""A picture whose most changed percent differs by less than this (CIE76) did not change."""
COPIED = 0.9
"""Share of unchanged pixels from which on a region counts as copied."""
GRID = 32
"""Cells per side of the coarse grid in which mirror images are looked for."""


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


def unable(view: View, why: str, detail: Mapping[str, Any] | None = None) -> Measurement:
    """What a verifier says that cannot tell: a failure where nothing changed at all, else that it was not measured."""
    if change(view.source, view.output).top < STILL_DELTA_E:
        return missed("nothing changed", detail)
    return not_measured(why, detail)


@remembered(8)
def mirrored(source: Picture, output: Picture) -> tuple[bool, float]:
    """Whether the output is the source seen in a mirror, and the share 0–1 of a coarse grid's cells that agree so.

    A source that is its own mirror image, or an output that is more like the source upright, is none.
    """
    ours, swapped, theirs = _coarse(source), _coarse(source, mirror=True), _coarse(output)
    upright, turned, symmetric = _alike(ours, theirs), _alike(swapped, theirs), _alike(ours, swapped)
    return turned >= COPIED and turned > upright and symmetric < COPIED, turned


@remembered(64)
def _coarse(picture: Picture, mirror: bool = False) -> NDArray[np.float32]:
    """Colours of a coarse grid, so that a small zoom or shift does not matter; GRID × GRID × 3."""
    return lab(resized(np.ascontiguousarray(picture[:, ::-1]) if mirror else picture, GRID, GRID))


def _alike(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Share of a coarse grid's cells with the same colour."""
    return float((delta_e(a, b) < STILL_DELTA_E).mean())


def _enlarged(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    import cv2

    if values.shape == (height, width):
        return values
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
