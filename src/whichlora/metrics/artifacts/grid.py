"""Mesh or grid lines, as few-step LoRAs leave them: periodic patterns of 8 and 16 px that the source has not.

Figure: amplitude in grey levels of the strongest pattern at those periods, above what frequencies beside it hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from whichlora.metrics._common import FunctionMetric
from whichlora.metrics.artifacts._findings import Finding, whole
from whichlora.metrics.base import Picture, View
from whichlora.types import Measurement
from whichlora.vision.picture import remembered

PERIODS_PX = (8, 16)
"""A latent pixel is 8 px wide, a transformer patch 16."""
VISIBLE, SPOILT = 1.0, 3.0
"""Amplitudes in grey levels (0–255): seen on even areas; seen everywhere."""
NEIGHBOURS = 4


QUARTER_SHARE = 0.5
"""A grid that lies over the whole picture shows in a quarter of it with at least this share of its amplitude. Large
shapes (a striped jumper, the edges of a figure) may add up to a peak of the whole picture that no quarter has."""
MIN_QUARTER_PX = 64


@remembered(64)
def grid_amplitude(picture: Picture) -> float:
    """Amplitude (grey levels) of the strongest 8- or 16-px pattern above its neighbouring frequencies."""
    best = _strongest(picture)
    height, width = (side // 2 for side in picture.shape[:2])
    if best < VISIBLE or min(height, width) < MIN_QUARTER_PX:
        return best
    quarters = [picture[top : top + height, left : left + width] for top in (0, height) for left in (0, width)]
    return min(best, max(_strongest(quarter) for quarter in quarters) / QUARTER_SHARE)


def _strongest(picture: Picture) -> float:
    """`grid_amplitude` of a picture as a whole."""
    height, width = (side // 16 * 16 for side in picture.shape[:2])
    if min(height, width) < 64:
        return 0.0
    part = picture[:height, :width]
    grey = part[..., 0] * 0.299 + part[..., 1] * 0.587 + part[..., 2] * 0.114
    down, across = np.hanning(height), np.hanning(width)
    peaks = [
        peak for fy, fx in ((height // period, width // period) for period in PERIODS_PX)
        for peak in ((0, fx), (fy, 0), (fy, fx), (0, 2 * fx), (2 * fy, 0))
    ]
    steps = range(-NEIGHBOURS, NEIGHBOURS + 1)
    rows, cols = (
        sorted({0} | {peak[axis] + step for peak in peaks if peak[axis] for step in steps}) for axis in (0, 1)
    )
    # Only these few frequencies are asked for: columns are transformed where they are needed, and none twice.
    field = np.fft.rfft((grey - grey.mean()) * across * down[:, None], axis=1)[:, cols]
    amplitudes = np.abs(np.fft.fft(field, axis=0)[rows]) * 2 / (down.sum() * across.sum())
    spectrum = {(row, col): float(amplitudes[i, j]) for i, row in enumerate(rows) for j, col in enumerate(cols)}
    return max(0.0, *(_peak(spectrum, row, col) for row, col in peaks))


def _peak(spectrum: Mapping[tuple[int, int], float], row: int, col: int) -> float:
    """Height of a peak above the median of its neighbourhood along the axes; the window spreads a line over ±1."""
    offsets = [step for step in range(-NEIGHBOURS, NEIGHBOURS + 1) if abs(step) > 1]
    around: list[float] = []
    if col:
        around += [spectrum[row, col + step] for step in offsets]
    if row:
        around += [spectrum[row + step, col] for step in offsets]
    return float(spectrum[row, col] - 2 * np.median(around))


def find(view: View) -> Finding:
    """Grid of the output beyond the source's own."""
    figure = max(0.0, grid_amplitude(view.output) - max(0.0, grid_amplitude(view.source)))
    return Finding("grid", figure, VISIBLE, SPOILT, whole(view.output.shape), "grid lines over the picture")


def measure(view: View, prepared: Any) -> Measurement:
    """Grey levels of grid pattern beyond the source's."""
    del prepared
    return find(view).measurement()


PLUGIN = FunctionMetric(
    name="artifacts/grid", title="Grid lines", unit="grey levels", better="lower", measured_by=measure, version=2,
)
