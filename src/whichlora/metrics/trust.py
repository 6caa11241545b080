"""Which metrics may decide, by what was measured of them. Reads a recorded table; measures nothing.

A metric may gate only where it told right from wrong with an AUC of at least 0.85 on edits whose truth is exactly
known. Such edits exist for toy figures (`trust.json`, made by `python bench/truth.py --write`). For other subjects
nothing of the kind is known: there the metrics' own limits apply, and the report says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from whichlora.metrics.base import Metric
from whichlora.types import Gate, Measurement

MIN_AUC = 0.85
"""A metric that tells right from wrong less often is shown without deciding."""
RECORDED = ("figure",)
"""Kinds of subject for which exact truth exists."""


@lru_cache(maxsize=1)
def table() -> Mapping[str, Any]:
    """The recorded truth table: 'conditions', and 'metrics' by name."""
    return dict(json.loads(files("whichlora.metrics").joinpath("trust.json").read_text(encoding="utf-8")))


def why_not(metric: Metric, kind: str) -> str:
    """Why a gating metric may not decide about a kind of subject; '' when it may.

    Args:
        metric: The metric.
        kind: 'photograph', 'figure', 'drawn' or 'other'.
    """
    if metric.gate is None or kind not in RECORDED:
        return ""
    known = table()["metrics"].get(metric.name)
    if known is None:
        return "it was never compared with the exact truth"
    if known["version"] != metric.version:
        return f"version {known['version']} was compared with the exact truth, this is version {metric.version}"
    if known["auc"] is None or known["auc"] < MIN_AUC:
        told = "nothing" if known["auc"] is None else f"an AUC of {known['auc']:.2f}"
        return f"it reached {told} against the exact truth, {MIN_AUC} is needed"
    return ""


def deciding(metric: Metric, measured: Measurement, kind: str) -> Gate | None:
    """The gate that a measurement decides; None when the metric only informs or may not decide here.

    A measurement without a verdict keeps its gate: nothing could be told, and that must stay visible.
    """
    if measured.passed is None:
        return metric.gate
    return None if why_not(metric, kind) else metric.gate
