"""Which pixels belong to the subject and which to the background. Masks only; no figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics.base import Picture, View
from whichlora.vision import faces, mask
from whichlora.vision.faces import Face
from whichlora.vision.picture import remembered

Mask = NDArray[np.bool_]
SURE_SUBJECT, SURE_BACKGROUND = 0.6, 0.3
"""Probabilities of the person mask from which on a pixel counts as one or the other."""
MIN_SHARE = 0.04
"""A region smaller than this share of the picture says too little."""


def share_of(mask_: Mask) -> float:
    """Share 0–1 of True pixels."""
    return np.count_nonzero(mask_) / mask_.size


@remembered(16)
def subject_mask(picture: Picture, kind: str, face: bool | None = None) -> Mask | None:
    """Pixels that surely show the subject; None when it cannot be told.

    Args:
        picture: RGB picture.
        kind: 'photograph', 'figure', 'drawn' or 'other'.
        face: Whether it shows a face, where that is known: a picture that was only moved shows what it showed before.
    """
    if kind == "figure":
        return figure_shape(picture.shape[0], picture.shape[1], 0.75)
    if kind != "photograph" or not (bool(faces.find(picture)) if face is None else face):
        return None  # the person mask half-fires on objects: it is trusted only where a face is
    found = mask.person(picture) > SURE_SUBJECT
    return found if share_of(found) >= MIN_SHARE else None


@remembered(16)
def background_mask(picture: Picture, kind: str, face: bool | None = None) -> Mask | None:
    """Pixels that surely do not show the subject; None when it cannot be told. Arguments as in `subject_mask`."""
    import cv2

    chance = mask.person(picture)
    if kind == "figure":
        free = ~figure_shape(picture.shape[0], picture.shape[1], 1.0) & (chance < 0.5)
    elif kind == "photograph" and (bool(faces.find(picture)) if face is None else face):
        grown = cv2.dilate(chance, np.ones((3, 3), np.uint8), iterations=max(1, max(picture.shape) // 128))
        free = np.asarray(grown) < SURE_BACKGROUND
    else:
        return None
    return free if share_of(free) >= MIN_SHARE else None


def figure_shape(height: int, width: int, share: float) -> Mask:
    """Where toy figures stand: an ellipse for the head over a block for the body, scaled by `share`.

    The figures are centred by construction; the person mask alone misses them before dark backgrounds.
    """
    side = min(height, width)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x = (x - (width - 1) / 2) / side
    y = (y - (height - 1) / 2) / side
    head = (x / (0.33 * share)) ** 2 + ((y + 0.12) / (0.37 * share)) ** 2 < 1
    body = (np.abs(x) < 0.40 * share) & (y > 0.10 + 0.05 / share)
    return np.asarray(head | body)


def shared_background(view: View, kind: str) -> Mask | None:
    """Background in both the source and the output."""
    ours, theirs = background_mask(view.source, kind), background_mask(view.output, kind)
    if ours is None or theirs is None:
        return None
    both = ours & theirs
    return both if share_of(both) >= MIN_SHARE else None


def shared_subject(source: Picture, output: Picture, kind: str, face: bool | None = None) -> Mask | None:
    """Subject in both the source and the output, a little inside its border; `face` says what the output shows."""
    import cv2

    ours, theirs = subject_mask(source, kind), subject_mask(output, kind, face)
    if ours is None or theirs is None:
        return None
    size = 2 * max(1, max(ours.shape) // 200) + 1
    both = cv2.erode((ours & theirs).astype(np.uint8), np.ones((size, size), np.uint8)) > 0
    return np.asarray(both) if share_of(both) >= MIN_SHARE else None


def face_boxes_mask(shape: tuple[int, ...], found: Sequence[Face], grow: float = 0.35) -> Mask | None:
    """Pixels of all faces' boxes in a picture of that shape, grown on every side; None without a face."""
    if not found:
        return None
    covered = np.zeros(shape[:2], dtype=bool)
    for face in found:
        x, y, w, h = face.box
        top, left = max(0, int(y - grow * h)), max(0, int(x - grow * w))
        covered[top : int(y + h + grow * h) + 1, left : int(x + w + grow * w) + 1] = True
    return covered


def region_box(mask_: Mask) -> list[int]:
    """[x, y, width, height] around the True pixels; [] when there are none."""
    rows, cols = np.flatnonzero(mask_.any(1)), np.flatnonzero(mask_.any(0))
    if rows.size == 0:
        return []
    return [int(cols[0]), int(rows[0]), int(cols[-1] - cols[0] + 1), int(rows[-1] - rows[0] + 1)]
