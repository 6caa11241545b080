"""How much memory a picture took at its peak. As recorded by the run; pictures made elsewhere have none."""

from __future__ import annotations

from typing import Any

from whichlora.metrics._common import FunctionMetric, not_measured, told
from whichlora.metrics.base import View
from whichlora.types import Measurement

GIB = 1024**3


def measure(view: View, prepared: Any) -> Measurement:
    """Peak device memory (VRAM), or resident memory on a processor, in GiB."""
    del prepared
    peak = view.generation.peak_memory_bytes
    if peak <= 0:
        return not_measured("no memory was recorded for this picture")
    return told(peak / GIB, {"device": view.generation.facts.get("device", "unknown")})


PLUGIN = FunctionMetric(name="cost/memory", title="Peak memory", unit="GiB", better="lower", measured_by=measure)
