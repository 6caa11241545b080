"""What metric files share: a metric made of one function, and the three ways of having no value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from whichlora.metrics.base import Subject, View
from whichlora.types import Gate, Measurement


def _kind(subject: Subject) -> Any:
    """Default calibration: only the subject's kind is needed."""
    return subject.kind


@dataclass(frozen=True)
class FunctionMetric:
    """A `Metric` made of a function of (view, prepared); see `metrics/base.py` for the fields."""

    name: str
    """'<axis>/<name>', equal to its path."""
    title: str
    """A few words for people."""
    unit: str
    """Unit or range."""
    better: str
    """'higher', 'lower' or 'neither'."""
    measured_by: Callable[[View, Any], Measurement]
    """Pure function of a view and what `prepared_by` returned."""
    prepared_by: Callable[[Subject], Any] = _kind
    """Calibration; by default the subject's kind."""
    gate: Gate | None = None
    """Condition of the consistency rate that it decides."""
    version: int = 1
    """Raised when the same picture could get another figure."""

    def prepare(self, subject: Subject) -> Any:
        """Calibrate on the subject once per project."""
        return self.prepared_by(subject)

    def measure(self, view: View, prepared: Any) -> Measurement:
        """Measure one picture."""
        return self.measured_by(view, prepared)


def not_applicable(why: str) -> Measurement:
    """The metric has no say here; nobody's rate changes."""
    return Measurement(None, f"not applicable: {why}")


def not_measured(why: str, detail: Mapping[str, Any] | None = None) -> Measurement:
    """The metric should have a say but cannot tell: unscored, shown as such, never a pass or a failure."""
    return Measurement(None, f"not measured: {why}", None, detail or {})


def missed(why: str, detail: Mapping[str, Any] | None = None) -> Measurement:
    """No figure, and that is itself a failure (no face where one must be)."""
    return Measurement(None, why, False, detail or {})


def judged(value: float, passed: bool, why: str, detail: Mapping[str, Any] | None = None) -> Measurement:
    """A figure with a verdict; `why` is kept only for failures."""
    return Measurement(float(value), "" if passed else why, bool(passed), detail or {})


def told(value: float, detail: Mapping[str, Any] | None = None) -> Measurement:
    """A figure without a verdict."""
    return Measurement(float(value), "", None, detail or {})
