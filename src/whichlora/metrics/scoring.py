"""Calibrating metrics on a subject and measuring a picture with them. Knows no store and no candidate.

A metric that breaks gives a measurement without value and with a reason, so that the picture counts as unscored;
it never counts as passed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from whichlora import registry
from whichlora.metrics.base import Metric, Subject, View
from whichlora.types import Measurement
from whichlora.vision.picture import frozen


@dataclass(frozen=True)
class Uncalibrated:
    """Stands in for what `prepare` should have returned when it failed."""

    reason: str
    """What went wrong, in one line."""


def prepare_all(subject: Subject, names: Iterable[str]) -> dict[str, Any]:
    """Calibrate every named metric on a subject.

    Args:
        subject: Kind, the character's own photographs and impostors.
        names: Metric names of the registry.

    Returns:
        Metric name → what its `measure` wants; `Uncalibrated` for a metric that failed.
    """
    prepared: dict[str, Any] = {}
    for name in names:
        metric: Metric = registry.load("metrics", name)
        try:
            prepared[name] = metric.prepare(subject)
        except Exception as error:  # a third party's plug-in may raise anything; one metric must not end the run
            prepared[name] = Uncalibrated(_line(error))
    return prepared


def measure_picture(view: View, prepared: Mapping[str, Any], names: Iterable[str]) -> dict[str, Measurement]:
    """Measure one picture with every named metric.

    Args:
        view: Source and output of one shape, case, cost facts.
        prepared: What `prepare_all` returned.
        names: Metrics to compute.
    """
    # Read-only copies: results can be remembered by content, and no metric can spoil the next one's picture.
    view = replace(view, source=frozen(view.source), output=frozen(view.output))
    return {name: _measure(registry.load("metrics", name), view, prepared, name) for name in names}


def _measure(metric: Metric, view: View, prepared: Mapping[str, Any], name: str) -> Measurement:
    if name not in prepared:
        return Measurement(None, f"not measured: '{name}' was not calibrated")
    ready = prepared[name]
    if isinstance(ready, Uncalibrated):
        return Measurement(None, f"not measured: calibration failed: {ready.reason}")
    try:
        measured = metric.measure(view, ready)
    except Exception as error:  # see prepare_all
        return Measurement(None, f"not measured: {_line(error)}")
    return _checked(measured)


def _checked(measured: Measurement) -> Measurement:
    """A figure that is not a finite number is no figure, and cannot have passed."""
    if not isinstance(measured, Measurement):
        return Measurement(None, "not measured: the metric returned no measurement")
    if measured.value is not None and not math.isfinite(measured.value):
        return Measurement(None, f"not measured: the figure is {measured.value}", None, _plain(measured.detail))
    if measured.value is None and not measured.reason:
        return Measurement(None, "not measured: the metric gave neither value nor reason", None)
    return replace(measured, detail=_plain(measured.detail))


def _plain(value: Any) -> Any:
    """Plain JSON data: numpy scalars and arrays unwrapped, non-finite numbers as None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:160]}" if text else type(error).__name__
