"""Perceptual distance of two pictures: LPIPS on AlexNet (Zhang et al. 2018), 16-bit weights in one ONNX graph."""

from __future__ import annotations

import numpy as np

from whichlora.vision.onnx import session
from whichlora.vision.picture import Picture, remembered, resized

MODEL = "lpips_alex_f16.onnx"
LONGEST_PX = 512
"""Larger pictures are scaled down first: the distance was trained on small patches, and time grows with area."""
SHORTEST_PX = 64


@remembered(128)
def lpips(a: Picture, b: Picture) -> float:
    """LPIPS distance, 0 (equal) to about 1.

    Args:
        a: A picture.
        b: Another of the same shape.
    """
    if a.shape != b.shape:
        raise ValueError(f"pictures of one shape are compared, not {a.shape} and {b.shape}")
    height, width = a.shape[:2]
    scale = min(1.0, LONGEST_PX / max(height, width))
    scale = max(scale, SHORTEST_PX / min(height, width))
    goal = (max(SHORTEST_PX, round(height * scale)), max(SHORTEST_PX, round(width * scale)))
    first, second = (resized(item, *goal).astype(np.float32).transpose(2, 0, 1)[None] for item in (a, b))
    return max(0.0, float(session(MODEL).run(None, {"x0": first, "x1": second})[0].ravel()[0]))
