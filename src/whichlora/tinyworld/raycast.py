"""Rays against clipped ellipsoids, for whole batches of pictures at once."""

from __future__ import annotations

import torch
from torch import Tensor

# Parts handled in one fused kernel: more saves memory traffic, fewer compiles faster.
PARTS_PER_KERNEL = 13
NO_HIT = 1e6


def _sphere_hit(
    start: tuple[Tensor, Tensor, Tensor],
    step: tuple[Tensor, Tensor, Tensor],
    clip: Tensor,
) -> tuple[Tensor, Tensor]:
    """First hit of start + t·step with the unit sphere cut by `clip` (n×4): t and whether."""
    px, py, pz = start
    dx, dy, dz = step
    square = dx * dx + dy * dy + dz * dz
    half = px * dx + py * dy + pz * dz
    rest = px * px + py * py + pz * pz - 1
    discriminant = half * half - square * rest
    root = torch.sqrt(discriminant.clamp_min(1e-12))
    enter, leave = (-half - root) / square, (-half + root) / square
    nx, ny, nz, offset = (clip[:, i : i + 1] for i in range(4))
    height = nx * px + ny * py + nz * pz - offset
    slope = nx * dx + ny * dy + nz * dz
    slope = torch.where(slope.abs() < 1e-6, torch.full_like(slope, 1e-6), slope)
    plane = -height / slope
    on_plane = (slope > 0) & (plane > enter)
    distance = torch.where(on_plane, plane, enter)
    kept = torch.where(slope > 0, plane < leave, enter < plane)
    return distance, (discriminant > 0) & kept & (distance > 1e-3)


def nearest_parts(
    depth: Tensor,
    part: Tensor,
    first: Tensor,
    directions: Tensor,
    origins: Tensor,
    clips: Tensor,
    pixel_x: Tensor,
    pixel_y: Tensor,
) -> tuple[Tensor, Tensor]:
    """Update nearest depth and part index (n×pixels) with some more parts.

    directions: n×k×3×3 maps a camera direction (x, y, -1) to each part's unit space;
    origins: n×k×3 is the camera there; first: number of the first of these parts.
    """
    for i in range(directions.shape[1]):
        matrix, origin = directions[:, i], origins[:, i]
        step = tuple(
            matrix[:, j, 0, None] * pixel_x + matrix[:, j, 1, None] * pixel_y - matrix[:, j, 2, None] for j in range(3)
        )
        start = tuple(origin[:, j : j + 1] for j in range(3))
        distance, hit = _sphere_hit(start, step, clips[:, i])
        better = hit & (distance < depth)
        depth = torch.where(better, distance, depth)
        part = torch.where(better, first + i, part)
    return depth, part


def shadowed(
    shade: Tensor,
    matrices: Tensor,
    centres: Tensor,
    lights: Tensor,
    clips: Tensor,
    points: tuple[Tensor, Tensor, Tensor],
) -> Tensor:
    """Update the shadow mask (n×pixels) with some more parts between `points` and the light.

    matrices: n×k×3×3 figure space to unit space; lights: n×k×3 light direction there.
    """
    for i in range(matrices.shape[1]):
        offset = [points[j] - centres[:, i, j : j + 1] for j in range(3)]
        start = tuple(sum(matrices[:, i, j, axis, None] * offset[axis] for axis in range(3)) for j in range(3))
        step = tuple(lights[:, i, j : j + 1] for j in range(3))
        distance, hit = _sphere_hit(start, step, clips[:, i])
        shade = torch.maximum(shade, (hit & (distance > 0.02)).float())
    return shade
