"""Metrics driven by masks that somebody else drew, such as a segmentation LoRA, beside the default masks.

Does: read a drawn mask, blank what is not the subject, and measure identity and the subject's structure under two masks
on the same pictures. Does not: draw masks, or decide anything; whether such masks help is for `analysis/masking.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora import registry
from whichlora.metrics._regions import MIN_SHARE, subject_mask
from whichlora.metrics.base import Picture, Reference, Subject, View
from whichlora.metrics.preservation.ssim import ssim_map
from whichlora.metrics.scoring import measure_picture, prepare_all
from whichlora.types import EditCase, Generation

Mask = NDArray[np.bool_]
GREY = 128
"""What is painted over everything but the subject."""
LARGEST_SHARE = 0.97
"""A mask over more than this share of a picture tells nothing apart."""
UNCLEAR_SHARE = 0.25
"""A drawing with more grey than this share is a picture and no mask."""
MEASURES = ("identity", "subject")
"""What is measured under a mask: likeness of the masked subject, and its structure kept (SSIM)."""


@dataclass(frozen=True)
class Masked:
    """A picture with two masks."""

    name: str
    """Short name."""
    picture: Picture
    """RGB."""
    drawn: Mask | None
    """The drawn mask; None when the drawing is none."""
    default: Mask | None
    """The product's own mask; None when it cannot tell."""


def read_mask(drawing: Picture, height: int, width: int) -> Mask | None:
    """A mask from a drawing of light on dark; None when the drawing is no mask.

    Args:
        drawing: RGB picture, white where the subject is.
        height: Height of the picture that it belongs to.
        width: Its width.
    """
    import cv2

    grey = cv2.cvtColor(drawing, cv2.COLOR_RGB2GRAY)
    if float(np.mean((grey > 64) & (grey < 192))) > UNCLEAR_SHARE or int(np.ptp(grey)) < 64:
        return None
    found = np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR)) > 127
    share = float(found.mean())
    return found if MIN_SHARE <= share <= LARGEST_SHARE else None


def masked(name: str, picture: Picture, drawing: Picture | None, kind: str) -> Masked:
    """A picture with its drawn and its default mask."""
    height, width = picture.shape[:2]
    return Masked(name, picture, None if drawing is None else read_mask(drawing, height, width),
                  subject_mask(picture, kind))


def agreement(pictures: Sequence[Masked]) -> float | None:
    """Mean overlap (intersection over union) of drawn and default masks; None without a picture that has both."""
    values = [float((p.drawn & p.default).sum() / (p.drawn | p.default).sum())
              for p in pictures if p.drawn is not None and p.default is not None]
    return float(np.mean(values)) if values else None


def blanked(picture: Picture, mask: Mask) -> Picture:
    """The picture with everything but the subject painted grey."""
    return np.where(mask[..., None], picture, np.uint8(GREY))


def measure_under(
    which: str, references: Sequence[tuple[Masked, bool]], pairs: Sequence[tuple[Masked, Masked]], kind: str,
) -> list[Mapping[str, float | None]]:
    """Both measures of every picture under one kind of mask.

    Args:
        which: 'drawn' or 'default'.
        references: Photographs with masks, and whether they show the character.
        pairs: (source, output) of every picture, in the same size.
        kind: Subject's kind.

    Returns:
        Per pair {'identity', 'subject'}: None where it cannot be measured.
    """
    name = {"photograph": "identity/face", "figure": "identity/figure"}.get(kind)
    subject = Subject(kind, tuple(
        Reference(item.name, blanked(item.picture, mask), same=same) for item, same in references
        if (mask := getattr(item, which)) is not None
    ))
    ready = prepare_all(subject, [name]) if name is not None else {}
    return [_one(which, source, output, name, ready) for source, output in pairs]


def _one(which: str, source: Masked, output: Masked, name: str | None, ready: Mapping[str, Any]) -> dict[str, Any]:
    theirs: Mask | None = getattr(output, which)
    if theirs is None:
        return dict.fromkeys(MEASURES)
    found: dict[str, Any] = {"identity": None, "subject": None}
    shown = blanked(output.picture, theirs)
    if name is not None:
        case = EditCase("masked", source.name, "masked", "trigger", "", {})
        view = View(blanked(source.picture, _or(getattr(source, which), theirs)), shown, case,
                    Generation("masked", "done", None, {}, 0))
        registry.load("metrics", name)
        found["identity"] = measure_picture(view, ready, [name])[name].value
    ours: Mask | None = getattr(source, which)
    if ours is not None and float((both := ours & theirs).mean()) >= MIN_SHARE:
        found["subject"] = float(ssim_map(source.picture, output.picture)[both].mean())
    return found


def _or(mask: Mask | None, other: Mask) -> Mask:
    return other if mask is None else mask
