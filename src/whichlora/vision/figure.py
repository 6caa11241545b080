"""Reading of a toy figure: who it is, where the camera stands, light, background, expression. Figures only.

A small CNN that ships with the embedded model (`figure_reader.onnx`), trained on rendered characters that no
demonstration uses and never on a LoRA's output. It says nothing of photographs: ask `Reading.present` first.
Angles: `yaw_deg` > 0 means that the camera stands further to the viewer's right, `pitch_deg` > 0 that it is higher.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.vision.onnx import session
from whichlora.vision.picture import Picture, remembered, resized

MODEL = "figure_reader.onnx"
CLASSES = "figure_reader.json"
SIDE_PX = 128
CLASS_OUTPUTS = ("background", "light", "expression", "hair_style", "hat", "glasses")
COLOUR_OUTPUTS = ("skin_rgb", "hair_rgb", "shirt_rgb")


@dataclass(frozen=True)
class Reading:
    """What the reader sees in one picture."""

    embedding: NDArray[np.float32]
    """64 numbers of length 1 that say who this is; compare two by their dot product."""
    yaw_deg: float
    """Camera yaw, −180 to 180."""
    yaw_sure: float
    """Length of the (sine, cosine) vector before normalisation, about 1 when the view is clear."""
    pitch_deg: float
    """Camera pitch."""
    zoom: float
    """Size of the figure; 1 = usual."""
    present: float
    """Probability 0–1 that there is one figure."""
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Output name → class name → probability."""
    colours: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """Output name → RGB, 0–1."""

    def best(self, output: str) -> tuple[str, float]:
        """Most probable class of an output and its probability; ('', 0.0) when the reader has no such output."""
        chances = self.classes.get(output, {})
        name = max(chances, key=lambda key: chances[key], default="")
        return name, chances.get(name, 0.0)


def available() -> bool:
    """Whether this installation carries the reader."""
    folder = files("whichlora.models")
    return folder.joinpath(MODEL).is_file() and folder.joinpath(CLASSES).is_file()


@lru_cache(maxsize=1)
def description() -> dict[str, Any]:
    """The reader's own description: class names per output, and the unit of its angles."""
    return dict(json.loads(files("whichlora.models").joinpath(CLASSES).read_text(encoding="utf-8")))


def class_names(output: str) -> tuple[str, ...]:
    """Class names of an output, in the order of its logits; () when it has none."""
    listing = description().get("classes", description())
    names = listing.get(output, ()) if isinstance(listing, dict) else ()
    return tuple(str(name) for name in names)


@remembered(512)
def read(picture: Picture) -> Reading:
    """Read one picture; it is centre-cropped to a square and scaled to 128 px.

    Raises:
        MissingModelError: This installation carries no reader.
    """
    tensor = (resized(_square(picture), SIDE_PX, SIDE_PX).astype(np.float32) / 255).transpose(2, 0, 1)[None]
    model = session(MODEL)
    names = [output.name for output in model.get_outputs()]
    raw = dict(zip(names, model.run(None, {"image": np.ascontiguousarray(tensor)}), strict=True))
    vector = raw["embedding"].reshape(-1).astype(np.float32)
    sine, cosine = (float(value) for value in raw["yaw_sincos"].reshape(-1)[:2])
    to_degrees = 1.0 if description().get("angle_unit") == "degrees" else 180 / math.pi
    return Reading(
        embedding=vector / max(float(np.linalg.norm(vector)), 1e-9),
        yaw_deg=math.degrees(math.atan2(sine, cosine)),
        yaw_sure=math.hypot(sine, cosine),
        pitch_deg=float(raw["pitch"].reshape(-1)[0]) * to_degrees,
        zoom=float(raw["zoom"].reshape(-1)[0]) if "zoom" in raw else 1.0,
        present=min(1.0, max(0.0, float(raw["figure_present"].reshape(-1)[0]))) if "figure_present" in raw else 1.0,
        classes={name: _chances(name, raw[name]) for name in CLASS_OUTPUTS if name in raw},
        colours={name: _colour(raw[name]) for name in COLOUR_OUTPUTS if name in raw},
    )


def _square(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(picture[top : top + side, left : left + side])


def _chances(name: str, logits: NDArray[np.float32]) -> dict[str, float]:
    """Softmax of logits under their class names (a single logit is a yes/no)."""
    values = logits.reshape(-1).astype(np.float64)
    if values.size == 1:
        chance = _chance(logits)
        values = np.array([1 - chance, chance])
    else:
        values = np.exp(values - values.max())
        values /= values.sum()
    names = class_names(name)
    if len(names) != values.size:
        names = tuple(str(index) for index in range(values.size))
    return {key: float(value) for key, value in zip(names, values, strict=True)}


def _chance(logit: NDArray[np.float32]) -> float:
    """Logistic function of a single logit, or the second share of two."""
    values = logit.reshape(-1).astype(np.float64)
    difference = float(values[0]) if values.size == 1 else float(values[1] - values[0])
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, difference))))


def _colour(values: NDArray[np.float32]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values.reshape(-1)[:3])
    return red, green, blue


def turned_deg(before: float, after: float) -> float:
    """Signed angle from `before` to `after`, −180 to 180 degrees."""
    return (after - before + 180) % 360 - 180
