"""Structural similarity of what must stay, after alignment (Wang et al. 2004: 11-px Gaussian window, σ 1.5)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics._common import FunctionMetric, not_applicable, told
from whichlora.metrics.base import Picture, View
from whichlora.metrics.preservation._kept import kept
from whichlora.types import Measurement
from whichlora.vision.picture import remembered

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


@remembered(32)
def ssim_map(a: Picture, b: Picture) -> NDArray[np.float64]:
    """SSIM per pixel, mean over the three channels; −1 to 1, height × width."""
    import cv2

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        smooth = cv2.GaussianBlur(values, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT_101)
        return np.asarray(smooth, dtype=np.float32)

    x, y = a.astype(np.float32), b.astype(np.float32)
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    value = ((2 * mx * my + C1) * (2 * vxy + C2)) / ((mx * mx + my * my + C1) * (vx + vy + C2))
    return value.mean(-1, dtype=np.float64)


def measure(view: View, prepared: Any) -> Measurement:
    """Mean SSIM over the region that must stay."""
    found = kept(view, prepared)
    if isinstance(found, str):
        return not_applicable(found)
    values = ssim_map(view.source, found.output)[found.region]
    return told(float(values.mean()), {"of": found.what, "share": float(found.region.mean())})


PLUGIN = FunctionMetric(
    name="preservation/ssim", title="Kept structure (SSIM)", unit="−1 to 1", better="higher", measured_by=measure,
)
