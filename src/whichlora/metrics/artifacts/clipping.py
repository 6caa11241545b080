"""Blown or crushed colour: pixels at the end of the scale that the source has not.

Figure: percent of such pixels beyond the source's share.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from whichlora.metrics._common import FunctionMetric
from whichlora.metrics._regions import region_box
from whichlora.metrics.artifacts._findings import Finding
from whichlora.metrics.base import Picture, View
from whichlora.types import Measurement
from whichlora.vision.picture import remembered

VISIBLE, SPOILT = 10.0, 40.0
END = 2
"""Levels from either end of the scale that count as clipped."""


@remembered(64)
def clipped(picture: Picture) -> np.ndarray:
    """Pixels of which at least two channels lie at one end of the scale."""
    high = (picture >= 255 - END).sum(-1) >= 2
    low = (picture <= END).sum(-1) >= 2
    return np.asarray(high | low)


def find(view: View) -> Finding:
    """Clipped colour of the output beyond the source's own."""
    map_ = clipped(view.output)
    figure = 100 * max(0.0, float(map_.mean()) - float(clipped(view.source).mean()))
    box = region_box(map_)
    regions = ((box[0], box[1], box[2], box[3]),) if box else ()
    return Finding("clipping", figure, VISIBLE, SPOILT, regions, "blown or crushed colours")


def measure(view: View, prepared: Any) -> Measurement:
    """Percent of clipped pixels beyond the source."""
    del prepared
    return find(view).measurement()


PLUGIN = FunctionMetric(
    name="artifacts/clipping", title="Blown colours", unit="% of the picture", better="lower", measured_by=measure,
)
