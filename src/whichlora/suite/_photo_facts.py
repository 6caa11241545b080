"""Measuring one photograph: sharpness, exposure, face, view, hash. Facts only; `photos.py` draws conclusions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.vision import faces, figure, mask
from whichlora.vision.faces import Face
from whichlora.vision.picture import Picture, resized
from whichlora.vision.pose import pose

SHARPNESS_SIDE_PX = 512
HASH_SIDE = 12
"""Low frequencies kept per axis: 144 bits, enough to tell poses of one figure apart."""
FIGURE_PRESENT = 0.5
SURELY_FIGURE = 0.9999
"""The reader never saw photographs and calls some of them figures (a cup of coffee 0.9997); true figures stay above
0.99999, so only near certainty makes a set one of toy figures by itself."""
DRAWN_FLAT_SHARE = 0.35
"""Share of exactly flat 3 × 3 neighbourhoods from which on a picture looks drawn; photographs have noise."""


@dataclass(frozen=True)
class Look:
    """What was measured of one photograph, before its kind is known."""

    picture: Picture
    faces: tuple[Face, ...]
    reading: figure.Reading | None
    """The figure reader's answer; None where the reader is not installed."""
    hash: NDArray[np.bool_]
    thumbnail: NDArray[np.float32]
    flat_share: float

    def embedding(self, kind: str) -> NDArray[np.float32] | None:
        """Who this is, for the recogniser of this kind; None when nothing can tell."""
        if kind == "photograph" and self.faces:
            return faces.embed(self.picture, self.faces[0])
        if kind == "figure" and self.reading is not None and self.reading.present >= FIGURE_PRESENT:
            return self.reading.embedding
        return None


def look(picture: Picture) -> Look:
    """Measure one photograph."""
    return Look(
        picture, faces.find(picture), figure.read(picture) if figure.available() else None,
        perceptual_hash(picture), _thumbnail(picture), _flat_share(picture),
    )


def kind_of(looks: Sequence[Look]) -> str:
    """What most photographs show: 'figure', 'photograph', 'drawn' or 'other'."""
    half = len(looks) / 2
    figures = sum(1 for item in looks if item.reading is not None and item.reading.present >= SURELY_FIGURE
                  and not _sure_face(item))
    if figures > half:
        return "figure"
    drawn = sum(1 for item in looks if item.flat_share > DRAWN_FLAT_SHARE)
    if drawn > half:
        return "drawn"
    return "photograph" if sum(1 for item in looks if item.faces) >= half else "other"


def _sure_face(item: Look) -> bool:
    return bool(item.faces) and item.faces[0].score >= 0.6


def facts_of(item: Look, kind: str) -> dict[str, Any]:
    """Plain facts of one photograph."""
    picture = item.picture
    grey = picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    face = item.faces[0] if item.faces else None
    facts: dict[str, Any] = {
        "width_px": int(picture.shape[1]), "height_px": int(picture.shape[0]),
        "sharpness": round(sharpness(picture, face), 2),
        "brightness": round(float(grey.mean()) / 2.55, 1),
        "dark_share": round(float((grey < 16).mean()), 3),
        "bright_share": round(float((grey > 245).mean()), 3),
        "faces": len(item.faces),
    }
    if kind == "photograph" and face is not None:
        facts.update(_face_facts(item, face))
    elif kind == "photograph":
        facts["face_px"] = 0
    elif kind == "figure" and item.reading is not None:
        facts.update(_figure_facts(item.reading))
    return facts


def _face_facts(item: Look, face: Face) -> dict[str, Any]:
    turned = pose(item.picture, face)
    second = item.faces[1].area / max(face.area, 1.0) if len(item.faces) > 1 else 0.0
    return {
        "face_px": round(face.box[2]), "face_box": [round(value) for value in face.box],
        "face_share": round(face.box[3] / item.picture.shape[0], 3), "second_face_share": round(second, 3),
        "yaw_deg": round(turned.yaw_deg, 1), "pitch_deg": round(turned.pitch_deg, 1),
        "roll_deg": round(turned.roll_deg, 1), "background_plain": _plain_background(item.picture),
    }


def _figure_facts(reading: figure.Reading) -> dict[str, Any]:
    facts: dict[str, Any] = {"figure_present": round(reading.present, 3)}
    if reading.present < FIGURE_PRESENT:
        return facts
    facts.update(yaw_deg=round(reading.yaw_deg, 1), pitch_deg=round(reading.pitch_deg, 1), zoom=round(reading.zoom, 2))
    for output in ("background", "light", "expression"):
        name, chance = reading.best(output)
        if chance >= 0.5:
            facts[output] = name
    return facts


def sharpness(picture: Picture, face: Face | None) -> float:
    """Contrast of fine detail in grey levels, on the face where there is one; a blur of 2 px at 512 px halves it."""
    import cv2

    if face is not None:
        x, y, w, h = face.box
        grow = 0.15
        top, left = max(0, int(y - grow * h)), max(0, int(x - grow * w))
        picture = picture[top : int(y + (1 + grow) * h) + 1, left : int(x + (1 + grow) * w) + 1]
    longest = max(picture.shape[:2])
    goal = min(SHARPNESS_SIDE_PX, longest)
    small = resized(np.ascontiguousarray(picture), max(8, round(picture.shape[0] * goal / longest)),
                    max(8, round(picture.shape[1] * goal / longest)))
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 2.0)
    # The busiest tenth: an even background must not make a sharp face look blurred.
    energy = cv2.blur(fine * fine, (9, 9))
    return float(np.sqrt(np.quantile(energy, 0.9)))


def perceptual_hash(picture: Picture) -> NDArray[np.bool_]:
    """Signs of the lowest spatial frequencies (DCT) against their median; survives scaling and compression."""
    import cv2

    grey = cv2.cvtColor(resized(picture, 64, 64), cv2.COLOR_RGB2GRAY).astype(np.float32)
    low = np.asarray(cv2.dct(grey))[:HASH_SIDE, :HASH_SIDE].ravel()[1:]
    return low > np.median(low)


def _thumbnail(picture: Picture) -> NDArray[np.float32]:
    return resized(picture, 48, 48).astype(np.float32)


def _flat_share(picture: Picture) -> float:
    """Share of 3 × 3 neighbourhoods of one single colour."""
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    same = (cv2.dilate(picture, kernel) == cv2.erode(picture, kernel)).all(-1)
    return float(np.asarray(same).mean())


def _plain_background(picture: Picture) -> bool:
    """Whether the area around the person is even and nearly colourless."""
    import cv2

    outside = mask.person(picture) < 0.2
    if outside.mean() < 0.05:
        return False
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    side = max(3.0, 0.02 * max(picture.shape[:2]))
    rough = np.abs(lab[..., 0] - cv2.GaussianBlur(np.ascontiguousarray(lab[..., 0]), (0, 0), side))
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    # Quantiles: the person's outline is rough and coloured, however plain the wall.
    return bool(np.quantile(rough[outside], 0.75) < 2.0 and np.median(chroma[outside]) < 12)
