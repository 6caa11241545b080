"""Did the picture zoom or shift by itself? By feature registration.

Says nothing where the camera was asked to move and the background with it. Alignment is taken out of every other
metric, so this drift is counted here alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from whichlora.metrics._common import FunctionMetric, not_applicable, not_measured, told
from whichlora.metrics.base import View
from whichlora.metrics.following._named import asks_for
from whichlora.types import Measurement
from whichlora.vision.align import register


def measure(view: View, prepared: Any) -> Measurement:
    """Largest displacement of a picture corner, in percent of the diagonal; scale and shift in the detail."""
    del prepared
    if asks_for(view.case, "camera") and "background" not in view.case.keep:
        return not_applicable("the camera was asked to move")
    found = register(view.source, view.output)
    detail = {
        "scale": found.scale, "zoom_percent": 100 * (found.scale - 1), "dx_px": found.dx_px, "dy_px": found.dy_px,
        "rotation_deg": found.rotation_deg, "inliers": found.inliers, "matches": found.matches,
    }
    if not found.found:
        return not_measured(f"only {found.inliers} features agree between source and picture",
                            {"inliers": found.inliers, "matches": found.matches})
    height, width = view.source.shape[:2]
    corners = np.array([[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]], dtype=np.float64)
    matrix = np.array(found.matrix).reshape(2, 3)
    moved = corners @ matrix[:, :2].T + matrix[:, 2]
    farthest = float(np.linalg.norm(moved - corners, axis=1).max())
    return told(100 * farthest / float(np.hypot(height, width)), detail)


PLUGIN = FunctionMetric(
    name="drift/zoom", title="Zoom and shift", unit="% of the diagonal", better="lower", measured_by=measure,
)
