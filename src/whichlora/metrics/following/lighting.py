"""Was the light changed as asked? Figures by the figure reader, photographs by brightness, colour and shading.

On photographs the light of the subject (the face where there is one) is compared with the source's: how much
brighter, warmer, more coloured, and from which side. Each named light has a rule in those terms; a light without a
rule is not measured. Nothing changed means no rule is met.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics._colour import blurred, lab
from whichlora.metrics._common import FunctionMetric, judged, missed, not_applicable, not_measured
from whichlora.metrics._regions import Mask, region_box, subject_mask
from whichlora.metrics.base import Picture, View
from whichlora.metrics.following._change import mirrored, unable
from whichlora.metrics.following._named import asked_name, asks_for, measure_class
from whichlora.types import Measurement
from whichlora.vision import faces
from whichlora.vision.picture import remembered

SYNONYMS = {
    "soft light": "soft", "studio light": "studio", "golden hour": "sunset", "warm": "sunset", "sunrise": "sunset",
    "candle": "sunset", "candlelight": "sunset", "moonlight": "moon", "night": "moon", "cold": "moon",
    "light from the left": "left", "light from the right": "right", "backlight": "back", "rim": "back",
    "neon light": "neon", "day": "daylight", "noon": "daylight",
}
SIDED = ("left", "right")
"""Lights that a mirror image would seem to bring about."""
FIGURE_NAMES = {"studio": "soft", "daylight": "soft"}
NEUTRAL_WARMTH = 14.0
"""Mean b* of skin in neutral light."""
VISIBLE = 3.0
"""Mean change of the subject's light (Lab units) below which nobody would see that it changed."""


@dataclass(frozen=True)
class Light:
    """Light on a subject."""

    brightness: float
    """Mean L*, 0–100."""
    warmth: float
    """Mean b*: positive is yellow, negative blue."""
    redness: float
    """Mean a*: positive is magenta, negative green."""
    chroma: float
    """Mean colourfulness."""
    side: float
    """Log ratio of the right half's luminance to the left half's, as the viewer sees them."""
    height: float
    """Log ratio of the upper half's luminance to the lower half's."""
    contrast: float
    """Spread of smooth shading over the subject, L* units."""
    backdrop: float
    """Mean L* outside the subject."""


@dataclass(frozen=True)
class Shift:
    """How the light changed, output minus source, in the units of `Light`."""

    brightness: float
    warmth: float
    redness: float
    chroma: float
    side: float
    height: float
    contrast: float
    backdrop: float


def _strength(value: float, enough: float) -> float:
    """1 at `enough`, growing with the value."""
    return value / enough


def _daylight(s: Shift, before: Light) -> float:
    """Brighter without turning warm, or nearer to the tint of skin in neutral light without turning dark."""
    brighter = min(_strength(s.brightness, 4.0), _strength(8.0 - s.warmth, 4.0))
    cast, rest = abs(before.warmth - NEUTRAL_WARMTH), abs(before.warmth + s.warmth - NEUTRAL_WARMTH)
    return max(brighter, min(_strength(cast - rest, 3.0), _strength(s.brightness + 6.0, 4.0)))


def _evenness(s: Shift, before: Light) -> float:
    """Less difference between the sides, or softer shading."""
    sides = abs(before.side) - abs(before.side + s.side)
    return max(_strength(sides, 0.08), _strength(-s.contrast, 2.0))


RULES: dict[str, Callable[[Shift, Light], float]] = {
    "sunset": lambda s, _: _strength(s.warmth + 0.5 * s.redness, 6.0),
    "moon": lambda s, _: min(_strength(-s.warmth, 5.0), _strength(-s.brightness, 2.0)),
    "left": lambda s, _: _strength(-s.side, 0.15),
    "right": lambda s, _: _strength(s.side, 0.15),
    "top": lambda s, _: _strength(s.height, 0.15),
    "back": lambda s, _: _strength((s.backdrop - s.brightness), 8.0),
    "neon": lambda s, _: min(_strength(s.chroma, 6.0), _strength(abs(s.redness) + abs(s.warmth), 6.0)),
    "daylight": lambda s, before: _daylight(s, before),
    "studio": lambda s, before: _evenness(s, before),
    "soft": lambda s, before: _evenness(s, before),
}
"""Light → strength of the change in its direction; 1 or more passes."""


def measure(view: View, prepared: Any) -> Measurement:
    """Strength of the asked change; 1 or more passes (figures: probability of the asked light)."""
    if not asks_for(view.case, "lighting"):
        return not_applicable("the edit asks for no other light")
    asked = asked_name(view.case.target, "light", SYNONYMS)
    if not asked:
        return not_measured("the case names no light to verify")
    if prepared == "figure":
        return measure_class(view, "light", FIGURE_NAMES.get(asked, asked))
    if asked not in RULES:
        return unable(view, f"no verifier for the light '{asked}'; known: {', '.join(sorted(RULES))}")
    if asked in SIDED and mirrored(view.source, view.output)[0]:
        return missed("the picture is its source seen in a mirror", {"mirrored": True})
    before_lit, after_lit = _light(view.source, prepared), _light(view.output, prepared)
    if before_lit is None or after_lit is None:
        return unable(view, "no subject was found on which light could be compared")
    (before, warm_before), (after, warm_after) = before_lit, after_lit
    shift = Shift(*(b - a for a, b in zip(asdict(before).values(), asdict(after).values(), strict=True)))
    strength = RULES[asked](shift, before)
    size = max(abs(shift.brightness), abs(shift.warmth), abs(shift.redness), 20 * abs(shift.side),
               20 * abs(shift.height), abs(shift.contrast), abs(shift.backdrop))
    detail = {
        "asked": asked, "shift": asdict(shift), "before": asdict(before), "visible": size >= VISIBLE,
        "colour_temperature_k": [warm_before, warm_after],
    }
    passed = strength >= 1 and size >= VISIBLE
    return judged(max(0.0, strength), passed, f"the light did not turn to '{asked}' clearly enough", detail)


@remembered(16)
def _light(picture: Picture, kind: str) -> tuple[Light, float | None] | None:
    """Light on the subject, and its colour temperature; None where there is no subject."""
    region = _lit_region(picture, kind)
    return None if region is None else (light_on(picture, region), colour_temperature(picture, region))


def _lit_region(picture: Picture, kind: Any) -> Mask | None:
    """The largest face's box, or the subject, or the middle of a picture of something else."""
    found = faces.find(picture) if kind == "photograph" else ()
    region = np.zeros(picture.shape[:2], dtype=bool)
    if found:
        x, y, w, h = (round(value) for value in found[0].box)
        region[max(0, y) : y + h, max(0, x) : x + w] = True
        return region if region.any() else None
    if kind == "photograph":
        return subject_mask(picture, kind)
    height, width = picture.shape[:2]
    region[height // 5 : height - height // 5, width // 5 : width - width // 5] = True
    return region


def light_on(picture: Picture, region: Mask) -> Light:
    """Measure the light on a region."""
    colours = lab(picture)
    inside = colours[region]
    rows, cols = np.nonzero(region)
    luminance = (np.maximum(colours[..., 0], 1.0) + 16) / 116
    linear = luminance[region] ** 3
    left = cols < np.median(cols)
    upper = rows < np.median(rows)
    smooth = _smooth_in(colours[..., 0], region, max(1.0, 0.1 * float(np.ptp(cols) + 1)))
    outside = colours[~region]
    return Light(
        brightness=float(inside[:, 0].mean()),
        warmth=float(inside[:, 2].mean()),
        redness=float(inside[:, 1].mean()),
        chroma=float(np.hypot(inside[:, 1], inside[:, 2]).mean()),
        side=float(np.log(linear[~left].mean() / linear[left].mean())) if left.any() and not left.all() else 0.0,
        height=float(np.log(linear[upper].mean() / linear[~upper].mean())) if upper.any() and not upper.all() else 0.0,
        contrast=float(smooth.std()),
        backdrop=float(outside[:, 0].mean()) if outside.size else float(inside[:, 0].mean()),
    )


def colour_temperature(picture: Picture, region: Mask) -> float | None:
    """Correlated colour temperature in kelvin of a region's mean colour; None for colours far from any white.

    Of the region as it looks, skin included: two pictures of one person can be compared, one alone says little.
    Source: McCamy (1992), Correlated color temperature as an explicit function of chromaticity coordinates.
    """
    values = picture[region].astype(np.float64) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).mean(0)
    x, y, z = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    if x + y + z < 1e-3:
        return None
    n = (x / (x + y + z) - 0.3320) / (0.1858 - y / (x + y + z))
    kelvin = 449 * n**3 + 3525 * n**2 + 6823.3 * n + 5520.33
    return float(kelvin) if 1000 <= kelvin <= 40000 else None


def _smooth_in(values: NDArray[np.float32], region: Mask, sigma_px: float) -> NDArray[np.float32]:
    """Values of a region after a Gaussian blur; blurred is only what the region's own values are made of."""
    x, y, width, height = region_box(region)
    reach = int(4 * sigma_px + 2)  # OpenCV's kernel for floats ends at four sigma
    rows = slice(max(0, y - reach), y + height + reach)
    cols = slice(max(0, x - reach), x + width + reach)
    return blurred(np.ascontiguousarray(values[rows, cols]), sigma_px)[region[rows, cols]]


PLUGIN = FunctionMetric(
    name="following/lighting", title="Light as asked", unit="strength, 1 passes", better="higher", gate="edit",
    measured_by=measure, version=2,
)
