"""Blown or crushed colour: pixels at the end of the scale that the source has not.

Figure: percent of such pixels beyond the source's share.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from whichlora.metrics._common import FunctionMetric
from whichlora.metrics._regions import Mask, region_box, share_of
from whichlora.metrics.artifacts._findings import Finding
from whichlora.metrics.base import Picture, View
from whichlora.types import Measurement
from whichlora.vision.picture import remembered

VISIBLE, SPOILT = 10.0, 40.0
END = 2
"""Levels from either end of the scale that count as clipped."""


@remembered(8)
def clipped(picture: Picture) -> Mask:
    """Pixels of which at least two channels lie at one end of the scale."""
    return np.asarray(_two_of_three(picture >= 255 - END) | _two_of_three(picture <= END))


def _two_of_three(flags: Mask) -> Mask:
    red, green, blue = flags[..., 0], flags[..., 1], flags[..., 2]
    return (red & green) | (blue & (red | green))


def find(view: View) -> Finding:
    """Clipped colour of the output beyond the source's own."""
    map_ = clipped(view.output)
    figure = 100 * max(0.0, share_of(map_) - share_of(clipped(view.source)))
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
