"""What must stay in an edit: the aligned output and the region in which it must equal the source."""

from __future__ import annotations

from dataclasses import dataclass

from whichlora.metrics._regions import (
    MIN_SHARE,
    Mask,
    background_mask,
    face_boxes_mask,
    figure_shape,
    shared_subject,
)
from whichlora.metrics.base import Picture, View
from whichlora.metrics.following._named import asks_for
from whichlora.vision.align import undrifted


@dataclass(frozen=True)
class Kept:
    """Pixels that must not change."""

    output: Picture
    """The output, laid back onto the source."""
    region: Mask
    """True where it must equal the source."""
    what: str
    """What the region shows, in words."""


def kept(view: View, kind: str) -> Kept | str:
    """The region that an edit must leave alone, or why there is none.

    Args:
        view: Source and output of one shape.
        kind: Subject's kind.
    """
    case = view.case
    if asks_for(case, "lighting"):
        return "another light changes every pixel"
    moved, inside, _ = undrifted(view.source, view.output)
    if asks_for(case, "background"):
        return _subject(view, kind, moved, inside)
    if asks_for(case, "expression"):
        return _around_face(view, kind, moved, inside)
    if asks_for(case, "camera") and "background" not in case.keep:
        return "the camera moves and the background may move with it"
    if "background" not in case.keep:
        return "the edit may change everything"
    ours, theirs = background_mask(view.source, kind), background_mask(moved, kind)
    if ours is None or theirs is None:
        return "background and subject cannot be told apart"
    return _enough(Kept(moved, ours & theirs & inside, "background"))


def _subject(view: View, kind: str, moved: Picture, inside: Mask) -> Kept | str:
    region = shared_subject(view, kind, moved)
    if region is None:
        return "subject and background cannot be told apart"
    return _enough(Kept(moved, region & inside, "subject"))


def _around_face(view: View, kind: str, moved: Picture, inside: Mask) -> Kept | str:
    if kind == "figure":
        hidden = figure_shape(view.source.shape[0], view.source.shape[1], 0.9)
        hidden[round(0.62 * hidden.shape[0]) :] = False  # below the head, clothes must stay as well
        return _enough(Kept(moved, ~hidden & inside, "everything but the head"))
    ours, theirs = face_boxes_mask(view.source), face_boxes_mask(moved)
    if ours is None or theirs is None:
        return "no face was found around which to compare"
    return _enough(Kept(moved, ~ours & ~theirs & inside, "everything but the face"))


def _enough(found: Kept) -> Kept | str:
    return found if found.region.mean() >= MIN_SHARE else f"too little of the {found.what} shows in both pictures"
