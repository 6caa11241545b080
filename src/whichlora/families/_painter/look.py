"""Where head, mouth and subject are: by the small face models when a face is there, else assumed in the middle."""

from __future__ import annotations

import numpy as np

from whichlora.families._painter.strokes import Scene
from whichlora.families.base import Picture


def look(picture: Picture, *, faces: bool = True) -> Scene:
    """Find the scene of a picture.

    Args:
        picture: RGB.
        faces: Whether to look for a face at all; without, the subject is an ellipse in the middle.
    """
    if faces:
        from whichlora.vision import mask
        from whichlora.vision.faces import find

        found = find(picture)
        if found:
            face = found[0]
            x, y, width, height = face.box
            left, right = np.array(face.points[3]), np.array(face.points[4])
            middle = (left + right) / 2
            head = (x + width / 2, y + height / 2, 0.62 * width, 0.62 * height)
            half = max(2.0, float(np.linalg.norm(right - left)) / 2)
            return Scene(head, (float(middle[0]), float(middle[1]), half), mask.person(picture))
    height, width = picture.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    cx, cy, rx, ry = width / 2, 0.42 * height, 0.2 * width, 0.24 * height
    reach = np.minimum(((x - cx) / (1.2 * rx)) ** 2 + ((y - cy) / (1.3 * ry)) ** 2,
                       ((x - cx) / (2.0 * rx)) ** 2 + ((y - height) / (0.45 * height)) ** 2)
    subject = np.clip((1.15 - reach) / 0.3, 0.0, 1.0).astype(np.float32)
    return Scene((cx, cy, rx, ry), (cx, cy + 0.5 * ry, 0.35 * rx), subject)
