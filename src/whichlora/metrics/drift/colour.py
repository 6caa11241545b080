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
from whichlora.vision.picture import resized

LONGEST_PX = 320


def measure(view: View, prepared: Any) -> Measurement:
    """ΔE (CIE76) between the mean colours' neighbourhoods; chroma ratio and signed shifts in the detail."""
    found = kept(view, prepared)
    if isinstance(found, str):
        return not_applicable(found)
    before, after = (_smooth(picture)[found.region] for picture in (view.source, found.output))
    shift = (after - before).mean(0)
    chroma_before = float(np.hypot(before[:, 1], before[:, 2]).mean())
    chroma_after = float(np.hypot(after[:, 1], after[:, 2]).mean())
    return told(float(np.linalg.norm(after - before, axis=1).mean()), {
        "of": found.what, "share": float(found.region.mean()),
        "chroma_ratio": chroma_after / chroma_before if chroma_before > 1 else None,
        "lightness_shift": float(shift[0]), "red_shift": float(shift[1]), "yellow_shift": float(shift[2]),
    })


def _smooth(picture: Picture) -> NDArray[np.float32]:
    """Lab colours of neighbourhoods of 2 % of the longer side, at the picture's size."""
    import cv2

    height, width = picture.shape[:2]
    factor = min(1.0, LONGEST_PX / max(height, width))
    small = resized(picture, max(1, round(height * factor)), max(1, round(width * factor)))
    smooth = blurred(lab(small), max(1.0, 0.02 * max(small.shape[:2])))
    return np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


PLUGIN = FunctionMetric(
    name="drift/colour", title="Colour drift", unit="ΔE", better="lower", measured_by=measure,
)
