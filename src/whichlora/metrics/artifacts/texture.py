"""Plastic skin: fine texture of the face lost against the source.

Photographs only; a painted look is no fault of a drawing. Figure: percent of the face's fine contrast that is gone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from whichlora.metrics._colour import blurred
from whichlora.metrics._common import FunctionMetric, not_applicable, not_measured
from whichlora.metrics.artifacts._findings import Finding
from whichlora.metrics.base import Picture, View
from whichlora.types import Measurement
from whichlora.vision import faces
from whichlora.vision.faces import Face, aligned_crop

SIDE_PX = 224
FINE_PX = 2.5
"""Blur (px of the crop) that takes away what counts as texture."""
MIN_FACE_PX = 60
"""Smaller faces have no texture to lose."""
VISIBLE, SPOILT = 45.0, 75.0


def texture_of(picture: Picture, face: Face) -> float:
    """Fine contrast of a face's inner part, grey levels."""
    crop = aligned_crop(picture, face, SIDE_PX).astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    fine = crop - blurred(crop, FINE_PX)
    inner = fine[SIDE_PX // 5 : -SIDE_PX // 5, SIDE_PX // 5 : -SIDE_PX // 5]
    # The median of block contrasts: eyes and mouth are edges, not texture.
    size = inner.shape[0] // 8
    blocks = inner[: size * 8, : size * 8].reshape(8, size, 8, size).std(axis=(1, 3))
    return float(np.median(blocks))


def find(view: View) -> Finding | str:
    """Lost texture of the largest face, or why it cannot be told."""
    ours, theirs = faces.find(view.source), faces.find(view.output)
    if not ours or not theirs:
        return "no face was found in source and picture"
    if min(ours[0].box[2], theirs[0].box[2]) < MIN_FACE_PX:
        return f"the face is smaller than {MIN_FACE_PX} px"
    before = texture_of(view.source, ours[0])
    after = texture_of(view.output, theirs[0])
    lost = 100 * max(0.0, 1 - after / max(before, 0.2))
    x, y, w, h = (round(value) for value in theirs[0].box)
    return Finding("texture", lost, VISIBLE, SPOILT, ((x, y, w, h),), "skin without texture")


def measure(view: View, prepared: Any) -> Measurement:
    """Percent of fine contrast lost."""
    if prepared != "photograph":
        return not_applicable("only photographs have skin texture")
    found = find(view)
    return not_measured(found) if isinstance(found, str) else found.measurement()


PLUGIN = FunctionMetric(
    name="artifacts/texture", title="Lost skin texture", unit="% lost", better="lower", measured_by=measure,
)
