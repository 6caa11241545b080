"""Known bias and blind spots of the packaged face recogniser, measured on the portraits that may be shipped.

    python bench/blindspots.py            print the counts
    python bench/blindspots.py --write    and record them for every report (src/whichlora/vision/limits.json)
    python bench/blindspots.py --json     one JSON document on stdout

One person's photographs are changed (sunglasses, a covered mouth, dark, tiny, drawn, …) and compared with that person's
other photographs as they are; so are strangers'. 'recognised' counts pairs of one person within the recogniser's usual
threshold, 'accepted' pairs of two people. Changes that make somebody else of a face ('another') should not be
recognised. Five portraits of three people: the counts show directions, not rates. About ten seconds on a quiet core.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from metrics import photos  # noqa: E402
from whichlora.metrics.identity._faces import packaged  # noqa: E402
from whichlora.vision import faces  # noqa: E402
from whichlora.vision.picture import Picture  # noqa: E402

RECORD = ROOT / "src" / "whichlora" / "vision" / "limits.json"
PEOPLE = {"president": photos.OWN, "vice-president": ("vice-president",), "astronaut": ("",)}


def picture_of(name: str) -> Picture:
    """A portrait by name; '' is the astronaut."""
    return photos.portrait(name) if name else photos.astronaut()


def _bar(picture: Picture, top: float, bottom: float, colour: int) -> Picture:
    """A bar over the face, from one share of its height to another."""
    out = picture.copy()
    x, y, w, h = faces.find(picture)[0].box
    out[int(y + top * h) : int(y + bottom * h), max(0, int(x - 0.05 * w)) : int(x + 1.05 * w)] = colour
    return out


def _sunglasses(picture: Picture) -> Picture:
    out = picture.copy()
    face = faces.find(picture)[0]
    reach = abs(face.points[1][0] - face.points[0][0])
    for x, y in face.points[:2]:
        cv2.ellipse(out, (round(x), round(y)), (round(0.42 * reach), round(0.3 * reach)), 0, 0, 360, (15, 15, 15), -1)
    return out


def _small(picture: Picture) -> Picture:
    width = faces.find(picture)[0].box[2]
    return photos.scaled(picture, max(64, round(max(picture.shape[:2]) * 22 / width)))


def _gain(factor: float, tint: tuple[float, float, float] = (1, 1, 1)) -> Callable[[Picture], Picture]:
    return lambda picture: np.clip(picture * np.array(tint) * factor, 0, 255).astype(np.uint8)


def _pencil(picture: Picture) -> Picture:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    soft = cv2.GaussianBlur(255 - grey, (0, 0), 6)
    drawn = np.clip(grey.astype(float) * 255 / np.maximum(255 - soft, 1), 0, 255).astype(np.uint8)
    return np.repeat(drawn[..., None], 3, axis=2)


def _cartoon(picture: Picture) -> Picture:
    flat = picture
    for _ in range(4):
        flat = cv2.bilateralFilter(flat, 9, 60, 9)
    flat = (flat // 36 * 36 + 18).astype(np.uint8)
    edges = cv2.adaptiveThreshold(cv2.medianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 7), 255,
                                  cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 9, 4)
    return np.where(edges[..., None] > 0, flat, 20).astype(np.uint8)


def _squeezed(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(picture, (round(picture.shape[1] * 0.8), picture.shape[0])))


def _half(picture: Picture) -> Picture:
    other = photos.portrait("vice-president")
    return photos.face_onto(picture, photos.astronaut() if picture is other else other, 0.5)


CONDITIONS: dict[str, tuple[Callable[[Picture], Picture], bool]] = {
    "unchanged": (lambda picture: picture, False),
    "dark sunglasses": (_sunglasses, False),
    "a bar over the eyes": (lambda picture: _bar(picture, 0.25, 0.5, 10), False),
    "a covered mouth": (lambda picture: _bar(picture, 0.62, 1.05, 200), False),
    "a quarter of the light": (_gain(0.25), False),
    "blue light": (_gain(0.8, (0.5, 0.7, 1.2)), False),
    "strong blur": (lambda picture: photos.blur(picture, 0.035 * faces.find(picture)[0].box[2]), False),
    "a face of 22 pixels": (_small, False),
    "the look of a pencil drawing": (_pencil, False),
    "the look of a cartoon": (_cartoon, False),
    "a face squeezed to 80 %": (_squeezed, True),
    "a face half blended with somebody else's": (_half, True),
}
"""Condition → what is done to a portrait, and whether it makes another person of it."""


def measure(change: Callable[[Picture], Picture], another: bool) -> dict[str, Any]:
    """Counts of one condition."""
    recogniser = packaged()
    clean = {name: _vector(picture_of(name)) for names in PEOPLE.values() for name in names}
    probes = {name: _vector(change(picture_of(name))) for name in clean}
    counts = {"own": 0, "recognised": 0, "strangers": 0, "accepted": 0, "no_face": 0, "another": another}
    for person, names in PEOPLE.items():
        for name in names:
            probe = probes[name]
            counts["no_face"] += probe is None
            for other, others in PEOPLE.items():
                for reference in others:
                    if reference == name and not another:
                        continue
                    kind, hit = ("own", "recognised") if other == person else ("strangers", "accepted")
                    counts[kind] += 1
                    if probe is not None:
                        near = float(recogniser.compare(probe[None], clean[reference][None])[0, 0])
                        counts[hit] += near >= recogniser.defaults.threshold
    return {key: int(value) if key != "another" else bool(value) for key, value in counts.items()}


def _vector(picture: Picture) -> np.ndarray | None:
    found = faces.find(picture)
    return faces.embed(picture, found[0]) if found else None


def main() -> int:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="accepted like every bench script's; nothing is long here")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    wanted = parser.parse_args()
    found = {name: measure(*condition) for name, condition in CONDITIONS.items()}
    if wanted.write:
        known = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
        text = json.dumps({**known, "photograph": found}, indent=1, ensure_ascii=False) + "\n"
        RECORD.write_text(text, encoding="utf-8", newline="\n")
    if wanted.json:
        print(json.dumps({"photograph": found}, indent=1, ensure_ascii=False))
    else:
        for name, row in found.items():
            print(f"{name}: {row['recognised']} of {row['own']} pairs of one person recognised, {row['accepted']} of "
                  f"{row['strangers']} strangers accepted, no face in {row['no_face']} of 5"
                  + (" (should not be recognised)" if row["another"] else ""))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
