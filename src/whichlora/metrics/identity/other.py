"""Is it the same drawn character, creature or thing? Says honestly that nothing here can tell.

Without this file such subjects would have no identity condition at all, and every picture would keep its identity.
"""

from __future__ import annotations

from typing import Any

from whichlora.metrics._common import FunctionMetric, not_applicable, not_measured
from whichlora.metrics.base import View
from whichlora.types import Measurement


def measure(view: View, prepared: Any) -> Measurement:
    """Unscored for drawn characters and things; no say for photographs of people and for figures."""
    del view
    if prepared in ("photograph", "figure"):
        return not_applicable("a recogniser for this kind of subject decides")
    return not_measured(
        "no recogniser for drawn characters or things is part of this installation; judge identity by eye (review)",
    )


PLUGIN = FunctionMetric(
    name="identity/other", title="Same drawn character or thing", unit="none", better="higher", gate="identity",
    measured_by=measure,
)
