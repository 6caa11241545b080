"""Is it the same drawn character, creature or thing? Says honestly when nothing here can tell.

With the identity pack CCIP (drawn characters) or DINOv2 (anything) it compares the cut-out subject with the own
pictures on the subject's own scale. DINOv2 decides only when calibrated on this subject: its figures mean nothing
across subjects. Without a pack such subjects stay unscored; without this file they would have no identity condition at
all, and every picture would keep its identity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics._common import FunctionMetric, judged, not_applicable, not_measured
from whichlora.metrics.base import Subject, View
from whichlora.metrics.identity._calibration import UNDECIDED, Defaults, Scale, calibrate, nearest
from whichlora.types import Measurement
from whichlora.vision import packs, recognisers

DEFAULTS = {
    # CCIP calls two pictures one character up to a difference of 0.178, which is (1 − cosine) / 2.
    "ccip": Defaults(own_median=0.90, impostor_median=0.20, threshold=0.644, never_below=0.644),
    "dinov2": Defaults(own_median=0.80, impostor_median=0.30, threshold=0.60),
}
NEEDS_CALIBRATION = ("dinov2",)
"""Packs without a threshold that holds across subjects."""


@dataclass(frozen=True)
class Calibration:
    """The subject's embeddings and scale, or why there are none."""

    kind: str
    pack: str
    """'' when no pack can tell."""
    references: tuple[str, ...] = ()
    own: NDArray[np.float32] | None = None
    scale: Scale | None = None


def prepare(subject: Subject) -> Calibration:
    """Embed the own pictures and the impostors' with the first pack that is for this kind of subject."""
    usable = [name for name in subject.packs if subject.kind in packs.pack(name).subjects and name in DEFAULTS]
    if subject.kind in ("photograph", "figure") or not usable:
        return Calibration(subject.kind, "")
    # What is made for the kind (CCIP for drawings) goes before what takes anything.
    name = min(usable, key=lambda item: len(packs.pack(item).subjects))
    own = [item for item in subject.references if item.same]
    if not own:
        raise ValueError("there is no own picture to compare with")
    gallery = np.stack([recognisers.subject_embedding(name, item.picture) for item in own])
    among = nearest(_cosines(gallery, gallery)) if len(own) > 1 else np.empty(0)
    others = [recognisers.subject_embedding(name, item.picture) for item in subject.references if not item.same]
    to_own = [float(_cosines(vector[None], gallery).max()) for vector in others]
    return Calibration(subject.kind, name, tuple(item.id for item in own), gallery,
                       calibrate(list(among), to_own, DEFAULTS[name]))


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    return a.astype(np.float64) @ b.T.astype(np.float64)


def measure(view: View, prepared: Calibration) -> Measurement:
    """Likeness to the nearest own picture; unscored without a pack, no say for people and figures."""
    if prepared.kind in ("photograph", "figure"):
        return not_applicable("a recogniser for this kind of subject decides")
    if prepared.own is None or prepared.scale is None:
        return not_measured(
            "no recogniser for drawn characters or things is part of this installation (whichlora packs lists them); "
            "judge identity by eye (review)",
        )
    near = _cosines(recognisers.subject_embedding(prepared.pack, view.output)[None], prepared.own)[0]
    similarity, scale, chosen = float(near.max()), prepared.scale, packs.pack(prepared.pack)
    detail = {**scale.facts(similarity), "nearest_reference": prepared.references[int(near.argmax())],
              "recogniser": chosen.title, "licence": chosen.licence_line()}
    percent = scale.percent(similarity)
    if prepared.pack in NEEDS_CALIBRATION and scale.calibration != "calibrated":
        return Measurement(percent, "not measured: this recogniser decides only with enough own pictures and impostors",
                           None, detail)
    why = (f"another character: {percent:.0f}% of how alike the own pictures are, "
           f"{scale.percent(scale.threshold):.0f}% is needed")
    passed = scale.verdict(similarity)
    return Measurement(percent, UNDECIDED, None, detail) if passed is None else judged(percent, passed, why, detail)


PLUGIN = FunctionMetric(
    name="identity/other", title="Same drawn character or thing", unit="% of how alike own pictures are",
    better="higher", gate="identity", measured_by=measure, prepared_by=prepare, version=3,
)
