"""Peak signal-to-noise ratio of what must stay, after alignment. Pure arithmetic; blind to what people notice."""

from __future__ import annotations

from typing import Any

import numpy as np

from whichlora.metrics._common import FunctionMetric, not_applicable, told
from whichlora.metrics._regions import Mask
from whichlora.metrics.base import Picture, View
from whichlora.metrics.preservation._kept import kept
from whichlora.types import Measurement

BEST_DB = 60.0
"""Shown for identical pixels, whose ratio is infinite."""


def psnr(a: Picture, b: Picture, region: Mask | None = None) -> float:
    """10·log10(255² / mean squared error) in dB, at most `BEST_DB`; pictures of one shape, all or part of them."""
    import cv2

    mask = None if region is None else region.astype(np.uint8)
    count = a.size if region is None else a.shape[-1] * int(np.count_nonzero(region))
    if not count or a.shape != b.shape:
        raise ValueError(f"pictures of one shape are compared, not {a.shape} and {b.shape}, in {count} values")
    error = float(cv2.norm(a, b, cv2.NORM_L2SQR, mask)) / count
    return BEST_DB if error == 0 else min(BEST_DB, float(10 * np.log10(255.0**2 / error)))


def measure(view: View, prepared: Any) -> Measurement:
    """PSNR in dB over the region that must stay."""
    found = kept(view, prepared)
    if isinstance(found, str):
        return not_applicable(found)
    value = psnr(view.source, found.output, found.region)
    return told(value, {"of": found.what, "share": found.share})


PLUGIN = FunctionMetric(
    name="preservation/psnr", title="Kept pixels (PSNR)", unit="dB", better="higher", measured_by=measure,
    version=2,
)
