"""Head pose and face shape from 468 mesh points. Photographs only.

Sign convention, the same as for every camera target: `yaw_deg` > 0 means that the camera stands further to the
viewer's right, so the face looks to the picture's left. `pitch_deg` > 0 means that the camera stands higher, so the
face seems to look down. Both are zero for a face that looks straight into the camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichlora.vision.faces import Face, warped_crop
from whichlora.vision.onnx import session
from whichlora.vision.picture import Picture, remembered

MESH = "face_mesh_468.onnx"
SIDE_PX = 192
CROP = 1.5
"""Side of the crop in units of the face box's longer side, as the mesh was trained."""
PASSES = 3
OUTER_EYE_LEFT, OUTER_EYE_RIGHT, FOREHEAD, CHIN = 33, 263, 10, 152


@dataclass(frozen=True)
class Pose:
    """Where a head points, in degrees (see the module for signs)."""

    yaw_deg: float
    pitch_deg: float
    roll_deg: float


@remembered(128)
def mesh(picture: Picture, face: Face) -> NDArray[np.float64]:
    """468 points (x, y, z) in pixels of the picture; z grows away from the camera, in the same unit.

    Run three times: from the detector's box, then from the box of the mesh itself, as the mesh was trained; the
    detector's box alone moves the pitch by several degrees.
    """
    eyes = np.array(face.points[1]) - np.array(face.points[0])
    centre = np.array([face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2])
    size = max(face.box[2], face.box[3], 1.0)
    points = _mesh_in(picture, centre, size, math.atan2(float(eyes[1]), float(eyes[0])))
    for _ in range(PASSES - 1):
        across = points[OUTER_EYE_RIGHT, :2] - points[OUTER_EYE_LEFT, :2]
        roll = math.atan2(float(across[1]), float(across[0]))
        turn = np.array([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]])
        upright = points[:, :2] @ turn.T
        low, high = upright.min(0), upright.max(0)
        points = _mesh_in(picture, turn.T @ ((low + high) / 2), float((high - low).max()), roll)
    return points


def _mesh_in(picture: Picture, centre: NDArray[np.float64], size: float, roll: float) -> NDArray[np.float64]:
    """The mesh of the face inside a square of `size` px (grown by `CROP`) around `centre`, turned by `roll` radians."""
    scale = SIDE_PX / (CROP * max(size, 1.0))
    turn = scale * np.array([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]])
    matrix = np.hstack([turn, (np.array([SIDE_PX / 2, SIDE_PX / 2]) - turn @ centre)[:, None]])
    crop = warped_crop(picture, matrix, SIDE_PX, edge=False)
    tensor = (crop.astype(np.float32) / 255).transpose(2, 0, 1)[None]
    raw = session(MESH).run(None, {"input_1": tensor})[0].reshape(468, 3).astype(np.float64)
    flat = (raw[:, :2] - matrix[:, 2]) @ np.linalg.inv(turn).T
    return np.hstack([flat, raw[:, 2:] / scale])


def pose(picture: Picture, face: Face) -> Pose:
    """Head pose of a face from its mesh: axes through the outer eye corners and from forehead to chin."""
    points = mesh(picture, face)
    across = _unit(points[OUTER_EYE_RIGHT] - points[OUTER_EYE_LEFT])
    down = points[CHIN] - points[FOREHEAD]
    down = _unit(down - across * float(down @ across))
    forward = np.cross(down, across)  # out of the face, towards the camera when z < 0
    yaw = math.degrees(math.atan2(-float(forward[0]), -float(forward[2])))
    pitch = math.degrees(math.asin(float(np.clip(forward[1], -1, 1))))
    roll = math.degrees(math.atan2(float(across[1]), float(across[0])))
    return Pose(yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
