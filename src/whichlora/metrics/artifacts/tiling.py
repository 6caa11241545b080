"""Tiling: the same content again, some way off.

Figure: likeness 0–1 of the picture to itself at its best large shift; 0 unless it exceeds the source's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from whichlora.metrics._colour import blurred
from whichlora.metrics._common import FunctionMetric
from whichlora.metrics.artifacts._findings import Finding, whole
from whichlora.metrics.base import Picture, View
from whichlora.types import Measurement
from whichlora.vision.picture import remembered, resized

SIDE_PX = 128
MIN_SHIFT = 0.2
MAX_SHIFT = 0.7
"""Shifts in units of the side: nearer is texture, farther leaves too little overlap."""
VISIBLE, SPOILT = 0.45, 0.7


@remembered(64)
def self_likeness(picture: Picture) -> float:
    """Largest correlation of the picture's structure with itself, shifted by a fifth to 0.7 of its side; 0–1."""
    small = resized(picture, SIDE_PX, SIDE_PX).astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    detail = small - blurred(small, 6.0)
    detail = (detail - detail.mean()).astype(np.float64)
    if float(detail.std()) < 0.5:
        return 0.0
    size = 2 * SIDE_PX
    ones = np.fft.rfft2(np.ones_like(detail), (size, size))
    field = np.fft.rfft2(detail, (size, size))
    square = np.fft.rfft2(detail**2, (size, size))
    product = np.fft.irfft2(field * field.conj(), (size, size))
    energy = np.fft.irfft2(square * ones.conj(), (size, size))
    other = np.fft.irfft2(ones * square.conj(), (size, size))
    likeness = product / np.sqrt(np.maximum(energy, 1.0) * np.maximum(other, 1.0))
    lag = np.minimum(np.arange(size), size - np.arange(size))
    far = np.maximum(lag[:, None], lag[None, :]) >= MIN_SHIFT * SIDE_PX
    near = (lag[:, None] <= MAX_SHIFT * SIDE_PX) & (lag[None, :] <= MAX_SHIFT * SIDE_PX)
    return float(np.clip(likeness[far & near].max(), 0, 1))


def find(view: View) -> Finding:
    """Repetition of the output; the source's own repetition is forgiven."""
    figure, own = self_likeness(view.output), self_likeness(view.source)
    figure = figure if figure > own + 0.15 else 0.0
    return Finding("tiling", figure, VISIBLE, SPOILT, whole(view.output.shape), "the same content repeats")


def measure(view: View, prepared: Any) -> Measurement:
    """Likeness of the picture to itself at its best large shift."""
    del prepared
    return find(view).measurement()


PLUGIN = FunctionMetric(
    name="artifacts/tiling", title="Repeated content", unit="0–1", better="lower", measured_by=measure,
)
