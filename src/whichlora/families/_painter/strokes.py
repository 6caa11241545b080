"""The painter's image operations: small, deterministic, weightless. Pictures are float32 RGB, 0–255.

Each takes an amount from 0 (nothing changes) to 1. They do what a metric looks for (a head that turns, light that
grows warm, another backdrop) without pretending to be pretty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[np.floating]
"""Height × width × 3 (or one plane), float32."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where things are in a picture, in pixels."""

    head: tuple[float, float, float, float]
    """Centre x, centre y, half width, half height of the head."""
    mouth: tuple[float, float, float]
    """Centre x, centre y, half width of the mouth."""
    subject: NDArray[np.float32]
    """0–1 for every pixel: how much it belongs to the subject."""


def turn(canvas: Canvas, scene: Scene, kind: str, degrees: float) -> Canvas:
    """Turn the head like a cylinder: 'yaw' > 0 as if the camera went to the viewer's right, 'pitch' > 0 upwards."""
    x, y = _grid(canvas)
    cx, cy, rx, ry = scene.head
    rx, ry = 1.15 * rx, 1.15 * ry
    across, along = (x - cx) / rx, (y - cy) / ry
    main, other = (across, along) if kind == "yaw" else (along, across)
    # A camera that goes right sees the front move left: the picture's content shifts against the camera.
    # Flat pixels turned as a cylinder read as a smaller turn, so the warp exaggerates.
    exaggerated = np.clip(degrees * (2.1 if kind == "yaw" else 2.6), -70.0, 70.0)
    angle = np.radians(exaggerated) * np.exp(-np.maximum(0.0, np.abs(other) - 0.6) ** 2 / 0.18)
    shown = np.arcsin(np.clip(main, -1.0, 1.0))
    source = np.sin(np.clip(shown + angle * (1 if kind == "yaw" else -1), -1.45, 1.45))
    inside = np.clip((1.0 - np.abs(main)) / 0.15, 0.0, 1.0)
    moved = main + inside * (source - main)
    return _remap(canvas, cx + moved * rx, y) if kind == "yaw" else _remap(canvas, x, cy + moved * ry)


def relight(canvas: Canvas, kind: str, amount: float) -> Canvas:
    """Change tone, temperature or the side from which light comes."""
    x, y = _grid(canvas)
    height, width = canvas.shape[:2]
    gains: dict[str, tuple[float, float, float]] = {
        "sunset": (1.22, 0.98, 0.62), "moon": (0.5, 0.62, 0.95), "neon": (1.25, 0.7, 1.3),
        "daylight": (1.16, 1.2, 1.26),
    }
    if kind in gains:
        lit = canvas * np.array(gains[kind], np.float32)
    elif kind == "studio":
        import cv2

        grey = canvas.mean(axis=2)
        shade = np.asarray(cv2.GaussianBlur(grey, (0, 0), width / 8), np.float32)
        lit = canvas * (np.float32(shade.mean()) / np.maximum(shade, 8.0))[..., None] ** 0.8
    else:
        ramp = {"left": 1 - x / width, "right": x / width, "top": 1 - y / height}.get(kind, np.full_like(x, 0.5))
        lit = canvas * (0.45 + 1.1 * ramp)[..., None].astype(np.float32)
    return _blend(canvas, lit, amount)


def backdrop(canvas: Canvas, scene: Scene, kind: str, amount: float, seed: int) -> Canvas:
    """Replace everything behind the subject by a painted place."""
    height, width = canvas.shape[:2]
    rng = np.random.default_rng(seed)
    x, y = _grid(canvas)
    down = (y / height)[..., None]
    grain = rng.normal(0, 6, (height, width, 1)).astype(np.float32)
    if kind == "forest":
        trunks = 0.5 + 0.5 * np.sin(x / width * 40 + 3 * np.sin(y / height * 5) + rng.uniform(0, 6))
        place = np.array([40, 95, 45], np.float32) + trunks[..., None] * np.array([35, 50, 20], np.float32) + 2 * grain
    elif kind == "beach":
        sky, sea, sand = _colour([150, 205, 245]), _colour([40, 130, 185]), _colour([225, 200, 150])
        place = np.where(down < 0.45, sky, np.where(down < 0.62, sea, sand)) + grain
    elif kind == "mountain":
        ridge = 0.5 + 0.12 * np.abs(np.sin(x / width * 9 + rng.uniform(0, 6)))[..., None]
        place = np.where(down < ridge, _colour([165, 200, 235]), _colour([240, 243, 248])) + grain
    elif kind == "city":
        windows = ((x.astype(int) // 6) % 3 == 0) & ((y.astype(int) // 8) % 2 == 0)
        place = np.where(windows[..., None], _colour([250, 220, 130]), _colour([30, 32, 55])) + grain
    elif kind == "room":
        place = np.where(down < 0.7, _colour([215, 195, 170]), _colour([130, 90, 60])) + grain
    else:
        place = _colour([150, 150, 152]) + 30 * (1 - down) + 0.5 * grain
    cover = (1.0 - scene.subject)[..., None] * np.float32(amount)
    return canvas * (1 - cover) + np.asarray(place, np.float32) * cover


def express(canvas: Canvas, scene: Scene, kind: str, amount: float) -> Canvas:
    """Warp the mouth: corners up for a smile, down for sadness, open for surprise."""
    x, y = _grid(canvas)
    cx, cy, half = scene.mouth
    if kind == "surprised":
        near = np.exp(-((x - cx) ** 2 / (1.2 * half) ** 2 + (y - cy) ** 2 / (1.6 * half) ** 2))
        return _remap(canvas, x + (x - cx) * 0.25 * amount * near, y - (y - cy) * 0.55 * amount * near)
    lift = {"smile": 0.42, "sad": -0.36, "angry": -0.22}.get(kind, 0.0) * amount * half
    widen = {"smile": 0.28}.get(kind, 0.0) * amount
    corners = sum(
        np.exp(-((x - (cx + side * half)) ** 2 + (y - cy) ** 2) / (0.75 * half) ** 2) for side in (-1.0, 1.0)
    )
    near = np.exp(-((x - cx) ** 2 / (1.6 * half) ** 2 + (y - cy) ** 2 / half**2))
    return _remap(canvas, x - (x - cx) * widen * near, y + lift * np.asarray(corners))


def damage(canvas: Canvas, scene: Scene, amount: float) -> Canvas:
    """Make somebody else of the person: other proportions, another complexion, the halves mixed."""
    x, y = _grid(canvas)
    cx, cy, rx, ry = scene.head
    u, v = (x - cx) / rx, (y - cy) / ry
    near = np.exp(-((u * u + v * v) ** 2))
    warped = _remap(
        canvas, cx + (x - cx) * (1 - 0.45 * amount * near * (1 - v)), cy + (y - cy) * (1 + 0.4 * amount * near),
    )
    mirrored = _remap(warped, 2 * cx - x, y - 0.2 * ry)
    mixed = _blend(warped, mirrored * _colour([0.82, 0.98, 1.1]), 0.5)
    cover = (near * min(1.0, amount))[..., None].astype(np.float32)
    return canvas * (1 - cover) + mixed * cover


def segment(canvas: Canvas, scene: Scene, amount: float) -> Canvas:
    """Draw a mask: white where the subject is, black elsewhere."""
    mask = np.where(scene.subject > 0.5, np.float32(255), np.float32(0))[..., None]
    return _blend(canvas, np.repeat(mask, 3, axis=2), min(1.0, amount / 0.9))


def drift(canvas: Canvas, amount: float) -> Canvas:
    """Zoom in by up to 12 %, as these models are known to do."""
    x, y = _grid(canvas)
    height, width = canvas.shape[:2]
    zoom = 1 + 0.12 * amount
    return _remap(canvas, width / 2 + (x - width / 2) / zoom, height / 2 + (y - height / 2) / zoom)


def grid_artefact(canvas: Canvas, amount: float) -> Canvas:
    """A regular pattern over the picture, as quantisation makes."""
    x, y = _grid(canvas)
    pattern = np.where(((x.astype(int) // 2) + (y.astype(int) // 2)) % 2 == 0, 1.0, -1.0).astype(np.float32)
    return canvas + 22.0 * np.float32(amount) * pattern[..., None]


def _colour(values: list[Any]) -> Canvas:
    return np.array(values, np.float32)


def _grid(canvas: Canvas) -> tuple[Canvas, Canvas]:
    y, x = np.mgrid[0 : canvas.shape[0], 0 : canvas.shape[1]].astype(np.float32)
    return x, y


def _remap(canvas: Canvas, x: NDArray[np.floating], y: NDArray[np.floating]) -> Canvas:
    import cv2

    moved = cv2.remap(canvas, np.asarray(x, np.float32), np.asarray(y, np.float32), cv2.INTER_LINEAR,
                      borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.float32)


def _blend(a: Canvas, b: NDArray[np.floating], amount: float) -> Canvas:
    return np.asarray(a + (b - a) * np.float32(amount), np.float32)
