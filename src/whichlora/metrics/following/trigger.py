"""Was a LoRA's own prompt followed? Says honestly when nothing here can tell.

Where such a prompt has a target that another verifier reads (`yaw_deg`, `light`, `background`, `expression`), that
verifier decides. Without this file a prompt without a target would have no edit condition and always count as done.
"""

from __future__ import annotations

from typing import Any

from whichlora.metrics._common import FunctionMetric, not_applicable, not_measured
from whichlora.metrics.base import View
from whichlora.metrics.following._named import TARGETS, asks_for
from whichlora.types import Measurement


def measure(view: View, prepared: Any) -> Measurement:
    """Unscored when no verifier reads the case's target."""
    del prepared
    if any(asks_for(view.case, family) for family in TARGETS):
        return not_applicable("another verifier decides")
    return not_measured("no verifier for this prompt; judge the edit by eye (review)")


PLUGIN = FunctionMetric(
    name="following/trigger", title="Own prompt followed", unit="none", better="higher", gate="edit",
    measured_by=measure,
)
