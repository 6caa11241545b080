"""Did the face change as asked? Figures by the figure reader, photographs by mesh landmarks relative to the source.

Distances are in units of the distance between the outer eye corners, so head size and distance do not matter; what
is judged is the change from the source, so a face that smiled before must smile more, and a copy fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics._common import FunctionMetric, judged, missed, not_applicable, not_measured
from whichlora.metrics.base import Picture, View
from whichlora.metrics.following._change import unable
from whichlora.metrics.following._named import asked_name, asks_for, measure_class
from whichlora.types import Measurement
from whichlora.vision import faces
from whichlora.vision.faces import Face
from whichlora.vision.pose import mesh

SYNONYMS = {
    "happy": "smile", "smiling": "smile", "a smile": "smile", "laugh": "smile", "surprise": "surprised",
    "sadness": "sad", "anger": "angry", "calm": "neutral", "serious": "neutral",
}
CORNERS, LIPS = (61, 291), (13, 14)
EYES_OUTER, BROWS, UPPER_LIDS, LOWER_LIDS = (33, 263), ((105, 107), (334, 336)), (159, 386), (145, 374)


@dataclass(frozen=True)
class Shape:
    """Shape of a face, in units of the distance between the outer eye corners."""

    mouth_width: float
    mouth_open: float
    corners_up: float
    """How far the mouth's corners stand above its middle."""
    brows_up: float
    """How far the brows stand above the upper lids."""
    eyes_open: float


RULES: dict[str, Callable[[Shape], float]] = {
    "smile": lambda d: max(d.mouth_width / 0.06, d.corners_up / 0.035),
    "surprised": lambda d: max(d.mouth_open / 0.10, min(d.brows_up / 0.03, (d.mouth_open + d.eyes_open) / 0.03)),
    "sad": lambda d: max(-d.corners_up / 0.03, -d.mouth_width / 0.06),
    "angry": lambda d: -d.brows_up / 0.025,
    "neutral": lambda d: max(-d.mouth_width / 0.06, -d.mouth_open / 0.06),
}
"""Expression → strength of the change in its direction; 1 or more passes."""


def measure(view: View, prepared: Any) -> Measurement:
    """Strength of the asked change; 1 passes (figures: probability of the asked expression)."""
    if not asks_for(view.case, "expression"):
        return not_applicable("the edit asks for no other expression")
    asked = asked_name(view.case.target, "expression", SYNONYMS)
    if not asked:
        return not_measured("the case names no expression to verify")
    if prepared == "figure":
        return measure_class(view, "expression", asked)
    if prepared != "photograph":
        return unable(view, "no expression verifier for this kind of subject")
    if asked not in RULES:
        return unable(view, f"no verifier for the expression '{asked}'; known: {', '.join(sorted(RULES))}")
    ours = faces.find(view.source)
    if not ours:
        return unable(view, "the source shows no face")
    theirs = faces.find(view.output)
    if not theirs:
        return missed("no face was found in the picture")
    before, after = shape_of(view.source, ours[0]), shape_of(view.output, theirs[0])
    moved = Shape(*(b - a for a, b in zip(asdict(before).values(), asdict(after).values(), strict=True)))
    strength = RULES[asked](moved)
    detail = {"asked": asked, "change": asdict(moved), "regions": [[round(value) for value in theirs[0].box]]}
    return judged(max(0.0, strength), strength >= 1, f"the face did not turn to '{asked}' clearly enough", detail)


def shape_of(picture: Picture, face: Face) -> Shape:
    """Shape of a face from its mesh, upright."""
    points = mesh(picture, face)
    left, right = points[EYES_OUTER[0]], points[EYES_OUTER[1]]
    unit = max(float(np.linalg.norm(right - left)), 1e-6)
    across = (right - left) / unit
    down = points[152] - points[10]
    down = down - across * float(down @ across)
    down = down / max(float(np.linalg.norm(down)), 1e-6)

    def height(indices: tuple[int, ...]) -> float:
        return float(np.mean([_below(points[index], down) for index in indices])) / unit

    brows = np.mean([height(pair) for pair in BROWS])
    return Shape(
        mouth_width=float(np.linalg.norm(points[CORNERS[1]] - points[CORNERS[0]])) / unit,
        mouth_open=float(np.linalg.norm(points[LIPS[1]] - points[LIPS[0]])) / unit,
        corners_up=height(LIPS) - height(CORNERS),
        brows_up=height(UPPER_LIDS) - float(brows),
        eyes_open=height(LOWER_LIDS) - height(UPPER_LIDS),
    )


def _below(point: NDArray[np.float64], down: NDArray[np.float64]) -> float:
    return float(point @ down)


PLUGIN = FunctionMetric(
    name="following/expression", title="Expression as asked", unit="strength, 1 passes", better="higher", gate="edit",
    measured_by=measure, version=2,
)
