"""The six painted backgrounds. They stay fixed to the screen, like a theatre's backdrop."""

from __future__ import annotations

import torch
from torch import Tensor

from whichlora.tinyworld.state import BACKGROUNDS


def mix(first: Tensor, second: Tensor, amount: Tensor | float) -> Tensor:
    """Linear blend of two colours."""
    return first + (second - first) * amount


def fraction(number: Tensor) -> Tensor:
    """The part after the decimal point."""
    return number - torch.floor(number)


def _noise(number: Tensor) -> Tensor:
    return fraction(torch.sin(number * 1.31 + 2.1) * 17.13)


def _ramp(low: float, high: float, number: Tensor) -> Tensor:
    return ((number - low) / (high - low)).clamp(0, 1)


class _Canvas:
    """Pixel coordinates (n×pixels, -1..1, y up) and the sliders of a backdrop."""

    def __init__(self, style: Tensor, pitch: Tensor, pixel_x: Tensor, pixel_y: Tensor) -> None:
        count = style.shape[0]
        self.screen_x = pixel_x.expand(count, -1)
        self.screen_y = pixel_y.expand(count, -1)
        # A raised camera looks down, so the horizon climbs.
        self.height = self.screen_y - (0.05 + pitch * 1.1)[:, None]
        self.shift = style[:, 0:1] - 0.5
        self.hue = style[:, 1:2, None]
        self.across = self.screen_x * (0.85 + 0.3 * style[:, 2:3]) + self.shift

    def colour(self, red: float, green: float, blue: float) -> Tensor:
        values = (red, green, blue)
        return torch.stack([torch.full_like(self.height[:1, :1], v) for v in values], -1)


def _on(mask: Tensor) -> Tensor:
    return mask.float().unsqueeze(-1)


def _studio(c: _Canvas) -> Tensor:
    wall = mix(c.colour(0.86, 0.72, 0.60), c.colour(0.66, 0.72, 0.80), c.hue)
    glow = torch.exp(-((c.screen_x - c.shift * 0.6) ** 2 + (c.screen_y - 0.25) ** 2) * 1.2)
    floor = 1 - 0.10 * (c.height < -0.55).float()
    return wall * ((0.62 + 0.5 * glow) * floor).unsqueeze(-1)


def _forest(c: _Canvas) -> Tensor:
    x, y = c.across, c.height
    sky = mix(c.colour(0.62, 0.82, 0.60), c.colour(0.80, 0.93, 0.86), _ramp(-0.2, 1, y)[..., None])
    hills = 0.43 + 0.10 * torch.sin(x * 9) + 0.05 * torch.sin(x * 17 + 1)
    out = mix(sky, c.colour(0.36, 0.60, 0.38), _on(y < hills))
    place = x * 1.9 + 0.25
    bark = mix(
        c.colour(0.34, 0.21, 0.12),
        c.colour(0.50, 0.33, 0.20),
        _ramp(0.3, 0.62, fraction(place))[..., None],
    )
    width = 0.12 + 0.05 * _noise(torch.floor(place))
    out = mix(out, bark, _on((fraction(place) - 0.46).abs() < width))
    leaves = 0.62 + 0.13 * torch.sin(x * 7.1 + 0.6) + 0.05 * torch.sin(x * 13)
    dapple = (0.5 + 0.5 * torch.sin(x * 11) * torch.sin(c.screen_y * 10)).unsqueeze(-1)
    crown = mix(c.colour(0.10, 0.34, 0.14), c.colour(0.20, 0.50, 0.20), dapple)
    out = mix(out, crown, _on(c.screen_y > leaves))
    grass = mix(c.colour(0.22, 0.46, 0.17), c.colour(0.40, 0.62, 0.24), _ramp(-1, -0.3, y)[..., None])
    return mix(out, grass, _on(y < -0.30 + 0.04 * torch.sin(x * 11)))


def _beach(c: _Canvas) -> Tensor:
    x, y = c.across, c.height
    out = mix(c.colour(0.72, 0.88, 0.97), c.colour(0.22, 0.55, 0.92), _ramp(0, 1, y)[..., None])
    sun = (x - 0.55) ** 2 + (c.screen_y - 0.62) ** 2 < 0.045
    out = mix(out, c.colour(1.0, 0.95, 0.70), _on(sun))
    cloud = torch.sin(x * 5 + 1.3) * 0.05 + 0.55
    puff = ((y - cloud).abs() < 0.06 + 0.03 * torch.sin(x * 8)) & (x < 0.2)
    out = mix(out, c.colour(0.97, 0.98, 1.0), _on(puff))
    sea = mix(c.colour(0.10, 0.45, 0.66), c.colour(0.25, 0.68, 0.78), _ramp(0, -0.35, y)[..., None])
    out = mix(out, sea, _on(y < 0))
    shore = 0.03 * torch.sin(x * 6)
    out = mix(out, c.colour(0.85, 0.95, 0.96), _on(y < -0.29 + shore))
    sand = mix(c.colour(0.93, 0.82, 0.58), c.colour(0.86, 0.72, 0.46), _ramp(-0.35, -1, y)[..., None])
    return mix(out, sand, _on(y < -0.36 + shore))


def _city(c: _Canvas) -> Tensor:
    x, y = c.across, c.height
    out = mix(c.colour(0.16, 0.12, 0.34), c.colour(0.02, 0.03, 0.12), _ramp(-0.2, 0.9, y)[..., None])
    moon = (x + 0.62) ** 2 + (c.screen_y - 0.68) ** 2 < 0.026
    out = mix(out, c.colour(0.95, 0.95, 0.82), _on(moon))
    block, inside = torch.floor(x * 2.6), fraction(x * 2.6)
    house = (y < 0.15 + 0.55 * _noise(block * 3.7)) & (inside > 0.05)
    column, row = torch.floor(inside * 3), torch.floor(y * 4.5)
    window_x, window_y = fraction(inside * 3), fraction(y * 4.5)
    bright = _noise(column * 5.1 + row * 3.3 + block * 7.7) > 0.42
    pane = (window_x > 0.25) & (window_x < 0.80) & (window_y > 0.25) & (window_y < 0.75)
    lamp = mix(c.colour(1.0, 0.80, 0.40), c.colour(0.55, 0.80, 1.0), _on(_noise(block * 2.9) > 0.6))
    out = mix(out, c.colour(0.07, 0.08, 0.16), _on(house))
    return mix(out, lamp, _on(house & bright & pane))


def _room(c: _Canvas) -> Tensor:
    x, y, up = c.across, c.height, c.screen_y
    wall = mix(c.colour(0.80, 0.62, 0.52), c.colour(0.55, 0.68, 0.62), c.hue)
    out = wall * (1 - 0.10 * (fraction(x * 4) < 0.5).float()).unsqueeze(-1)

    def box(centre_x: float, centre_y: float, half_x: float, half_y: float) -> Tensor:
        return ((x - centre_x).abs() < half_x) & ((up - centre_y).abs() < half_y)

    cross = ((x + 0.58).abs() > 0.03) & ((up - 0.42).abs() > 0.03)
    outside = mix(c.colour(0.80, 0.92, 1.0), c.colour(0.45, 0.72, 0.95), _ramp(0.1, 0.8, up)[..., None])
    out = mix(out, c.colour(0.95, 0.93, 0.88), _on(box(-0.58, 0.42, 0.30, 0.36)))
    out = mix(out, outside, _on(box(-0.58, 0.42, 0.25, 0.31) & cross))
    painting = mix(c.colour(0.95, 0.65, 0.30), c.colour(0.25, 0.35, 0.60), _ramp(0.3, 0.6, up)[..., None])
    out = mix(out, c.colour(0.35, 0.20, 0.12), _on(box(0.66, 0.45, 0.20, 0.24)))
    out = mix(out, painting, _on(box(0.66, 0.45, 0.15, 0.19)))
    boards = (0.85 + 0.25 * _noise(torch.floor(x * 5))).unsqueeze(-1)
    out = mix(out, c.colour(0.52, 0.33, 0.19) * boards, _on(y < -0.42))
    return mix(out, c.colour(0.94, 0.90, 0.84), _on((y < -0.37) & (y > -0.45)))


def _mountain(c: _Canvas) -> Tensor:
    x, y = c.across, c.height
    out = mix(c.colour(0.93, 0.87, 0.86), c.colour(0.48, 0.68, 0.92), _ramp(-0.1, 1, y)[..., None])
    snow = c.colour(0.97, 0.98, 1.0)
    far = 0.52 - (fraction(x * 0.8 + 0.1) - 0.5).abs() * 1.5
    cap = _on(y > far - 0.22 + 0.05 * torch.sin(x * 20))
    out = mix(out, mix(c.colour(0.52, 0.58, 0.70), snow, cap), _on(y < far))
    near = 0.30 - (fraction(x * 1.1 + 0.62) - 0.5).abs() * 1.2
    cap = _on(y > near - 0.14 + 0.04 * torch.sin(x * 23))
    out = mix(out, mix(c.colour(0.36, 0.43, 0.56), snow * 0.96, cap), _on(y < near))
    field = mix(c.colour(0.88, 0.92, 0.98), c.colour(0.76, 0.83, 0.94), _ramp(-0.2, -1, y)[..., None])
    return mix(out, field, _on(y < -0.22 + 0.05 * torch.sin(x * 4)))


def paint_backdrop(background: Tensor, style: Tensor, pitch: Tensor, pixel_x: Tensor, pixel_y: Tensor) -> Tensor:
    """Background colours, n×pixels×3 in 0..1, before the light tints them."""
    canvas = _Canvas(style, pitch, pixel_x, pixel_y)
    painters = {
        "studio": _studio,
        "forest": _forest,
        "beach": _beach,
        "city": _city,
        "room": _room,
        "mountain": _mountain,
    }
    out = torch.zeros(*canvas.height.shape, 3, device=style.device)
    for index, name in enumerate(BACKGROUNDS):
        chosen = (background == index)[:, None, None]
        out = torch.where(chosen, painters[name](canvas), out)
    return out
