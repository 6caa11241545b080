"""Was the source pasted or mirrored instead of edited? Informs; decides nothing.

Pasted: the subject's pixels are the source's, although the edit asks it to move or to change its face. Mirrored:
the picture is its own source seen in a mirror.
"""

from __future__ import annotations

from typing import Any

from whichlora.metrics._common import FunctionMetric, told
from whichlora.metrics._regions import share_of, shared_subject
from whichlora.metrics.base import View
from whichlora.metrics.following._change import COPIED, STILL_DELTA_E, change, mirrored
from whichlora.types import Measurement

MOVES_SUBJECT = ("camera", "expression")


def measure(view: View, prepared: Any) -> Measurement:
    """Share 0–1 of the subject's pixels that are the source's own, upright or mirrored, whichever is larger."""
    region = shared_subject(view.source, view.output, prepared)
    still = change(view.source, view.output).map < STILL_DELTA_E
    same = share_of(still) if region is None else share_of(still[region])
    is_mirror, share = mirrored(view.source, view.output)
    pasted = same >= COPIED and view.case.family in MOVES_SUBJECT
    return told(max(same, share if is_mirror else 0.0), {
        "mirrored": bool(is_mirror), "pasted": bool(pasted), "same_share": same, "mirrored_share": share,
        "copied": bool(is_mirror or pasted),
    })


PLUGIN = FunctionMetric(
    name="following/copy", title="Copied from the source", unit="share 0–1", better="neither", measured_by=measure,
)
