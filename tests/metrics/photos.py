"""Real photographs and damage for metric tests: portraits of `tests/data`, NASA's astronaut, warps and pastes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from whichlora.metrics.base import Picture, Reference, Subject, View
from whichlora.types import EditCase, Generation
from whichlora.vision.picture import open_picture, resized

PORTRAITS = Path(__file__).parent.parent / "data" / "portraits"
OWN = ("president-smiling", "president-speaking", "president-standing")
GENERATION = Generation("cell", "done", None, {"total": 2.0, "denoise": 1.5}, 3 * 1024**3, facts={"device": "cpu"})


@lru_cache(maxsize=8)
def portrait(name: str) -> Picture:
    """A portrait of `tests/data/portraits`."""
    return open_picture(PORTRAITS / f"{name}.jpg")


@lru_cache(maxsize=1)
def astronaut() -> Picture:
    """NASA's portrait of Eileen Collins, 512 × 512, as scikit-image ships it."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut())


def person(kind: str = "photograph") -> Subject:
    """The subject of the portraits, with two strangers."""
    own = [Reference(name, portrait(name), same=True) for name in OWN]
    others = [Reference("vice-president", portrait("vice-president"), same=False),
              Reference("astronaut", astronaut(), same=False)]
    return Subject(kind, (*own, *others))


def view(source: Picture, output: Picture, family: str = "camera", keep: tuple[str, ...] = ("identity", "background"),
         **target: object) -> View:
    """A view of an edit of `family`."""
    return View(source, output, EditCase("s/e", "s", "e", family, "do it", target, keep), GENERATION)


def warp(picture: Picture, scale: float = 1.0, dx: float = 0.0, dy: float = 0.0) -> Picture:
    """The picture zoomed about its centre and shifted by pixels."""
    height, width = picture.shape[:2]
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.array([[scale, 0, 0], [0, scale, 0]], dtype=float)
    matrix[:, 2] = centre - scale * centre + [dx, dy]
    return np.asarray(cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_CUBIC,
                                     borderMode=cv2.BORDER_REFLECT_101))


def blur(picture: Picture, sigma: float) -> Picture:
    """Gaussian blur."""
    return picture if sigma == 0 else np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma))


def noisy(picture: Picture, sigma: float, seed: int = 0) -> Picture:
    """Gaussian noise in grey levels."""
    values = picture + np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def grid(picture: Picture, amplitude: float, period: int = 16) -> Picture:
    """Lines every `period` px along both axes, `amplitude` grey levels deep."""
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    lines = amplitude * (np.cos(2 * np.pi * x / period) + np.cos(2 * np.pi * y / period)) / 2
    return np.clip(np.rint(picture + lines[..., None]), 0, 255).astype(np.uint8)


def hue(picture: Picture, degrees: float) -> Picture:
    """Colours turned around the grey axis."""
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) + round(degrees / 2)) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def blend(a: Picture, b: Picture, share: float) -> Picture:
    """`share` of b over a."""
    return np.clip(np.rint((1 - share) * a.astype(float) + share * b), 0, 255).astype(np.uint8)


def face_onto(target: Picture, donor: Picture, share: float = 1.0) -> Picture:
    """The donor's face laid over the target's, by their five points, faded in by `share` (identity blend)."""
    from whichlora.vision import faces

    here, there = faces.find(target)[0], faces.find(donor)[0]
    matrix = faces.similarity_transform(np.array(there.points, np.float32), np.array(here.points, np.float32))
    height, width = target.shape[:2]
    moved = cv2.warpAffine(donor, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    x, y, w, h = here.box
    mask = np.zeros((height, width), np.float32)
    cv2.ellipse(mask, (round(x + w / 2), round(y + h / 2)), (round(w * 0.62), round(h * 0.62)), 0, 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), w / 20)[..., None] * share
    return np.clip(np.rint(target * (1 - mask) + moved * mask), 0, 255).astype(np.uint8)


def new_background(picture: Picture, colour: tuple[int, int, int], seed: int = 0) -> Picture:
    """The person kept, everything else painted in one colour with a little noise."""
    from whichlora.vision import mask

    alpha = np.clip((mask.person(picture) - 0.3) / 0.4, 0, 1)[..., None]
    paint = noisy(np.broadcast_to(np.array(colour, np.uint8), picture.shape), 3, seed)
    return np.clip(np.rint(picture * alpha + paint * (1 - alpha)), 0, 255).astype(np.uint8)


def vae_like(picture: Picture) -> Picture:
    """What an autoencoder's round trip does: fine detail lost, a little noise; about 30 dB."""
    small = blur(picture, 0.9)
    return noisy(small, 2.0, seed=5)


def scaled(picture: Picture, longest: int) -> Picture:
    """The picture with its longer side at `longest` px."""
    factor = longest / max(picture.shape[:2])
    return resized(picture, round(picture.shape[0] * factor), round(picture.shape[1] * factor))
