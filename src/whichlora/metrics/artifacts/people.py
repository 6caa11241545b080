"""Duplicated or missing people. Photographs by face count; figures by whether the reader still sees one.

Bystanders count only when their face is at least a quarter as large as the largest. A face that the edit turns away
on purpose is not missing. Figure: faces too many or too few.
"""

from __future__ import annotations

from typing import Any

from whichlora.metrics._common import FunctionMetric, not_applicable
from whichlora.metrics.artifacts._findings import Finding, whole
from whichlora.metrics.base import View
from whichlora.types import Measurement
from whichlora.vision import faces, figure
from whichlora.vision.faces import Face

RELATIVE_SIZE = 0.25
SURE = 0.5
"""Detector score from which on an extra face counts."""
HIDDEN_YAW_DEG = 75.0


def main_faces(found: tuple[Face, ...]) -> tuple[Face, ...]:
    """Faces that are no bystanders."""
    return tuple(face for face in found if face.area >= RELATIVE_SIZE * found[0].area and face.score >= SURE)


def find(view: View, kind: str) -> Finding | None:
    """People too many or too few; None where they cannot be counted."""
    if kind == "figure":
        gone = 1.0 if figure.read(view.output).present < SURE else 0.0
        return Finding("people", gone, 1.0, 1.0, whole(view.output.shape), "the figure is missing")
    if kind != "photograph":
        return None
    shown, found = faces.find(view.source), faces.find(view.output)
    if not shown and not found:
        return None  # a face that the source does not show cannot be missing
    before = max(1, len(main_faces(shown))) if shown else 1
    after = main_faces(found)
    if not found:
        gone = 0.0 if _hidden(view) else float(before)
        return Finding("people", gone, 1.0, 1.0, whole(view.output.shape), "the face is missing")
    extra = max(0, len(after) - before)
    boxes = tuple(
        (round(face.box[0]), round(face.box[1]), round(face.box[2]), round(face.box[3])) for face in after[before:]
    )
    return Finding("people", float(extra), 1.0, 1.0, boxes, f"{len(after)} faces instead of {before}")


def _hidden(view: View) -> bool:
    yaw = view.case.target.get("yaw_deg")
    turned = isinstance(yaw, (int, float)) and abs(float(yaw)) >= HIDDEN_YAW_DEG
    return turned or view.case.target.get("view") == "back"


def measure(view: View, prepared: Any) -> Measurement:
    """Faces too many or too few."""
    found = find(view, prepared)
    return not_applicable("people cannot be counted in this picture") if found is None else found.measurement()


PLUGIN = FunctionMetric(
    name="artifacts/people", title="Duplicated or missing people", unit="faces", better="lower", measured_by=measure,
)
