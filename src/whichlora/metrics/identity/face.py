"""Is it the same person? For photographs: face embeddings on the subject's own scale, one recogniser or several.

Not for figures or drawings, and not beyond ±70° of yaw, where no recogniser was measured. Blind spots of the packaged
embedding stand in `vision/faces.py`; the detail carries the percentile against impostors, never a bare match. With
identity packs, the verdict is that of the fused scale, and each recogniser's own view stands in the detail with its
licence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics._common import FunctionMetric, judged, missed, not_applicable, not_measured
from whichlora.metrics.base import Picture, Subject, View
from whichlora.metrics.identity._calibration import UNDECIDED, Scale
from whichlora.metrics.identity._faces import Calibrated, calibrated, chosen, facts, fused_scale, place
from whichlora.types import Measurement
from whichlora.vision import faces
from whichlora.vision.faces import Face
from whichlora.vision.pose import pose

YAW_LIMIT_DEG = 70.0
RELATIVE_SIZE = 0.25
"""Faces smaller than this share of the largest one's area are bystanders."""
WORST_YAW_REQUEST_DEG = 75.0


@dataclass(frozen=True)
class Calibration:
    """The subject on every recogniser's scale."""

    references: tuple[str, ...]
    """Ids of own photographs with a face."""
    parts: tuple[Calibrated, ...]
    """Recognisers, the packaged one first."""
    fused: Scale | None
    """Scale of their mean place; None with a single one."""
    faceless: tuple[str, ...]
    """Ids of photographs in which no face was found."""

    @property
    def scale(self) -> Scale:
        """The scale that decides, pooled over yaw."""
        return self.fused or self.parts[0].scale


def prepare(subject: Subject) -> Calibration | None:
    """Embed the subject's photographs and the impostors'; None when the subject is no photograph."""
    if subject.kind != "photograph":
        return None
    own: list[tuple[Picture, Face]] = []
    strangers: list[tuple[Picture, Face, float]] = []
    references: list[str] = []
    faceless: list[str] = []
    for reference in subject.references:
        found = faces.find(reference.picture)
        if not found:
            faceless.append(reference.id)
        elif reference.same:
            own.append((reference.picture, found[0]))
            references.append(reference.id)
        else:
            strangers.append((reference.picture, found[0], pose(reference.picture, found[0]).yaw_deg))
    if not own:
        raise ValueError("none of the subject's own photographs shows a face that can be found")
    parts = tuple(calibrated(recogniser, own, strangers) for recogniser in chosen(subject.packs))
    return Calibration(tuple(references), parts, fused_scale(parts) if len(parts) > 1 else None, tuple(faceless))


def measure(view: View, prepared: Calibration | None) -> Measurement:
    """Likeness of the largest matching face, in percent of how alike the subject's own photographs are."""
    if prepared is None:
        return not_applicable("this recogniser is for photographs of people")
    found = faces.find(view.output)
    if not found:
        if _face_hidden_on_purpose(view):
            return not_measured("the edit asks for a view in which no face shows")
        return missed("no face was found in the picture", {"faces": 0})
    relevant = [face for face in found if face.area >= RELATIVE_SIZE * found[0].area]
    face, likeness = _best(view.output, relevant, prepared)
    turned = pose(view.output, face).yaw_deg
    scale = prepared.fused or prepared.parts[0].scale_at(turned)
    value = _value(prepared, likeness)
    detail: dict[str, Any] = {
        **scale.facts(value),
        "distance": -float(likeness[0].max()),
        "faces": len(found),
        "regions": [[round(item) for item in face.box]],
        "yaw_deg": turned,
        "nearest_reference": prepared.references[int(likeness[0].argmax())],
        "recogniser": " + ".join(part.recogniser.name for part in prepared.parts),
        "photographs_without_face": list(prepared.faceless),
    }
    if prepared.fused is not None:
        views = [facts(part, float(near.max()), turned) for part, near in zip(prepared.parts, likeness, strict=True)]
        detail |= {"recognisers": views, "agree": len({item["would_pass"] for item in views}) == 1}
    if abs(turned) > YAW_LIMIT_DEG:
        return not_measured(f"the face is turned by {turned:.0f}°, beyond ±{YAW_LIMIT_DEG:.0f}°", detail)
    percent = scale.percent(value)
    passed = scale.verdict(value)
    if passed is None:
        return Measurement(percent, UNDECIDED, None, detail)
    why = (f"another person: {percent:.0f}% of how alike the own photographs are, "
           f"{scale.percent(scale.threshold):.0f}% is needed")
    return judged(percent, passed, why, detail)


def _value(prepared: Calibration, likeness: list[NDArray[np.float64]]) -> float:
    """The figure that the deciding scale is about: a similarity, or the mean place of several recognisers."""
    if prepared.fused is None:
        return float(likeness[0].max())
    places = [place(part.scale, float(near.max())) for part, near in zip(prepared.parts, likeness, strict=True)]
    return float(np.mean(places))


def _best(picture: Picture, found: list[Face], prepared: Calibration) -> tuple[Face, list[NDArray[np.float64]]]:
    """The largest face that matches, or the most alike one when none does, with its similarities per recogniser."""
    rated = [(face, [part.similarities(picture, face) for part in prepared.parts]) for face in found]
    for entry in rated:  # largest first
        if _value(prepared, entry[1]) >= prepared.scale.threshold:
            return entry
    return max(rated, key=lambda entry: _value(prepared, entry[1]))


def _face_hidden_on_purpose(view: View) -> bool:
    """Whether the edit asks for a view from behind or a full profile."""
    target = view.case.target
    if target.get("view") == "back":
        return True
    yaw = target.get("yaw_deg")
    return isinstance(yaw, (int, float)) and abs(float(yaw)) >= WORST_YAW_REQUEST_DEG


PLUGIN = FunctionMetric(
    name="identity/face", title="Same person (face)", unit="% of how alike own photographs are", better="higher",
    gate="identity", measured_by=measure, prepared_by=prepare, version=2,
)
