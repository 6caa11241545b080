"""Shifted colour: skin turned blue or green, or a picture that lost its colours. Photographs only.

Figure: how far the skin's colour (a*, b*) moved from the source's, Lab units; a drained one counts by how much of its
chroma is gone. Another light may colour skin, and a LoRA's own prompt may ask for black and white: there nothing is
looked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics._colour import lab
from whichlora.metrics._common import FunctionMetric, not_applicable, not_measured
from whichlora.metrics.artifacts._findings import Finding, whole
from whichlora.metrics.base import Picture, View
from whichlora.metrics.following._named import TARGETS, asks_for
from whichlora.types import Measurement
from whichlora.vision import faces
from whichlora.vision.faces import Face, aligned_crop

VISIBLE, SPOILT = 15.0, 40.0
"""Measured on five portraits: one person's photographs differ by up to 7 and three people's by up to 16; tints of
15–30 % move skin by 12–28, exchanged colour channels by 39–64."""
COLOURED = 6.0
"""Chroma below which a source has no colours to lose."""
DRAINED_LEFT = 0.15
"""Share of its chroma that is left when a picture has no colours any more."""
SIDE_PX = 96


def looked_for(view: View) -> bool:
    """Whether colours may not shift in this edit."""
    return view.case.family in TARGETS and not asks_for(view.case, "lighting")


def skin(picture: Picture, face: Face) -> NDArray[np.float64]:
    """Median (a*, b*) of a face's inner part."""
    crop = lab(np.ascontiguousarray(aligned_crop(picture, face, SIDE_PX)))
    inner = crop[SIDE_PX // 4 : -SIDE_PX // 4, SIDE_PX // 4 : -SIDE_PX // 4]
    return np.median(inner[..., 1:].reshape(-1, 2), axis=0).astype(np.float64)


def find(view: View) -> Finding | str:
    """Shift of the largest face's colour and loss of colour, or why it cannot be told."""
    ours, theirs = faces.find(view.source), faces.find(view.output)
    if not ours or not theirs:
        # A new background may be greyer than the old one; only where it must stay does the whole picture tell.
        drained = 0.0 if asks_for(view.case, "background") else _drained(_chroma(view.source), _chroma(view.output))
        if drained < VISIBLE:
            return "no face was found in source and picture"
        return Finding("colour", drained, VISIBLE, SPOILT, whole(view.output.shape), "the picture lost its colours")
    before, after = skin(view.source, ours[0]), skin(view.output, theirs[0])
    moved = float(np.linalg.norm(after - before))
    drained = _drained(float(np.linalg.norm(before)), float(np.linalg.norm(after)))
    x, y, w, h = (round(value) for value in theirs[0].box)
    words = "skin without colour" if drained >= moved else "skin of a colour that it did not have"
    return Finding("colour", max(moved, drained), VISIBLE, SPOILT, ((x, y, w, h),), words)


def _chroma(picture: Picture) -> float:
    colours = lab(picture)
    return float(np.hypot(colours[..., 1], colours[..., 2]).mean())


def _drained(before: float, after: float) -> float:
    """Loss of chroma on the scale of the shift: 40 when at most 15 % is left, little before half of it is gone."""
    left = after / before if before >= COLOURED else 1.0
    return SPOILT * min(1.0, max(0.0, 1 - left) / (1 - DRAINED_LEFT)) ** 3


def measure(view: View, prepared: Any) -> Measurement:
    """Lab units by which the skin's colour moved."""
    if prepared != "photograph":
        return not_applicable("only the skin of people is looked at")
    if not looked_for(view):
        return not_applicable("this edit may change colours")
    found = find(view)
    return not_measured(found) if isinstance(found, str) else found.measurement()


PLUGIN = FunctionMetric(
    name="artifacts/colour", title="Shifted colour", unit="Lab units", better="lower", measured_by=measure,
)
