"""Is it a picture at all? Black, flat, noise, or of another shape than the source: not valid. Gates the rate."""

from __future__ import annotations

from typing import Any

import numpy as np

from whichlora.metrics._common import FunctionMetric, judged
from whichlora.metrics.base import Picture, View
from whichlora.types import Measurement
from whichlora.vision.picture import remembered

BLACK_MEAN, BLACK_TOP = 4.0, 40
FLAT_STD = 1.5
CROP_PX = 384
"""Side of the middle part in which noise is looked for."""
NOISE_CORRELATION = 0.25
"""Correlation of a pixel with its neighbour below which a contrasty picture is noise; photographs have 0.9 or more."""
RELATIVE_STRUCTURE = 0.08
"""Contrast relative to the source's below which the picture is a blank."""


def problem_of(view: View) -> str:
    """What is wrong, in a few words; '' for a valid picture."""
    output = view.output
    if output.dtype != np.uint8 or output.ndim != 3 or output.shape[-1] != 3:
        return f"not an RGB picture: {output.dtype} of shape {output.shape}"
    if min(output.shape[:2]) < 16:
        return f"only {output.shape[1]} × {output.shape[0]} pixels"
    facts = view.generation.facts
    wanted = (facts.get("height_px", facts.get("height")), facts.get("width_px", facts.get("width")))
    if all(isinstance(side, int) for side in wanted) and wanted != output.shape[:2]:
        return f"{output.shape[1]} × {output.shape[0]} pixels instead of {wanted[1]} × {wanted[0]}"
    if view.source.shape != output.shape:
        return f"shape {output.shape[:2]} differs from the source's {view.source.shape[:2]}"
    spread = _spread(output)
    if _mean(output) < BLACK_MEAN and np.quantile(output, 0.999) < BLACK_TOP:
        return "black (a NaN in the decoder gives this)"
    if spread < FLAT_STD or spread < RELATIVE_STRUCTURE * _spread(view.source):
        return "one flat colour"
    if spread > 20 and neighbour_correlation(output) < NOISE_CORRELATION:
        return "noise"
    return ""


def _mean(picture: Picture) -> float:
    """Mean of all channels, grey levels."""
    import cv2

    return float(np.mean(cv2.mean(picture)[:3]))


@remembered(64)
def _spread(picture: Picture) -> float:
    """Largest standard deviation of a channel, grey levels."""
    import cv2

    return float(np.max(cv2.meanStdDev(picture)[1]))


def neighbour_correlation(picture: Picture) -> float:
    """Correlation of grey values with their right-hand and lower neighbours, −1 to 1."""
    top, left = (max(0, (side - CROP_PX) // 2) for side in picture.shape[:2])
    grey = picture[top : top + CROP_PX, left : left + CROP_PX].astype(np.float32).mean(-1)
    pairs = ((grey[:, :-1], grey[:, 1:]), (grey[:-1], grey[1:]))
    return float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]))


def measure(view: View, prepared: Any) -> Measurement:
    """1 for a valid picture, 0 otherwise."""
    del prepared
    problem = problem_of(view)
    return judged(0.0 if problem else 1.0, not problem, f"no usable picture: {problem}", {"problem": problem})


PLUGIN = FunctionMetric(
    name="artifacts/valid", title="Usable picture", unit="0 or 1", better="higher", gate="valid", measured_by=measure,
)
