"""Colour in CIE Lab, for differences that people would see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whichlora.metrics.base import Picture
from whichlora.vision.picture import remembered


@remembered(12)
def lab(picture: Picture) -> NDArray[np.float32]:
    """CIE L*a*b* (D65): L 0–100, a and b about ±100; height × width × 3."""
    import cv2

    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), dtype=np.float32)


def delta_e(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """CIE76 colour difference per pixel; about 2.3 is just noticeable."""
    return np.sqrt(((a - b) ** 2).sum(-1))


def blurred(values: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """Gaussian blur of a float image."""
    import cv2

    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT_101), dtype=np.float32)
