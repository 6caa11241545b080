"""Banding: smooth gradients broken into flat steps. Figure: percent of the picture, beyond the source's share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics._common import FunctionMetric
from whichlora.metrics._regions import region_box, share_of
from whichlora.metrics.artifacts._findings import Finding
from whichlora.metrics.base import Picture, View
from whichlora.types import Measurement
from whichlora.vision.picture import remembered

VISIBLE, SPOILT = 8.0, 35.0


@remembered(8)
def banded(picture: Picture) -> NDArray[np.bool_]:
    """Pixels that are exactly flat although their surroundings slope gently."""
    import cv2

    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    reach = max(9, max(grey.shape) // 24) | 1
    near, far = np.ones((3, 3), np.uint8), np.ones((reach, reach), np.uint8)
    flat = cv2.dilate(grey, near) == cv2.erode(grey, near)
    slope = cv2.dilate(grey, far).astype(np.int16) - cv2.erode(grey, far)
    # One level per step is what 8 bits can do; steps of several levels are bands.
    gradient = (slope >= 6) & (slope <= 40)
    return np.asarray(flat & gradient)


def find(view: View) -> Finding:
    """Bands of the output beyond the source's own."""
    map_ = banded(view.output)
    figure = 100 * max(0.0, share_of(map_) - share_of(banded(view.source)))
    box = region_box(map_)
    regions = ((box[0], box[1], box[2], box[3]),) if box else ()
    return Finding("banding", figure, VISIBLE, SPOILT, regions, "smooth areas broken into bands")


def measure(view: View, prepared: Any) -> Measurement:
    """Percent of the picture that is banded beyond the source."""
    del prepared
    return find(view).measurement()


PLUGIN = FunctionMetric(
    name="artifacts/banding", title="Banding", unit="% of the picture", better="lower", measured_by=measure,
)
