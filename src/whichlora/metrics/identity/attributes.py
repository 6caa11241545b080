"""Do hair and clothes still have their colours? For views in which no face shows, such as a view from behind. Weak.

Compares colour histograms of the upper part (head, hair) and the lower part (clothes) of the cut-out subject with the
own pictures. It cannot tell two people in the same jumper apart and it sees every change of light, so it informs and
decides nothing; it is silent where another light was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics._colour import lab
from whichlora.metrics._common import FunctionMetric, not_applicable, not_measured, told
from whichlora.metrics._regions import Mask, figure_shape
from whichlora.metrics.base import Picture, Subject, View
from whichlora.metrics.following._named import asks_for
from whichlora.types import Measurement
from whichlora.vision import faces, mask
from whichlora.vision.picture import remembered, resized

BINS = np.linspace(-60, 60, 9)
"""Edges of a* and b*."""
LIGHTNESS = np.array([0.0, 35.0, 65.0, 101.0])
HEAD_SHARE = 0.4
"""Upper share of the subject's height that counts as head where no face says where it ends."""
MIN_SHARE = 0.05
LONGEST_PX = 256
"""Colours are counted at this size."""
STRENGTH = "weak: colours of hair and clothes only"


@dataclass(frozen=True)
class Calibration:
    """Histograms of the own pictures."""

    kind: str
    own: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]
    """(upper, lower) per own picture that shows a subject."""


def prepare(subject: Subject) -> Calibration:
    """Histograms of every own picture in which the subject can be cut out."""
    found = [_histograms(item.picture, subject.kind) for item in subject.references if item.same]
    return Calibration(subject.kind, tuple(item for item in found if item is not None))


def measure(view: View, prepared: Calibration) -> Measurement:
    """Overlap 0–1 of the less alike part with the most alike own picture."""
    if asks_for(view.case, "lighting"):
        return not_applicable("another light changes every colour")
    if not prepared.own:
        return not_measured("the subject cannot be cut out of the own pictures")
    found = overlap(view.output, prepared)
    if found is None:
        return not_measured("no subject can be cut out of the picture")
    return told(min(found), {"upper": found[0], "lower": found[1], "strength": STRENGTH})


def overlap(picture: Picture, prepared: Calibration) -> tuple[float, float] | None:
    """Overlap 0–1 of the upper and the lower part with the most alike own picture; None without a subject."""
    ours = _histograms(picture, prepared.kind)
    if ours is None or not prepared.own:
        return None
    upper, lower = (
        max(float(np.minimum(ours[part], known[part]).sum()) for known in prepared.own) for part in (0, 1)
    )
    return upper, lower


@remembered(128)
def _histograms(picture: Picture, kind: str) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Colour histograms (sum 1) of the subject's upper and lower part."""
    shape = _shape(picture, kind)
    if shape is None:
        return None
    scale = min(1.0, LONGEST_PX / max(picture.shape[:2]))
    found = faces.find(picture) if kind == "photograph" else ()
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
        picture, shape = resized(picture, height, width), resized(shape.astype(np.uint8), height, width) > 0
    rows = np.flatnonzero(shape.any(1))
    cut = int(rows[0] + HEAD_SHARE * (rows[-1] - rows[0] + 1))
    if found:
        cut = int(scale * (found[0].box[1] + 1.1 * found[0].box[3]))
    if kind == "figure":
        cut = round(0.66 * picture.shape[0])
    upper, lower = shape.copy(), shape.copy()
    upper[cut:], lower[:cut] = False, False
    if min(upper.mean(), lower.mean()) < MIN_SHARE / 4:
        return None
    return _histogram(picture, upper), _histogram(picture, lower)


def _shape(picture: Picture, kind: str) -> Mask | None:
    if kind == "figure":
        return figure_shape(picture.shape[0], picture.shape[1], 0.75)
    sure = mask.person(picture) > 0.6
    return np.asarray(sure) if sure.mean() >= MIN_SHARE else None


def _histogram(picture: Picture, where: Mask) -> NDArray[np.float64]:
    colours = lab(picture)[where].astype(np.float64)
    colours[:, 1:] = np.clip(colours[:, 1:], BINS[0], BINS[-1] - 1e-6)
    counts = np.histogramdd(colours, bins=(LIGHTNESS, BINS, BINS))[0]
    # Neighbouring bins share, so that a shade more does not empty one bin into the next.
    smooth = counts.copy()
    for axis in (1, 2):
        moved = np.zeros_like(smooth)
        ahead, behind = [slice(None)] * 3, [slice(None)] * 3
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        moved[tuple(ahead)] += smooth[tuple(behind)]
        moved[tuple(behind)] += smooth[tuple(ahead)]
        smooth = 0.6 * smooth + 0.2 * moved
    return smooth / max(float(smooth.sum()), 1e-9)


PLUGIN = FunctionMetric(
    name="identity/attributes", title="Colours of hair and clothes (weak)", unit="0–1", better="higher",
    measured_by=measure, prepared_by=prepare,
)
