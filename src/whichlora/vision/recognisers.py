"""Embeddings of the optional packs (`packs.py`): who is this face, or this drawn figure. Judges nothing.

Every embedding has length 1 and is compared by its dot product. Preprocessing is each model's own: SFace by OpenCV's
aligner and recogniser, ArcFace class by the five-point template at 112 px, CCIP and DINOv2 on the cut-out subject.
Models are loaded on first use, once per process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import UserError
from whichlora.vision import mask, packs
from whichlora.vision.faces import Face, similarity_transform, warped_crop
from whichlora.vision.picture import Picture, remembered, resized

ARCFACE_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
"""Eyes, nose tip and mouth corners in the 112 × 112 crop of ArcFace-class models (Deng et al. 2019), pixels."""
FACE_SIDE_PX = 112
YUNET_SCORE = 0.6
YUNET_SIDE_PX = 640
SAME_FACE = 0.3
"""Overlap (intersection over union) from which on YuNet's face is the one that was asked about."""
CCIP_SIDE_PX, DINO_SIDE_PX = 384, 224
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_lock = threading.Lock()


def face_embedding(pack: str, picture: Picture, face: Face) -> NDArray[np.float32]:
    """Who a face is, by a pack for photographs.

    Raises:
        UserError: The pack is not installed, or knows no faces.
        MachineError: Its files changed since they were installed.
    """
    return _face_embedding(pack, packs.check(pack), picture, face)


@remembered(256)
def _face_embedding(pack: str, files: str, picture: Picture, face: Face) -> NDArray[np.float32]:
    del files  # part of the key: another file's embedding is never remembered as this one's
    makers: dict[str, Callable[[Picture, Face], NDArray[np.float32]]] = {
        "yunet-sface": _sface, "auraface": lambda p, f: _arcface("auraface", p, f),
        "arcface": lambda p, f: _arcface("arcface", p, f),
    }
    if pack not in makers:
        raise UserError(f"The pack '{pack}' recognises no faces.", fix="Use yunet-sface, auraface or arcface.")
    with _lock:
        return _unit(makers[pack](picture, face))


def subject_embedding(pack: str, picture: Picture) -> NDArray[np.float32]:
    """What the subject looks like as a whole, by a pack for drawn characters and things.

    Raises:
        UserError: The pack is not installed, or knows only faces.
        MachineError: Its files changed since they were installed.
    """
    return _subject_embedding(pack, packs.check(pack), picture)


@remembered(128)
def _subject_embedding(pack: str, files: str, picture: Picture) -> NDArray[np.float32]:
    del files  # see _face_embedding
    makers: dict[str, Callable[[Picture], NDArray[np.float32]]] = {"ccip": _ccip, "dinov2": _dino}
    if pack not in makers:
        raise UserError(f"The pack '{pack}' embeds faces only.", fix="Use ccip or dinov2.")
    with _lock:
        return _unit(makers[pack](picture))


def _unit(vector: NDArray[Any]) -> NDArray[np.float32]:
    flat = np.asarray(vector, dtype=np.float32).reshape(-1)
    length = float(np.linalg.norm(flat))
    if not np.isfinite(length) or length < 1e-9:
        raise ValueError("the recogniser returned no usable embedding")
    return flat / length


def _session(pack: str, file: str) -> Any:
    path = packs.file_of(pack, file)
    return _opened(str(path), path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _opened(path: str, changed_ns: int) -> Any:
    import onnxruntime

    del changed_ns
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


# ------------------------------------------------------------------------------------------------------------- YuNet


def _sface(picture: Picture, face: Face) -> NDArray[np.float32]:
    """SFace behind its own aligner, from YuNet's five points (the packaged detector's where YuNet sees no face)."""
    detector, recogniser = _opencv(
        str(packs.file_of("yunet-sface", "face_detection_yunet_2023mar.onnx")),
        str(packs.file_of("yunet-sface", "face_recognition_sface_2021dec.onnx")),
    )
    height, width = picture.shape[:2]
    scale = min(1.0, YUNET_SIDE_PX / max(height, width))
    small = resized(picture, round(height * scale), round(width * scale))
    bgr = np.ascontiguousarray(picture[..., ::-1])
    detector.setInputSize((small.shape[1], small.shape[0]))
    found = detector.detect(np.ascontiguousarray(small[..., ::-1]))[1]
    row = _same_face(found, face, scale)
    return np.asarray(recogniser.feature(recogniser.alignCrop(bgr, row)))


@lru_cache(maxsize=2)
def _opencv(yunet: str, sface: str) -> tuple[Any, Any]:
    import cv2

    cv: Any = cv2
    detector = cv.FaceDetectorYN.create(yunet, "", (320, 320), YUNET_SCORE)
    return detector, cv.FaceRecognizerSF.create(sface, "")


def _same_face(found: Any, face: Face, scale: float) -> NDArray[np.float32]:
    """YuNet's row (box, five points, score) of the asked face; made from its own points where YuNet has none."""
    best, most = None, SAME_FACE
    for row in () if found is None else np.asarray(found, dtype=np.float32):
        values = row.copy()
        values[:14] /= scale
        overlap = _overlap(values[:4], face.box)
        if overlap > most:
            best, most = values, overlap
    if best is not None:
        return best
    points = [value for point in face.points for value in point]
    return np.array([*face.box, *points, face.score], dtype=np.float32)


def _overlap(a: Any, b: Any) -> float:
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    return float(wide * high / (a[2] * a[3] + b[2] * b[3] - wide * high))


# ----------------------------------------------------------------------------------------------------------- ArcFace


def _arcface(pack: str, picture: Picture, face: Face) -> NDArray[np.float32]:
    """ArcFace-class ONNX: RGB, 112 × 112, (value − 127.5) / 127.5."""
    model = _session(pack, packs.pack(pack).files[0].name)
    matrix = similarity_transform(np.array(face.points, dtype=np.float32), ARCFACE_TEMPLATE)
    crop = warped_crop(picture, matrix, FACE_SIDE_PX, edge=False)
    tensor = ((crop.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]
    return model.run(None, {model.get_inputs()[0].name: np.ascontiguousarray(tensor)})[0]


# ----------------------------------------------------------------------------------------------------- whole subjects


def cut_out(picture: Picture) -> Picture:
    """The subject's square on white, background taken away where the person mask is sure of it.

    A mask that keeps hardly anything (objects, some drawings) is not trusted; then the middle square is shown as it is.
    """
    chance = mask.person(picture)
    sure = chance > 0.5
    if sure.mean() < 0.05:
        return _square(picture, None)
    alpha = np.clip((chance - 0.3) / 0.4, 0, 1)[..., None]
    plain = np.rint(picture * alpha + 255 * (1 - alpha)).astype(np.uint8)
    rows, cols = np.flatnonzero(sure.any(1)), np.flatnonzero(sure.any(0))
    return _square(plain, (int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1))


def _square(picture: Picture, box: tuple[int, int, int, int] | None) -> Picture:
    """The box (left, top, right, bottom) padded to a square with white; the middle square without a box."""
    height, width = picture.shape[:2]
    if box is None:
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        return np.ascontiguousarray(picture[top : top + side, left : left + side])
    part = picture[box[1] : box[3], box[0] : box[2]]
    side = max(part.shape[:2])
    canvas = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - part.shape[0]) // 2, (side - part.shape[1]) // 2
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    return canvas


def _normalised(picture: Picture, side: int, mean: Any, std: Any) -> NDArray[np.float32]:
    small = resized(cut_out(picture), side, side).astype(np.float32) / 255
    values = (small - np.array(mean, np.float32)) / np.array(std, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None], dtype=np.float32)


def _ccip(picture: Picture) -> NDArray[np.float32]:
    model = _session("ccip", "model_feat.onnx")
    tensor = _normalised(picture, CCIP_SIDE_PX, CLIP_MEAN, CLIP_STD)
    return model.run(None, {model.get_inputs()[0].name: tensor})[0]


def _dino(picture: Picture) -> NDArray[np.float32]:
    """DINOv2's class token of the cut-out subject."""
    import torch

    weights = packs.file_of("dinov2", "model.safetensors")
    packs.file_of("dinov2", "config.json")
    model = _transformer(str(weights.parent), weights.stat().st_mtime_ns)
    tensor = torch.from_numpy(_normalised(picture, DINO_SIDE_PX, IMAGENET_MEAN, IMAGENET_STD))
    with torch.inference_mode():
        return model(pixel_values=tensor).last_hidden_state[0, 0].float().numpy()


@lru_cache(maxsize=1)
def _transformer(folder: str, changed_ns: int) -> Any:
    from transformers import AutoModel

    del changed_ns
    # Local files and safetensors only: nothing is fetched here and nothing is unpickled.
    return AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
