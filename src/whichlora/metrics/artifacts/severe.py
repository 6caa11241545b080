"""Does any artefact spoil the picture? Counts kinds of artefact; fails when one is severe. Gates the rate.

Asks every detector of this folder; what a detector cannot measure is listed, and neither passes nor fails.
"""

from __future__ import annotations

from typing import Any

from whichlora.metrics._common import FunctionMetric, judged
from whichlora.metrics.artifacts import banding, clipping, colour, grid, people, texture, tiling
from whichlora.metrics.artifacts._findings import Finding
from whichlora.metrics.base import View
from whichlora.types import Measurement


def findings(view: View, kind: str) -> tuple[list[Finding], list[str]]:
    """Everything found, and what could not be looked for."""
    found = [grid.find(view), banding.find(view), tiling.find(view), clipping.find(view)]
    unknown: list[str] = []
    counted = people.find(view, kind)
    if counted is None:
        unknown.append("people: cannot be counted in this picture")
    else:
        found.append(counted)
    if kind == "photograph":
        worn = texture.find(view)
        if isinstance(worn, str):
            unknown.append(f"texture: {worn}")
        else:
            found.append(worn)
        shifted = colour.find(view) if colour.looked_for(view) else None
        if isinstance(shifted, str):
            unknown.append(f"colour: {shifted}")
        elif shifted is not None:
            found.append(shifted)
    return found, unknown


def measure(view: View, prepared: Any) -> Measurement:
    """Number of kinds of artefact that can be seen; passes without a severe one."""
    found, unknown = findings(view, prepared)
    seen = [item for item in found if item.severity != "none"]
    severe = [item for item in seen if item.severity == "severe"]
    detail = {
        "found": [item.detail() for item in seen], "not_measured": unknown,
        "regions": [list(box) for item in sorted(seen, key=lambda item: item not in severe) for box in item.regions],
    }
    why = "; ".join(item.words for item in severe)
    return judged(float(len(seen)), not severe, why, detail)


PLUGIN = FunctionMetric(
    name="artifacts/severe", title="Artefacts", unit="kinds seen", better="lower", gate="artefact",
    measured_by=measure, version=2,
)
