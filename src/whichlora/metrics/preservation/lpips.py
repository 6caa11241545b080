"""Perceptual distance of what must stay, after alignment: the rest is painted over in both pictures first."""

from __future__ import annotations

from typing import Any

import numpy as np

from whichlora.metrics._common import FunctionMetric, not_applicable, told
from whichlora.metrics.base import View
from whichlora.metrics.preservation._kept import kept
from whichlora.types import Measurement
from whichlora.vision.lpips import lpips
from whichlora.vision.picture import Picture


def measure(view: View, prepared: Any) -> Measurement:
    """LPIPS over the region that must stay, divided by the region's share of the picture."""
    found = kept(view, prepared)
    if isinstance(found, str):
        return not_applicable(found)
    ours, theirs = (_covered(picture, found.region) for picture in (view.source, found.output))
    return told(lpips(ours, theirs) / found.share, {"of": found.what, "share": found.share})


def _covered(picture: Picture, region: np.ndarray) -> Picture:
    """Grey outside the region."""
    import cv2

    return np.asarray(cv2.copyTo(picture, region.astype(np.uint8), np.full_like(picture, 127)), dtype=np.uint8)


PLUGIN = FunctionMetric(
    name="preservation/lpips", title="Kept look (LPIPS)", unit="0 (equal) to about 1", better="lower",
    measured_by=measure, version=2,
)
