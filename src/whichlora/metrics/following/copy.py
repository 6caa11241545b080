"""Was the source pasted or mirrored instead of edited? Informs; decides nothing.

Pasted: the subject's pixels are the source's, although the edit asks it to move or to change its face. Mirrored:
the picture is its own source seen in a mirror.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics._colour import delta_e, lab
from whichlora.metrics._common import FunctionMetric, told
from whichlora.metrics._regions import share_of, shared_subject
from whichlora.metrics.base import Picture, View
from whichlora.metrics.following._change import STILL_DELTA_E, change
from whichlora.types import Measurement
from whichlora.vision.picture import remembered, resized

COPIED = 0.9
"""Share of unchanged pixels from which on a region counts as copied."""
GRID = 32
MOVES_SUBJECT = ("camera", "expression")


def measure(view: View, prepared: Any) -> Measurement:
    """Share 0–1 of the subject's pixels that are the source's own, upright or mirrored, whichever is larger."""
    region = shared_subject(view.source, view.output, prepared)
    still = change(view.source, view.output).map < STILL_DELTA_E
    same = share_of(still) if region is None else share_of(still[region])
    ours, swapped, theirs = _coarse(view.source), _coarse(view.source, mirrored=True), _coarse(view.output)
    upright, mirrored, symmetric = _alike(ours, theirs), _alike(swapped, theirs), _alike(ours, swapped)
    is_mirror = mirrored >= COPIED and mirrored > upright and symmetric < COPIED
    pasted = same >= COPIED and view.case.family in MOVES_SUBJECT
    return told(max(same, mirrored if is_mirror else 0.0), {
        "mirrored": bool(is_mirror), "pasted": bool(pasted), "same_share": same, "mirrored_share": mirrored,
        "copied": bool(is_mirror or pasted),
    })


@remembered(64)
def _coarse(picture: Picture, mirrored: bool = False) -> NDArray[np.float32]:
    """Colours of a coarse grid, so that a small zoom or shift does not matter; GRID × GRID × 3."""
    return lab(resized(np.ascontiguousarray(picture[:, ::-1]) if mirrored else picture, GRID, GRID))


def _alike(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Share of a coarse grid's cells with the same colour."""
    return float((delta_e(a, b) < STILL_DELTA_E).mean())


PLUGIN = FunctionMetric(
    name="following/copy", title="Copied from the source", unit="share 0–1", better="neither", measured_by=measure,
)
