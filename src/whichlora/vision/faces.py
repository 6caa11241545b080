"""Faces in a photograph: where they are (CenterFace) and who they are (dlib's ResNet-29). Photographs only.

Known blind spots, measured on public sets: on a small East-Asian set the embedding accepts 36 of 52 different-person
pairs at distance 0.6; it does not notice a face squeezed by 0.8; on stylised faces its AUC falls to 0.79–0.92.
So distances are compared with an impostor cohort, never read as a bare match.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichlora.vision.onnx import session
from whichlora.vision.picture import Picture, remembered

DETECTOR = "centerface.onnx"
EMBEDDER = "face_embedding_resnet29_u8.onnx"
THRESHOLD = 0.4
"""Detector score of a face (CenterFace's heat map, 0–1)."""
LOW_THRESHOLD = 0.25
"""Tried when nothing is found: full profiles score lower."""
OVERLAP = 0.23
"""Boxes that overlap more (intersection over union) are one face."""
DETECTION_SIDE_PX = 640
"""Longer side at which faces are looked for; smaller pictures are enlarged to half of it."""
TEMPLATE = np.array([[46.3, 48.5], [103.4, 46.6], [74.1, 79.0], [50.5, 104.0], [99.2, 103.1]], dtype=np.float32)
"""Where eyes, nose tip and mouth corners lie in the 150 × 150 crop that the embedding expects (pixels)."""
EMBEDDING_SIDE_PX = 150


@dataclass(frozen=True)
class Face:
    """A face, in pixels of the picture it was found in."""

    box: tuple[float, float, float, float]
    """x, y, width, height."""
    score: float
    """Detector's score, 0–1."""
    points: tuple[tuple[float, float], ...]
    """Eye at the picture's left, other eye, nose tip, mouth corners (left, right): (x, y) each."""

    @property
    def area(self) -> float:
        """Width × height in px²."""
        return self.box[2] * self.box[3]


@remembered(128)
def detect(picture: Picture, threshold: float = THRESHOLD) -> tuple[Face, ...]:
    """Faces, largest first.

    Args:
        picture: RGB photograph.
        threshold: Lowest detector score that counts, 0–1.
    """
    import cv2

    height, width = picture.shape[:2]
    longest = max(height, width)
    scale = min(1.0, DETECTION_SIDE_PX / longest)
    if longest < DETECTION_SIDE_PX // 2:
        scale = DETECTION_SIDE_PX / 2 / longest
    grid_h, grid_w = (max(32, round(side * scale / 32) * 32) for side in (height, width))
    mode = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(picture, (grid_w, grid_h), interpolation=mode).astype(np.float32)
    outputs = session(DETECTOR).run(None, {"input.1": small.transpose(2, 0, 1)[None]})
    found = _decode(outputs, threshold, width / grid_w, height / grid_h)
    return tuple(sorted(_distinct(found), key=lambda face: -face.area))


def find(picture: Picture) -> tuple[Face, ...]:
    """Faces, largest first; looked for once more with a lower threshold when there seem to be none."""
    return detect(picture) or detect(picture, LOW_THRESHOLD)


def _decode(outputs: list[NDArray[np.float32]], threshold: float, sx: float, sy: float) -> list[Face]:
    """Read CenterFace's maps (stride 4): heat, log size (h, w), offset (y, x), landmarks (y, x in box units)."""
    heat, size, offset, marks = (output[0] for output in outputs)
    faces: list[Face] = []
    for row, col in zip(*np.nonzero(heat[0] > threshold), strict=True):
        h, w = np.exp(size[:, row, col]) * 4
        top = (row + offset[0, row, col] + 0.5) * 4 - h / 2
        left = (col + offset[1, row, col] + 0.5) * 4 - w / 2
        spots = marks[:, row, col]
        points = tuple(
            (float((spots[2 * i + 1] * w + left) * sx), float((spots[2 * i] * h + top) * sy)) for i in range(5)
        )
        box = (float(left * sx), float(top * sy), float(w * sx), float(h * sy))
        faces.append(Face(box=box, score=float(heat[0, row, col]), points=points))
    return faces


def _distinct(faces: list[Face]) -> list[Face]:
    """Non-maximum suppression by detector score."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(_overlap(face, other) <= OVERLAP for other in kept):
            kept.append(face)
    return kept


def _overlap(a: Face, b: Face) -> float:
    """Intersection over union of two boxes, 0–1."""
    wide = min(a.box[0] + a.box[2], b.box[0] + b.box[2]) - max(a.box[0], b.box[0])
    high = min(a.box[1] + a.box[3], b.box[1] + b.box[3]) - max(a.box[1], b.box[1])
    if wide <= 0 or high <= 0:
        return 0.0
    return wide * high / (a.area + b.area - wide * high)


def similarity_transform(points: NDArray[np.float32], goal: NDArray[np.float32]) -> NDArray[np.float64]:
    """Least-squares rotation, scale and shift (2 × 3) that takes `points` (n × 2) to `goal`; Umeyama 1991, in 2-D."""
    source, target = points.astype(np.float64), goal.astype(np.float64)
    mean_s, mean_t = source.mean(0), target.mean(0)
    s, t = source - mean_s, target - mean_t
    norm = max(float((s**2).sum()), 1e-9)
    a = float((s * t).sum()) / norm
    b = float((s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0]).sum()) / norm
    turn = np.array([[a, -b], [b, a]])
    return np.hstack([turn, (mean_t - turn @ mean_s)[:, None]])


def aligned_crop(picture: Picture, face: Face, side_px: int = EMBEDDING_SIDE_PX) -> Picture:
    """The face, upright, at the place the embedding expects it."""
    goal = TEMPLATE * (side_px / EMBEDDING_SIDE_PX)
    return warped_crop(picture, similarity_transform(np.array(face.points, dtype=np.float32), goal), side_px, edge=True)


def warped_crop(picture: Picture, matrix: NDArray[np.float64], side_px: int, *, edge: bool) -> Picture:
    """A square crop under a similarity (2 × 3, picture → crop), without aliasing where it shrinks.

    Args:
        picture: RGB picture.
        matrix: Takes picture pixels to crop pixels.
        side_px: Side of the crop.
        edge: Repeat the picture's edge where the crop reaches beyond it; black otherwise.
    """
    import cv2

    shrink = float(np.hypot(matrix[0, 0], matrix[0, 1]))
    border = cv2.BORDER_REPLICATE if edge else cv2.BORDER_CONSTANT
    if shrink < 0.5:  # warpAffine samples without averaging: blur first, and only the part that is used
        corners = np.array([[0, 0], [side_px, 0], [0, side_px], [side_px, side_px]], dtype=np.float64)
        used = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
        height, width = picture.shape[:2]
        margin = 3 / shrink
        left, top = (max(0, int(value - margin)) for value in used.min(0))
        right, bottom = (int(value + margin) + 1 for value in used.max(0))
        part = picture[top : max(top + 1, min(height, bottom)), left : max(left + 1, min(width, right))]
        if part.size:
            picture = np.asarray(cv2.GaussianBlur(part, (0, 0), 0.4 / shrink), dtype=np.uint8)
            matrix = np.hstack([matrix[:, :2], (matrix[:, 2] + matrix[:, :2] @ [left, top])[:, None]])
    return np.asarray(
        cv2.warpAffine(picture, matrix, (side_px, side_px), flags=cv2.INTER_LINEAR, borderMode=border), dtype=np.uint8,
    )


@remembered(256)
def embed(picture: Picture, face: Face) -> NDArray[np.float32]:
    """128 numbers that say who this is; compare two by Euclidean `distance`."""
    crop = aligned_crop(picture, face).astype(np.float32).transpose(2, 0, 1)[None]
    vector = session(EMBEDDER).run(None, {"input": crop})[0][0]
    return np.asarray(vector, dtype=np.float32)


def distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Euclidean distance of two embeddings: same person mostly below 0.6, strangers about 0.8."""
    return float(np.linalg.norm(a.astype(np.float64) - b.astype(np.float64)))
