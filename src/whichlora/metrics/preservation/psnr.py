"""Peak signal-to-noise ratio of what must stay, after alignment. Pure arithmetic; blind to what people notice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics._common import FunctionMetric, not_applicable, told
from whichlora.metrics.base import View
from whichlora.metrics.preservation._kept import kept
from whichlora.types import Measurement

BEST_DB = 60.0
"""Shown for identical pixels, whose ratio is infinite."""


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """10·log10(255² / mean squared error) in dB, at most `BEST_DB`; arrays of one shape, 0–255."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return BEST_DB if error == 0 else min(BEST_DB, float(10 * np.log10(255.0**2 / error)))


def measure(view: View, prepared: Any) -> Measurement:
    """PSNR in dB over the region that must stay."""
    found = kept(view, prepared)
    if isinstance(found, str):
        return not_applicable(found)
    value = psnr(view.source[found.region], found.output[found.region])
    return told(value, {"of": found.what, "share": float(found.region.mean())})


PLUGIN = FunctionMetric(
    name="preservation/psnr", title="Kept pixels (PSNR)", unit="dB", better="higher", measured_by=measure,
)
