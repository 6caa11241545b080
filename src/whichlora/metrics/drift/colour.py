"""Did the colours shift by themselves? ΔE and chroma of what must stay, after alignment; not for relighting."""

from __future__ import annotations

from typing import Any

import numpy as np

from whichlora.metrics._colour import blurred, lab
from whichlora.metrics._common import FunctionMetric, not_applicable, told
from whichlora.metrics.base import View
from whichlora.metrics.preservation._kept import kept
from whichlora.types import Measurement


def measure(view: View, prepared: Any) -> Measurement:
    """ΔE (CIE76) between the mean colours' neighbourhoods; chroma ratio and signed shifts in the detail."""
    found = kept(view, prepared)
    if isinstance(found, str):
        return not_applicable(found)
    sigma = max(1.0, 0.02 * max(view.source.shape[:2]))
    before = blurred(lab(view.source), sigma)[found.region]
    after = blurred(lab(found.output), sigma)[found.region]
    shift = (after - before).mean(0)
    chroma_before = float(np.hypot(before[:, 1], before[:, 2]).mean())
    chroma_after = float(np.hypot(after[:, 1], after[:, 2]).mean())
    return told(float(np.linalg.norm(after - before, axis=1).mean()), {
        "of": found.what, "share": float(found.region.mean()),
        "chroma_ratio": chroma_after / chroma_before if chroma_before > 1 else None,
        "lightness_shift": float(shift[0]), "red_shift": float(shift[1]), "yellow_shift": float(shift[2]),
    })


PLUGIN = FunctionMetric(
    name="drift/colour", title="Colour drift", unit="ΔE", better="lower", measured_by=measure,
)
