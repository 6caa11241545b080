"""Did the colours shift by themselves? ΔE and chroma of what must stay, after alignment; not for relighting."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics._colour import blurred, lab
from whichlora.metrics._common import FunctionMetric, not_applicable, told
from whichlora.metrics.base import Picture, View
from whichlora.metrics.preservation._kept import kept
from whichlora.types import Measurement
from whichlora.vision.picture import remembered, resized

LONGEST_PX = 320


def measure(view: View, prepared: Any) -> Measurement:
    """ΔE (CIE76) between the mean colours' neighbourhoods; chroma ratio and signed shifts in the detail."""
    found = kept(view, prepared)
    if isinstance(found, str):
        return not_applicable(found)
    before, after = ([plane[found.region] for plane in _smooth(picture)] for picture in (view.source, found.output))
    change = [b - a for a, b in zip(before, after, strict=True)]
    shift = [float(plane.mean(dtype=np.float64)) for plane in change]
    chroma_before, chroma_after = (float(np.hypot(planes[1], planes[2]).mean()) for planes in (before, after))
    distance = np.sqrt(change[0] ** 2 + change[1] ** 2 + change[2] ** 2)
    return told(float(distance.mean()), {
        "of": found.what, "share": found.share,
        "chroma_ratio": chroma_after / chroma_before if chroma_before > 1 else None,
        "lightness_shift": shift[0], "red_shift": shift[1], "yellow_shift": shift[2],
    })


@remembered(2)
def _smooth(picture: Picture) -> tuple[NDArray[np.float32], ...]:
    """Lab colours of neighbourhoods of 2 % of the longer side: three planes of the picture's size."""
    import cv2

    height, width = picture.shape[:2]
    factor = min(1.0, LONGEST_PX / max(height, width))
    small = resized(picture, max(1, round(height * factor)), max(1, round(width * factor)))
    smooth = blurred(lab(small), max(1.0, 0.02 * max(small.shape[:2])))
    return tuple(
        np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
        for plane in cv2.split(smooth)
    )


PLUGIN = FunctionMetric(
    name="drift/colour", title="Colour drift", unit="ΔE", better="lower", measured_by=measure,
    version=2,
)
