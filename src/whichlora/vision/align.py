"""Registration of an output onto its source: scale, rotation, shift. Does not judge the drift it finds.

Image-editing models zoom and shift by a few pixels; a zoom of 1 % costs 12 dB of background PSNR. So pictures are
aligned before anything is compared, and the drift is reported on its own.
Features: SIFT (Lowe 2004) on a contrast-normalised picture; model: similarity by RANSAC, refined by least squares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.vision.faces import similarity_transform
from whichlora.vision.picture import Picture, frozen, remembered

WORKING_SIDE_PX = 768
"""Longer side at which features are sought; smaller pictures are enlarged (at most twofold)."""
SMALL_SIDE_PX = 256
MAX_FEATURES = 1000
RATIO = 0.75
"""Lowe's ratio: the second-best match must be clearly worse."""
MIN_INLIERS = 12
"""Fewer matches than this prove nothing."""
MAX_SCALE = 1.35
MAX_SHIFT = 0.25
"""Beyond these (factor; share of the longer side) it is another picture, not drift."""


@dataclass(frozen=True)
class Alignment:
    """How the output lies against the source. `found` is False when too few features agree."""

    found: bool
    """Whether there is a trustworthy similarity."""
    scale: float
    """Size of the output's content relative to the source's; 1.02 = zoomed in by 2 %."""
    rotation_deg: float
    """Clockwise turn of the content, degrees."""
    dx_px: float
    """Shift of the content at the picture's centre, pixels to the right."""
    dy_px: float
    """Shift of the content at the picture's centre, pixels down."""
    inliers: int
    """Feature pairs that agree."""
    matches: int
    """Feature pairs that were considered."""
    matrix: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    """2 × 3 matrix, row by row, that takes source pixels to output pixels."""


def _unknown(inliers: int, matches: int) -> Alignment:
    return Alignment(False, 1.0, 0.0, 0.0, 0.0, inliers, matches)


@remembered(64)
def register(source: Picture, output: Picture) -> Alignment:
    """Find the similarity that takes the source's content to the output's.

    Args:
        source: RGB picture.
        output: RGB picture of the same shape.
    """
    ours, theirs = _features(source), _features(output)
    if ours is None or theirs is None:
        return _unknown(0, 0)
    pairs = _matches(ours[1], theirs[1])
    if len(pairs) < MIN_INLIERS:
        return _unknown(len(pairs), len(pairs))
    start = ours[0][[i for i, _ in pairs]]
    goal = theirs[0][[j for _, j in pairs]]
    return _fit(start, goal, source.shape[0], source.shape[1])


@remembered(16)
def _features(picture: Picture) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Feature places in pixels of the picture (n × 2) and descriptors (n × 128)."""
    import cv2

    height, width = picture.shape[:2]
    longest = max(height, width)
    factor = min(1.0, WORKING_SIDE_PX / longest)
    if longest < SMALL_SIDE_PX:
        factor = min(2.0, SMALL_SIDE_PX / longest)
    size = (round(width * factor), round(height * factor))
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if size != (width, height):
        mode = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        grey = cv2.resize(grey, size, interpolation=mode)
    grey = cv2.createCLAHE(2.0, (8, 8)).apply(grey)
    create: Any = cv2.SIFT_create  # pyright: ignore[reportAttributeAccessIssue] - absent from OpenCV's stubs
    sift = create(nfeatures=MAX_FEATURES, contrastThreshold=0.02)
    points, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None or len(points) < MIN_INLIERS:
        return None
    places = np.array([point.pt for point in points], dtype=np.float64)
    ratio = np.array([width / size[0], height / size[1]])
    # Pixel centres lie at half-integers of the continuous plane; resizing keeps that plane, not pixel indices.
    places = (places + 0.5) * ratio - 0.5
    return places.astype(np.float32), np.asarray(descriptors, dtype=np.float32)


def _matches(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Index pairs that pass Lowe's ratio, one per feature of the output."""
    import cv2

    pairs: dict[int, tuple[float, int]] = {}
    for found in cv2.BFMatcher(cv2.NORM_L2).knnMatch(ours, theirs, k=2):
        if len(found) == 2 and found[0].distance < RATIO * found[1].distance:
            best = pairs.get(found[0].trainIdx)
            if best is None or found[0].distance < best[0]:
                pairs[found[0].trainIdx] = (found[0].distance, found[0].queryIdx)
    return [(query, train) for train, (_, query) in pairs.items()]


def _fit(start: NDArray[np.float32], goal: NDArray[np.float32], height: int, width: int) -> Alignment:
    """RANSAC, then least squares on tightening sets of inliers."""
    import cv2

    longest = max(height, width)
    # At 128 px a feature's own error is a larger share of a pixel than at 1,024.
    tolerance = max(0.5, 2.0 * longest / 1024)
    cv2.setRNGSeed(7)
    matrix, inside = cv2.estimateAffinePartial2D(
        start, goal, method=cv2.RANSAC, ransacReprojThreshold=tolerance, maxIters=3000, confidence=0.999,
    )
    if matrix is None or inside is None or int(inside.sum()) < MIN_INLIERS:
        return _unknown(0 if inside is None else int(inside.sum()), len(start))
    keep = inside.ravel().astype(bool)
    for share in (0.7, 0.4, 0.4):
        fitted = similarity_transform(start[keep], goal[keep])
        error = np.linalg.norm(start @ fitted[:, :2].T + fitted[:, 2] - goal, axis=1)
        tighter = error < tolerance * share
        if tighter.sum() < MIN_INLIERS:
            break
        keep = tighter
    matrix = similarity_transform(start[keep], goal[keep])
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = matrix[:, :2] @ centre + matrix[:, 2] - centre
    rotation = math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))
    count = int(inside.sum())
    wild = not 1 / MAX_SCALE < scale < MAX_SCALE or float(np.abs(shift).max()) > MAX_SHIFT * longest
    if wild or abs(rotation) > 15:
        return _unknown(count, len(start))
    return Alignment(
        True, scale, rotation, float(shift[0]), float(shift[1]), count, len(start),
        tuple(float(value) for value in matrix.ravel()),
    )


@remembered(8)
def undrifted(source: Picture, output: Picture) -> tuple[Picture, NDArray[np.bool_], Alignment]:
    """The output laid back onto the source, where it is defined, and the alignment used.

    An alignment closer to identity than half a thousandth and a twentieth of a pixel is not applied: resampling
    would cost more than it mends. Without a trustworthy alignment the output is returned as it is.

    Returns:
        The moved output; a mask of pixels that the output really shows; the alignment.
    """
    import cv2

    height, width = source.shape[:2]
    found = register(source, output)
    everywhere = np.ones((height, width), dtype=bool)
    still = abs(found.scale - 1) < 5e-4 and abs(found.rotation_deg) < 0.03
    still = still and max(abs(found.dx_px), abs(found.dy_px)) < 0.05 + 2e-4 * max(height, width) / 4
    if not found.found or still:
        return output, everywhere, found
    matrix = np.array(found.matrix).reshape(2, 3)
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(output, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    inside = cv2.warpAffine(
        np.full((height, width), 255, np.uint8), matrix, (width, height),
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT, borderValue=0,
    )
    margin = max(1, round(max(height, width) / 256))
    inside = cv2.erode(inside, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8), borderValue=255)
    # Read-only, so that its hash is worked out once and not at every question about it.
    return frozen(np.asarray(moved, dtype=np.uint8)), np.asarray(inside) > 0, found
