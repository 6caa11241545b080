"""How long a picture took, by stage. As recorded by the run; pictures made elsewhere have none."""

from __future__ import annotations

from typing import Any

from whichlora.metrics._common import FunctionMetric, not_measured, told
from whichlora.metrics.base import View
from whichlora.types import Measurement


def measure(view: View, prepared: Any) -> Measurement:
    """Seconds from instruction to picture."""
    del prepared
    seconds = dict(view.generation.seconds)
    total = seconds.get("total", sum(seconds.values()) if seconds else None)
    if total is None:
        return not_measured("no times were recorded for this picture")
    return told(total, {"stages": seconds})


PLUGIN = FunctionMetric(name="cost/seconds", title="Time", unit="s", better="lower", measured_by=measure)
