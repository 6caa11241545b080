"""What must stay in an edit: the aligned output and the region in which it must equal the source."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from whichlora.metrics._regions import (
    MIN_SHARE,
    Mask,
    background_mask,
    face_boxes_mask,
    figure_shape,
    share_of,
    shared_subject,
)
from whichlora.metrics.base import Picture, View
from whichlora.metrics.following._named import asks_for
from whichlora.vision import faces
from whichlora.vision.align import Alignment, undrifted
from whichlora.vision.faces import Face
from whichlora.vision.picture import digest, remembered


@dataclass(frozen=True)
class Kept:
    """Pixels that must not change."""

    output: Picture
    """The output, laid back onto the source."""
    region: Mask
    """True where it must equal the source."""
    what: str
    """What the region shows, in words."""
    share: float
    """Share 0–1 of the picture that the region covers."""


def kept(view: View, kind: str) -> Kept | str:
    """The region that an edit must leave alone, or why there is none.

    Args:
        view: Source and output of one shape.
        kind: Subject's kind.
    """
    case = view.case
    if asks_for(case, "lighting"):
        return "another light changes every pixel"
    if asks_for(case, "background"):
        return _subject(view.source, view.output, kind)
    if asks_for(case, "expression"):
        return _around_face(view.source, view.output, kind)
    if asks_for(case, "camera") and "background" not in case.keep:
        return "the camera moves and the background may move with it"
    if "background" not in case.keep:
        return "the edit may change everything"
    return _background(view.source, view.output, kind)


@remembered(4)
def _background(source: Picture, output: Picture, kind: str) -> Kept | str:
    moved, inside, _ = undrifted(source, output)
    ours, theirs = background_mask(source, kind), background_mask(moved, kind, _shows_face(output, kind))
    if ours is None or theirs is None:
        return "background and subject cannot be told apart"
    return _enough(moved, ours & theirs & inside, "background")


@remembered(4)
def _subject(source: Picture, output: Picture, kind: str) -> Kept | str:
    moved, inside, _ = undrifted(source, output)
    region = shared_subject(source, moved, kind, _shows_face(output, kind))
    if region is None:
        return "subject and background cannot be told apart"
    return _enough(moved, region & inside, "subject")


@remembered(4)
def _around_face(source: Picture, output: Picture, kind: str) -> Kept | str:
    moved, inside, found = undrifted(source, output)
    if kind == "figure":
        hidden = figure_shape(source.shape[0], source.shape[1], 0.9)
        hidden[round(0.62 * hidden.shape[0]) :] = False  # below the head, clothes must stay as well
        return _enough(moved, ~hidden & inside, "everything but the head")
    theirs = faces.find(output)
    if digest(moved) != digest(output):
        theirs = tuple(_laid_back(face, found) for face in theirs)
    ours, theirs = face_boxes_mask(source.shape, faces.find(source)), face_boxes_mask(source.shape, theirs)
    if ours is None or theirs is None:
        return "no face was found around which to compare"
    return _enough(moved, ~ours & ~theirs & inside, "everything but the face")


def _shows_face(output: Picture, kind: str) -> bool | None:
    """Asked of the output itself: it shows no other faces when it is laid back onto the source."""
    return bool(faces.find(output)) if kind == "photograph" else None


def _laid_back(face: Face, found: Alignment) -> Face:
    """A face of the output, at its place in the output that was laid back onto the source."""
    matrix = np.array(found.matrix).reshape(2, 3)
    x, y, width, height = face.box
    centre = np.linalg.solve(matrix[:, :2], np.array([x + width / 2, y + height / 2]) - matrix[:, 2])
    width, height = width / found.scale, height / found.scale
    return replace(face, box=(float(centre[0]) - width / 2, float(centre[1]) - height / 2, width, height))


def _enough(moved: Picture, region: Mask, what: str) -> Kept | str:
    share = share_of(region)
    if share < MIN_SHARE:
        return f"too little of the {what} shows in both pictures"
    return Kept(moved, region, what, share)
