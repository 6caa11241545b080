"""Pictures of toy figures: identities and states in, exact images out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from whichlora.tinyworld import backdrops, raycast, shading
from whichlora.tinyworld.geometry import PART_COUNT, Parts, assemble, rotation_about
from whichlora.tinyworld.identity import Identities
from whichlora.tinyworld.state import States

IMAGE_SIZE = 128
CAMERA_DISTANCE = 5.6
FIELD = 0.218


@dataclass
class _View:
    """Camera of a batch and the parts seen from it, in each part's unit space."""

    camera: Tensor  # n×3×3, camera to figure space
    eye: Tensor  # n×3
    to_unit: Tensor  # n×parts×3×3, figure to unit space
    directions: Tensor  # n×parts×3×3, camera to unit space
    origins: Tensor  # n×parts×3
    pixel_x: Tensor  # n×pixels, slope of each ray
    pixel_y: Tensor


def _look(parts: Parts, states: States, screen_x: Tensor, screen_y: Tensor) -> _View:
    count, device = len(states), states.device
    camera = rotation_about("y", states.yaw) @ rotation_about("x", -states.pitch)
    centre = torch.zeros(count, 3, device=device)
    centre[:, 1] = 0.15 + 0.16 * (states.zoom - 1) / 0.35
    eye = centre + camera[..., 2] * CAMERA_DISTANCE
    to_unit = parts.rotation / parts.radii[..., None]
    scale = (FIELD / states.zoom)[:, None]
    return _View(
        camera=camera,
        eye=eye,
        to_unit=to_unit,
        directions=to_unit @ camera[:, None],
        origins=(to_unit @ (eye[:, None] - parts.centre)[..., None])[..., 0],
        pixel_x=screen_x * scale,
        pixel_y=screen_y * scale,
    )


def _colour_points(
    depth: Tensor,
    part: Tensor,
    shade: Tensor,
    points: tuple[Tensor, Tensor, Tensor],
    backdrop: Tensor,
    view: _View,
    parts: Parts,
    who: Identities,
    states: States,
    rig: shading.Rig,
) -> Tensor:
    """Final colours n×pixels×3 of the nearest points and the backdrop."""
    count = depth.shape[0]
    hit = part >= 0
    index = part.clamp_min(0).long()

    def at_point(values: Tensor) -> Tensor:
        flat = values.reshape(count, PART_COUNT, -1)
        return torch.gather(flat, 1, index[..., None].expand(-1, -1, flat.shape[-1]))

    matrix, origin, clip = at_point(view.directions), at_point(view.origins), at_point(parts.clip)
    reach = depth.clamp(max=50.0)[..., None]
    rays = [
        matrix[..., 3 * j] * view.pixel_x + matrix[..., 3 * j + 1] * view.pixel_y - matrix[..., 3 * j + 2]
        for j in range(3)
    ]
    unit = origin + reach * torch.stack(rays, -1)
    on_cut = (unit * unit).sum(-1) < 0.985
    local = torch.where(on_cut[..., None], -clip[..., :3], unit)
    back = at_point(view.to_unit)
    normal = torch.stack(
        [sum(back[..., 3 * row + axis] * local[..., row] for row in range(3)) for axis in range(3)], -1
    )
    normal = normal / normal.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    spot = shading.Surface(
        part=part,
        hit=hit,
        x=unit[..., 0],
        y=unit[..., 1],
        z=unit[..., 2],
        world_y=at_point(parts.centre)[..., 1] + unit[..., 1] * at_point(parts.radii)[..., 1],
        colour=at_point(parts.colour),
        gloss=at_point(parts.gloss[..., None])[..., 0],
    )
    spot.colour = shading.paint_face(spot, who, states)
    colour = shading.paint_clothes(spot, who)
    to_eye = view.eye[:, None] - torch.stack(points, -1)
    to_eye = to_eye / to_eye.norm(dim=-1, keepdim=True)
    to_light = (view.camera @ rig.direction[..., None])[..., 0]
    lit = shading.illuminate(spot, colour, normal, to_eye, to_light, rig, shade)
    return torch.where(hit[..., None], lit, backdrop).clamp(0, 1)


_KERNELS: dict[str, Callable] = {
    "nearest": raycast.nearest_parts,
    "shadow": raycast.shadowed,
    "backdrop": backdrops.paint_backdrop,
    "colour": _colour_points,
}


def compile_kernels() -> None:
    """Compile the renderer's inner functions (worth it for thousands of pictures on a GPU)."""
    for name, kernel in list(_KERNELS.items()):
        _KERNELS[name] = torch.compile(kernel, dynamic=False)


def _chunks() -> list[slice]:
    step = raycast.PARTS_PER_KERNEL
    return [slice(i, min(i + step, PART_COUNT)) for i in range(0, PART_COUNT, step)]


@torch.no_grad()
def render(
    who: Identities,
    states: States,
    size: int = IMAGE_SIZE,
    oversampling: int = 2,
    shown: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Pictures n×3×size×size and figure masks n×1×size×size, both in 0..1.

    `shown` (n booleans) can leave the figure out of some pictures.
    """
    device, count = who.device, len(who)
    side = size * oversampling
    axis = (torch.arange(side, device=device) + 0.5) / side * 2 - 1
    screen_x = axis[None].expand(side, side).reshape(1, -1)
    screen_y = (-axis)[:, None].expand(side, side).reshape(1, -1)
    parts = assemble(who)
    view = _look(parts, states, screen_x, screen_y)
    depth = torch.full((count, side * side), raycast.NO_HIT, device=device)
    part = torch.full((count, side * side), -1, device=device, dtype=torch.int32)
    for chunk in _chunks():
        first = torch.tensor(chunk.start, device=device, dtype=torch.int32)
        rays = (t[:, chunk].contiguous() for t in (view.directions, view.origins, parts.clip))
        depth, part = _KERNELS["nearest"](depth, part, first, *rays, view.pixel_x, view.pixel_y)
    if shown is not None:
        part = torch.where(shown[:, None], part, torch.full_like(part, -1))
    rig = shading.light_rig(states)
    to_light = (view.camera @ rig.direction[..., None])[..., 0]
    rays = torch.stack([view.pixel_x, view.pixel_y, -torch.ones_like(view.pixel_x)], -1)
    world = view.eye[:, None] + depth.clamp(max=50.0)[..., None] * (rays @ view.camera.mT)
    points = tuple(world[..., axis_].contiguous() for axis_ in range(3))
    unit_light = (view.to_unit @ to_light[:, None, :, None])[..., 0]
    shade = torch.zeros_like(depth)
    for chunk in _chunks():
        tensors = (view.to_unit, parts.centre, unit_light, parts.clip)
        shade = _KERNELS["shadow"](shade, *(t[:, chunk].contiguous() for t in tensors), points)
    backdrop = _KERNELS["backdrop"](states.background, states.background_style, states.pitch, screen_x, screen_y)
    slope = 1 + rig.slope[:, None, None] * screen_x[..., None]
    backdrop = (backdrop * rig.backdrop[:, None] * slope).clamp(0, 1)
    colours = _KERNELS["colour"](depth, part, shade, points, backdrop, view, parts, who, states, rig)
    tiles = (count, size, oversampling, size, oversampling)
    image = colours.view(*tiles, 3).mean((2, 4)).permute(0, 3, 1, 2)
    mask = (part >= 0).float().view(*tiles).mean((2, 4))[:, None]
    return image.contiguous(), mask
