"""Is it the same toy figure? For figures: distance of the reader's embeddings on the subject's own scale.

Not for photographs. The reader was trained on rendered characters, none of them a demonstration's. Its embeddings drift
with the view: a true back view can look as far off as a changed trait. So in a view that no own picture comes near, a
figure fails only if it is as far off as strangers are; between that and the threshold it is not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics._common import FunctionMetric, judged, missed, not_applicable
from whichlora.metrics.base import Subject, View
from whichlora.metrics.identity._calibration import UNDECIDED, Defaults, Scale, calibrate, nearest
from whichlora.types import Measurement
from whichlora.vision import figure

DEFAULTS = Defaults(own_median=-0.18, impostor_median=-1.25, threshold=-0.45, sees_every_trait=True)
"""Similarity is minus the distance of unit vectors (0 to 2), whose spread is nearly normal, unlike the cosine's.
Measured on rendered figures: own 0.1–0.3, one trait changed 0.35–0.9, strangers about 1.25."""
PRESENT = 0.5
"""Probability of a figure below which there is none."""
NEW_VIEW_DEG = 30.0
"""A view farther than this from every own picture's is new to the calibration."""
STRANGER = -0.9
"""In a new view, a similarity below this is a stranger's. Measured on ten characters of other worlds
(`bench/truth.py --people 31`, then 57): own −0.26 to −0.85, one trait changed −0.52 to −1.13, strangers −0.94 to
−1.56."""


@dataclass(frozen=True)
class Calibration:
    """The subject's embeddings and scale."""

    references: tuple[str, ...]
    own: NDArray[np.float32]
    """n × 64, each of length 1."""
    yaws_deg: tuple[float, ...]
    """Views of the own pictures."""
    scale: Scale


def prepare(subject: Subject) -> Calibration | None:
    """Embed the subject's pictures and the impostors'; None when the subject is no figure."""
    if subject.kind != "figure":
        return None
    own = [(item.id, figure.read(item.picture)) for item in subject.references if item.same]
    strangers = [figure.read(item.picture) for item in subject.references if not item.same]
    own = [(name, reading) for name, reading in own if reading.present >= PRESENT]
    if not own:
        raise ValueError("none of the subject's own pictures shows a figure that can be read")
    gallery = np.stack([reading.embedding for _, reading in own])
    among = nearest(_likeness(gallery, gallery)) if len(own) > 1 else np.empty(0)
    to_own = [
        float(_likeness(reading.embedding[None], gallery).max()) for reading in strangers if reading.present >= PRESENT
    ]
    yaws = tuple(reading.yaw_deg for _, reading in own)
    scale = calibrate(list(among), to_own, DEFAULTS)
    return Calibration(tuple(name for name, _ in own), gallery, yaws, scale)


def _likeness(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Minus the distances of all pairs of unit vectors."""
    return -np.sqrt(np.maximum(0.0, 2 - 2 * (a.astype(np.float64) @ b.T.astype(np.float64))))


def measure(view: View, prepared: Calibration | None) -> Measurement:
    """Likeness to the nearest own picture, in percent of how alike the own pictures are."""
    if prepared is None:
        return not_applicable("this reader is for toy figures")
    reading = figure.read(view.output)
    if reading.present < PRESENT:
        return missed("no figure was found in the picture", {"present": reading.present})
    similarities = _likeness(reading.embedding[None], prepared.own)[0]
    similarity = float(similarities.max())
    scale = prepared.scale
    detail = {
        **scale.facts(similarity),
        "nearest_reference": prepared.references[int(similarities.argmax())],
        "present": reading.present,
        "recogniser": "figure reader",
    }
    value = scale.percent(similarity)
    why = (f"another figure: {value:.0f}% of how alike the own pictures are, "
           f"{scale.percent(scale.threshold):.0f}% is needed")
    away = min(abs(figure.turned_deg(yaw, reading.yaw_deg)) for yaw in prepared.yaws_deg)
    if away > NEW_VIEW_DEG and similarity < scale.threshold:
        detail["view_away_deg"] = away
        if similarity >= STRANGER:
            reason = f"not measured: no own picture shows this view; the nearest is {away:.0f}° away"
            return Measurement(value, reason, None, detail)
        return judged(value, False, why, detail)
    passed = scale.verdict(similarity)
    return Measurement(value, UNDECIDED, None, detail) if passed is None else judged(value, passed, why, detail)


PLUGIN = FunctionMetric(
    name="identity/figure", title="Same figure", unit="% of how alike own pictures are", better="higher",
    gate="identity", measured_by=measure, prepared_by=prepare, version=3,
)
