"""Is it the same person? For photographs: distance of face embeddings on the subject's own scale.

Not for figures or drawings, and not beyond ±70° of yaw, where the recogniser was not measured. Blind spots of the
embedding stand in `vision/faces.py`; the detail carries the percentile against impostors, never a bare match.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics._common import FunctionMetric, judged, missed, not_applicable, not_measured
from whichlora.metrics.base import Picture, Subject, View
from whichlora.metrics.identity._calibration import Defaults, Scale, calibrate, nearest
from whichlora.types import Measurement
from whichlora.vision import faces
from whichlora.vision.faces import Face
from whichlora.vision.pose import pose

DEFAULTS = Defaults(own_median=-0.40, impostor_median=-0.80, threshold=-0.60, never_below=-0.60)
"""Similarity is minus the distance. Measured on public sets: strangers about 0.8, one person 0.25–0.45, 0.3 % false
match at 0.6."""
YAW_LIMIT_DEG = 70.0
YAW_BINS_DEG = (20.0, 45.0)
"""Edges of |yaw| between which strangers are pooled; turned faces of strangers are more alike."""
BIN_IMPOSTORS = 20
"""Strangers that a yaw bin needs for a threshold of its own."""
RELATIVE_SIZE = 0.25
"""Faces smaller than this share of the largest one's area are bystanders."""
WORST_YAW_REQUEST_DEG = 75.0


@dataclass(frozen=True)
class Calibration:
    """The subject's embeddings and scales."""

    references: tuple[str, ...]
    """Ids of own photographs with a face."""
    own: NDArray[np.float32]
    """Their embeddings, n × 128."""
    scale: Scale
    """Pooled over yaw."""
    bins: tuple[Scale | None, ...]
    """Per yaw bin, where enough strangers fall into it."""
    faceless: tuple[str, ...]
    """Ids of photographs in which no face was found."""


def yaw_bin(yaw_deg: float) -> int:
    """Index of the |yaw| bin."""
    return int(np.searchsorted(YAW_BINS_DEG, abs(yaw_deg), side="right"))


def prepare(subject: Subject) -> Calibration | None:
    """Embed the subject's photographs and the impostors'; None when the subject is no photograph."""
    if subject.kind != "photograph":
        return None
    own: list[NDArray[np.float32]] = []
    strangers: list[tuple[NDArray[np.float32], int]] = []
    references: list[str] = []
    faceless: list[str] = []
    for reference in subject.references:
        found = faces.find(reference.picture)
        if not found:
            faceless.append(reference.id)
        elif reference.same:
            own.append(faces.embed(reference.picture, found[0]))
            references.append(reference.id)
        else:
            turned = yaw_bin(pose(reference.picture, found[0]).yaw_deg)
            strangers.append((faces.embed(reference.picture, found[0]), turned))
    if not own:
        raise ValueError("none of the subject's own photographs shows a face that can be found")
    gallery = np.stack(own)
    among = nearest(-_distances(gallery, gallery)) if len(own) > 1 else np.empty(0)
    to_own = [float(-_distances(vector[None], gallery).min()) for vector, _ in strangers]
    scale = calibrate(list(among), to_own, DEFAULTS)
    bins: list[Scale | None] = []
    for index in range(len(YAW_BINS_DEG) + 1):
        inside = [value for value, (_, turned) in zip(to_own, strangers, strict=True) if turned == index]
        bins.append(calibrate(list(among), inside, DEFAULTS) if len(inside) >= BIN_IMPOSTORS else None)
    return Calibration(tuple(references), gallery, scale, tuple(bins), tuple(faceless))


def _distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.linalg.norm(a[:, None].astype(np.float64) - b[None].astype(np.float64), axis=-1)


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
    face, similarity, nearest_id = _best(view.output, relevant, prepared)
    turned = pose(view.output, face)
    scale = prepared.bins[yaw_bin(turned.yaw_deg)] or prepared.scale
    detail: dict[str, Any] = {
        **scale.facts(similarity),
        "distance": -similarity,
        "faces": len(found),
        "regions": [[round(value) for value in face.box]],
        "yaw_deg": turned.yaw_deg,
        "nearest_reference": nearest_id,
        "recogniser": "dlib ResNet-29",
        "photographs_without_face": list(prepared.faceless),
    }
    if abs(turned.yaw_deg) > YAW_LIMIT_DEG:
        return not_measured(f"the face is turned by {turned.yaw_deg:.0f}°, beyond ±{YAW_LIMIT_DEG:.0f}°", detail)
    value = scale.percent(similarity)
    why = (f"another person: {value:.0f} % of how alike the own photographs are, "
           f"{scale.percent(scale.threshold):.0f} % is needed")
    return judged(value, similarity >= scale.threshold, why, detail)


def _best(picture: Picture, found: list[Face], prepared: Calibration) -> tuple[Face, float, str]:
    """The largest face that matches, or the most alike one when none does."""
    rated: list[tuple[Face, float, str]] = []
    for face in found:
        near = _distances(faces.embed(picture, face)[None], prepared.own)[0]
        rated.append((face, float(-near.min()), prepared.references[int(near.argmin())]))
    for entry in rated:  # largest first
        if entry[1] >= prepared.scale.threshold:
            return entry
    return max(rated, key=lambda entry: entry[1])


def _face_hidden_on_purpose(view: View) -> bool:
    """Whether the edit asks for a view from behind or a full profile."""
    target = view.case.target
    if target.get("view") == "back":
        return True
    yaw = target.get("yaw_deg")
    return isinstance(yaw, (int, float)) and abs(float(yaw)) >= WORST_YAW_REQUEST_DEG


PLUGIN = FunctionMetric(
    name="identity/face", title="Same person (face)", unit="% of how alike own photographs are", better="higher",
    gate="identity", measured_by=measure, prepared_by=prepare,
)
