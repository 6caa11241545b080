"""Where the person is (selfie segmentation). Half-fires on objects, so callers ask first whether a face is there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whichlora.vision.onnx import session
from whichlora.vision.picture import Picture, remembered

MODEL = "person_mask.onnx"
SIDE_PX = 256


@remembered(16)
def person(picture: Picture) -> NDArray[np.float32]:
    """Probability 0–1 that a pixel shows a person; same height and width as the picture."""
    import cv2

    height, width = picture.shape[:2]
    mode = cv2.INTER_AREA if max(height, width) > SIDE_PX else cv2.INTER_LINEAR
    small = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=mode).astype(np.float32) / 255
    mask = session(MODEL).run(None, {"x": small[None]})[0][0, :, :, 0]
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32).clip(0, 1)
