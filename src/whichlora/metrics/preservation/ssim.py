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


@remembered(4)
def ssim_map(a: Picture, b: Picture) -> NDArray[np.float64]:
    """SSIM per pixel, mean over the three channels; −1 to 1, height × width."""
    import cv2

    def mean(values: NDArray[Any]) -> NDArray[np.float32]:
        smooth = cv2.GaussianBlur(values, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT_101)
        return np.asarray(smooth, dtype=np.float32)

    total = np.zeros(a.shape[:2], np.float64)
    for channel in range(a.shape[-1]):  # one at a time: what is worked on stays in the processor's cache
        x, y = a[..., channel].astype(np.float32), b[..., channel].astype(np.float32)
        mx, my = mean(x), mean(y)
        # The sum of the variances is blurred at once: a blur is linear.
        squares, product = mx * mx + my * my, mx * my
        spread = mean(x * x + y * y) - squares
        shared = mean(x * y) - product
        total += ((2 * product + C1) * (2 * shared + C2)) / ((squares + C1) * (spread + C2))
    return total / a.shape[-1]


def measure(view: View, prepared: Any) -> Measurement:
    """Mean SSIM over the region that must stay."""
    found = kept(view, prepared)
    if isinstance(found, str):
        return not_applicable(found)
    values = ssim_map(view.source, found.output)[found.region]
    return told(float(values.mean()), {"of": found.what, "share": found.share})


PLUGIN = FunctionMetric(
    name="preservation/ssim", title="Kept structure (SSIM)", unit="−1 to 1", better="higher", measured_by=measure,
    version=2,
)
