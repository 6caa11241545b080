"""Did nothing change at all? Counts pictures in which a model did not act. Informs; decides nothing.

A VAE round trip, a re-encoded JPEG and a small zoom or shift count as unchanged.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from whichlora.metrics._common import FunctionMetric, told
from whichlora.metrics._regions import region_box
from whichlora.metrics.base import View
from whichlora.metrics.following._change import STILL_DELTA_E, change
from whichlora.types import Measurement


def measure(view: View, prepared: Any) -> Measurement:
    """ΔE of the most changed percent of pixels, after alignment and a small blur."""
    del prepared
    found = change(view.source, view.output)
    still = found.top < STILL_DELTA_E
    region = [] if still else region_box(found.map > max(STILL_DELTA_E, float(np.quantile(found.map, 0.98))))
    return told(found.top, {
        "no_op": bool(still), "mean_delta_e": found.mean, "still_below": STILL_DELTA_E,
        "regions": [region] if region else [],
        "drift_px": found.drift_px,
    })


PLUGIN = FunctionMetric(
    name="following/unchanged", title="Change", unit="ΔE of the most changed percent", better="neither",
    measured_by=measure,
)
