"""Was the background replaced as asked? Figures by the figure reader, photographs by change and colour statistics.

On photographs two questions are asked outside the person: is it another background (after alignment), and does it
have the colours of the asked one? Colours can refute a forest or a plain studio; they cannot prove a Paris café.
A background without a rule that did change is not measured; one that did not change failed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from whichlora.metrics._colour import blurred, delta_e, lab
from whichlora.metrics._common import FunctionMetric, judged, not_applicable, not_measured
from whichlora.metrics._regions import MIN_SHARE, Mask, background_mask, shared_background
from whichlora.metrics.base import Picture, View
from whichlora.metrics.following._change import SMOOTH, change, unable
from whichlora.metrics.following._named import asked_name, asks_for, measure_class
from whichlora.types import Measurement
from whichlora.vision import faces

SYNONYMS = {
    "woods": "forest", "a forest": "forest", "seaside": "beach", "a beach": "beach", "sea": "beach",
    "photo studio": "studio", "plain": "studio", "night city": "city", "city at night": "city", "snow": "mountain",
    "mountains": "mountain", "living room": "room", "indoors": "room",
}
NEW_DELTA_E = 12.0
NEW_SHARE = 0.4
"""A background is another one when this share of it differs by more than `NEW_DELTA_E` (CIE76, aligned, blurred)."""

CARRIED_SHARE = 0.6
"""Share of the old background around a moved person from which on it counts as brought along."""
MOVED = 0.08
"""Change of scale, or shift in units of the longer side, from which on a person counts as moved."""


@dataclass(frozen=True)
class Ground:
    """Colour statistics of a background; shares are 0–1."""

    green: float
    """Share of green pixels."""
    blue: float
    """Share of blue or cyan pixels."""
    sand: float
    """Share of pale yellow to tan pixels."""
    dark: float
    """Share darker than L* 25."""
    pale: float
    """Share brighter than L* 75 with little colour."""
    chroma: float
    """Mean colourfulness, Lab units."""
    texture: float
    """Mean local contrast, L* units."""


RULES: dict[str, Callable[[Ground], float]] = {
    "forest": lambda g: g.green / 0.25,
    "beach": lambda g: min((g.blue + g.sand) / 0.35, 4 * max(g.blue, 0.01) / 0.1, (g.sand + g.pale + g.blue) / 0.4),
    "studio": lambda g: min(14.0 / max(g.chroma, 0.1), 3.0 / max(g.texture, 0.1)),
    "city": lambda g: g.dark / 0.35,
    "mountain": lambda g: (g.pale + 0.5 * g.blue) / 0.3,
}
"""Background → how well its colours fit; 1 or more passes."""


def measure(view: View, prepared: Any) -> Measurement:
    """Fit of the new background, 1 passes (figures: probability of the asked background)."""
    if not asks_for(view.case, "background"):
        return not_applicable("the edit asks for no other background")
    asked = asked_name(view.case.target, "background", SYNONYMS)
    if prepared == "figure":
        return measure_class(view, "background", asked) if asked else not_measured("the case names no background")
    region = shared_background(view, prepared)
    if region is None:
        return unable(view, "subject and background cannot be told apart in source and output")
    differ = change(view.source, view.output).map[region]
    share = float((differ > NEW_DELTA_E).mean())
    detail: dict[str, Any] = {"asked": asked, "changed_share": share, "background_share": float(region.mean())}
    if share < NEW_SHARE:
        why = f"only {100 * share:.0f}% of the background changed"
        return judged(0.0, False, why, detail)
    carried = carried_along(view.source, view.output)
    detail["old_background_share"] = carried
    if carried is not None and carried >= CARRIED_SHARE:
        why = f"the old background came along with the person: {100 * carried:.0f}% of it is still around them"
        return judged(0.0, False, why, detail)
    if asked not in RULES:
        why = f"the background changed, but nothing here can tell whether it shows '{asked or '?'}'"
        return not_measured(why, detail)
    new = background_mask(view.output, prepared)
    ground = ground_of(view.output, region if new is None else new)
    fit = RULES[asked](ground)
    return judged(fit, fit >= 1, f"the new background has not the colours of '{asked}'", {**detail, **asdict(ground)})


def carried_along(source: Picture, output: Picture) -> float | None:
    """Share 0–1 of the old background that lies around a person who was moved or scaled; None without such a move.

    The person's place is known from the face; the source, laid over it, shows where its background would be.
    """
    import cv2

    ours, theirs = faces.find(source), faces.find(output)
    old = background_mask(source, "photograph")
    new = background_mask(output, "photograph")
    if not ours or not theirs or old is None or new is None:
        return None
    matrix = faces.similarity_transform(np.array(ours[0].points, np.float32), np.array(theirs[0].points, np.float32))
    height, width = output.shape[:2]
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    centre = np.array([width / 2, height / 2])
    moved = float(np.linalg.norm(matrix[:, :2] @ centre + matrix[:, 2] - centre)) / max(height, width)
    if abs(scale - 1) < MOVED and moved < MOVED:
        return None
    there = cv2.warpAffine(source, matrix, (width, height), flags=cv2.INTER_LINEAR)
    where = cv2.warpAffine(old.astype(np.uint8), matrix, (width, height), flags=cv2.INTER_NEAREST) > 0
    region = where & new
    if region.mean() < MIN_SHARE:
        return None
    sigma = max(1.0, SMOOTH * max(height, width) * scale)
    differ = delta_e(blurred(lab(np.asarray(there, np.uint8)), sigma), blurred(lab(output), sigma))
    return float((differ[region] < NEW_DELTA_E).mean())


def ground_of(picture: Picture, region: Mask) -> Ground:
    """Colour statistics of a region."""
    colours = lab(picture)
    bright, a, b = (colours[..., index][region] for index in range(3))
    chroma = np.hypot(a, b)
    hue = np.degrees(np.arctan2(b, a)) % 360
    coloured = chroma > 8
    full = np.ascontiguousarray(colours[..., 0])
    rough = np.abs(full - blurred(full, max(1.0, 0.01 * max(picture.shape[:2]))))[region]
    return Ground(
        green=float((coloured & (hue > 100) & (hue < 175)).mean()),
        blue=float((coloured & (hue >= 175) & (hue < 310)).mean()),
        sand=float((coloured & (hue > 55) & (hue <= 100) & (bright > 55)).mean()),
        dark=float((bright < 25).mean()),
        pale=float(((bright > 75) & (chroma < 15)).mean()),
        chroma=float(chroma.mean()),
        texture=float(rough.mean()),
    )


PLUGIN = FunctionMetric(
    name="following/background", title="Background as asked", unit="fit, 1 passes", better="higher", gate="edit",
    measured_by=measure, version=2,
)
