"""Paint (face, clothes) and light for the figure's visible points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from whichlora.tinyworld import geometry as g
from whichlora.tinyworld.backdrops import fraction, mix
from whichlora.tinyworld.identity import Identities
from whichlora.tinyworld.state import EXPRESSIONS, LIGHTS, States

EYE_X, EYE_Y = 0.40, -0.03


@dataclass(frozen=True)
class Lamp:
    """One light setting, in camera space (x right, y up, z towards the viewer)."""

    direction: tuple[float, float, float]
    key: tuple[float, float, float]
    ambient: tuple[float, float, float]
    rim: tuple[float, float, float]
    backdrop: tuple[float, float, float]
    # Brightness of the backdrop rises towards the right (+) or the left (-).
    slope: float


LAMPS: dict[str, Lamp] = {
    "soft": Lamp(
        (0.25, 0.55, 0.80),
        (0.80, 0.78, 0.74),
        (0.46, 0.47, 0.50),
        (0.10, 0.10, 0.12),
        (1, 1, 1),
        0,
    ),
    "left": Lamp(
        (-0.95, 0.25, 0.20),
        (1.10, 1.05, 0.98),
        (0.26, 0.27, 0.31),
        (0.05, 0.05, 0.06),
        (0.72, 0.72, 0.76),
        -0.42,
    ),
    "right": Lamp(
        (0.95, 0.25, 0.20),
        (1.10, 1.05, 0.98),
        (0.26, 0.27, 0.31),
        (0.05, 0.05, 0.06),
        (0.72, 0.72, 0.76),
        0.42,
    ),
    "top": Lamp(
        (0, 1, 0.22),
        (1.15, 1.12, 1.05),
        (0.29, 0.29, 0.33),
        (0.05, 0.05, 0.05),
        (0.66, 0.66, 0.68),
        0,
    ),
    "back": Lamp(
        (0.15, 0.45, -0.90),
        (1.2, 1.15, 1.0),
        (0.42, 0.43, 0.50),
        (1.3, 1.2, 1.0),
        (0.72, 0.72, 0.80),
        0,
    ),
    "sunset": Lamp(
        (-0.85, 0.15, 0.45),
        (1.25, 0.68, 0.28),
        (0.34, 0.22, 0.30),
        (0.40, 0.18, 0.05),
        (1.05, 0.74, 0.58),
        -0.15,
    ),
    "neon": Lamp(
        (-0.80, 0.20, 0.45),
        (1.05, 0.15, 0.75),
        (0.20, 0.20, 0.34),
        (0.05, 0.65, 0.80),
        (0.58, 0.42, 0.78),
        0,
    ),
    "moon": Lamp(
        (0.50, 0.70, 0.40),
        (0.42, 0.58, 1.0),
        (0.22, 0.27, 0.48),
        (0.15, 0.22, 0.42),
        (0.42, 0.50, 0.82),
        0,
    ),
}


@dataclass
class Rig:
    """The lights of a batch: vectors n×3 (direction in camera space), slope n."""

    direction: Tensor
    key: Tensor
    ambient: Tensor
    rim: Tensor
    backdrop: Tensor
    slope: Tensor


def light_rig(states: States) -> Rig:
    """Lamps of each state; weaker lights are blends with the soft one."""
    strength = states.light_strength[:, None]

    def blended(name: str) -> Tensor:
        rows = [getattr(LAMPS[light], name) for light in LIGHTS]
        table = torch.tensor(rows, device=states.device, dtype=torch.float32)
        return mix(table[:1], table[states.light], strength)

    slopes = torch.tensor([LAMPS[light].slope for light in LIGHTS], device=states.device)
    direction = blended("direction")
    return Rig(
        direction=direction / direction.norm(dim=-1, keepdim=True),
        key=blended("key"),
        ambient=blended("ambient"),
        rim=blended("rim"),
        backdrop=blended("backdrop"),
        slope=slopes[states.light] * states.light_strength,
    )


@dataclass
class Surface:
    """Visible points, n×pixels: part number, place on the part's unit sphere, base colour.

    `hit` says where a part is seen at all; world is the point in figure space.
    """

    part: Tensor
    hit: Tensor
    x: Tensor
    y: Tensor
    z: Tensor
    world_y: Tensor
    colour: Tensor
    gloss: Tensor


def _cover(colour: Tensor, paint: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask[..., None], paint, colour)


def _tone(colour: Tensor, red: float, green: float, blue: float) -> Tensor:
    values = (red, green, blue)
    return torch.stack([torch.full_like(colour[:1, :1, 0], v) for v in values], -1)


def _mood(states: States, name: str) -> Tensor:
    chosen = states.expression == EXPRESSIONS.index(name)
    return (chosen.float() * states.expression_strength)[:, None]


def paint_face(spot: Surface, who: Identities, states: States) -> Tensor:
    """Colours with cheeks, freckles, eyes, brows, mouth and glasses painted on the head."""
    colour, y = spot.colour, spot.y
    face = (spot.part == g.HEAD) & (spot.z > 0)
    side = spot.x.abs()
    smile = _mood(states, "smile")
    cheek = ((side - 0.60) / 0.18) ** 2 + ((y + 0.32) / 0.12) ** 2 < 1
    blush = (face & cheek).float() * (0.28 + 0.30 * smile)
    colour = mix(colour, _tone(colour, 0.95, 0.42, 0.38), blush[..., None])
    grid = (fraction(side * 8) < 0.4) & (fraction(y * 9 + 0.3) < 0.4)
    zone = (side > 0.2) & (side < 0.72) & (y < -0.14) & (y > -0.38)
    freckles = (face & grid & zone).float() * who.freckles[:, None]
    colour = mix(colour, colour * 0.68, freckles[..., None])
    colour = _paint_eyes(colour, face, spot, who, states)
    colour = _paint_mouth(colour, face, spot, states)
    return _paint_glasses(colour, spot, who)


def _paint_eyes(colour: Tensor, face: Tensor, spot: Surface, who: Identities, states: States) -> Tensor:
    side, y = spot.x.abs(), spot.y
    smile, sad = _mood(states, "smile"), _mood(states, "sad")
    surprised, angry = _mood(states, "surprised"), _mood(states, "angry")
    size = who.eye_size[:, None]
    high = 0.245 * size * (1 - 0.25 * smile + 0.22 * surprised - 0.12 * angry)
    wide = 0.190 * size * (1 + 0.08 * surprised)

    def oval(shift: float, share_x: float, share_y: float) -> Tensor:
        across, up = (side - EYE_X + shift) / (wide * share_x), (y - EYE_Y) / (high * share_y)
        return across**2 + up**2 < 1

    white = face & oval(0, 1, 1)
    colour = _cover(colour, _tone(colour, 0.98, 0.98, 0.98), white)
    colour = _cover(colour, who.eyes[:, None].expand_as(colour), white & oval(0.01, 0.82, 0.82))
    colour = _cover(colour, _tone(colour, 0.04, 0.03, 0.05), white & oval(0.01, 0.42, 0.44))
    # The glint sits at the same side of both eyes, so that the gaze looks alive.
    eye_centre = torch.sign(spot.x) * EYE_X
    glint = (spot.x - eye_centre + 0.06) ** 2 + (y - EYE_Y - 0.09) ** 2 < 0.0042
    colour = _cover(colour, _tone(colour, 1, 1, 1), face & glint)
    lid = face & oval(0, 1.15, 1.12) & ~white & (y > EYE_Y + 0.05)
    colour = _cover(colour, _tone(colour, 0.08, 0.05, 0.05), lid)
    arch = side - EYE_X
    brow_y = (
        0.33 + 0.11 * surprised - 0.05 * angry + 0.02 * smile
        + arch * (-0.15 - 0.55 * sad + 0.75 * angry)
        - arch**2 * (0.8 + 0.8 * smile + 0.6 * surprised)
    )  # fmt: skip
    brow = face & ((y - brow_y).abs() < 0.05) & (side > 0.19) & (side < 0.62)
    return _cover(colour, (who.hair[:, None] * 0.55).expand_as(colour), brow)


def _paint_mouth(colour: Tensor, face: Tensor, spot: Surface, states: States) -> Tensor:
    x, y, side = spot.x, spot.y, spot.x.abs()
    smile, sad = _mood(states, "smile"), _mood(states, "sad")
    surprised, angry = _mood(states, "surprised"), _mood(states, "angry")
    half = 0.21 + 0.13 * smile + 0.05 * sad + 0.04 * angry - 0.05 * surprised
    curve = -0.48 + smile * (2.0 * x * x - 0.10) - sad * (2.6 * x * x - 0.09)
    curve = curve - angry * (1.4 * x * x - 0.03)
    line = face & ((y - curve).abs() < 0.042 + 0.012 * smile) & (side < half) & (surprised < 0.5)
    colour = _cover(colour, _tone(colour, 0.45, 0.10, 0.10), line)
    teeth = face & (smile > 0.7) & (y > curve) & (y < -0.41) & (side < half)
    colour = _cover(colour, _tone(colour, 0.97, 0.95, 0.93), teeth)
    opened = (x / 0.13) ** 2 + ((y + 0.52) / (0.175 * surprised + 1e-3)) ** 2 < 1
    return _cover(colour, _tone(colour, 0.38, 0.07, 0.09), face & opened & (surprised > 0.3))


def _paint_glasses(colour: Tensor, spot: Surface, who: Identities) -> Tensor:
    side, y, z = spot.x.abs(), spot.y, spot.z
    worn = (spot.part == g.HEAD) & (who.glasses[:, None] > 0)
    lens = ((side - EYE_X) / 0.30) ** 2 + ((y - EYE_Y) / 0.325) ** 2
    rim = worn & (z > 0) & (lens > 0.68) & (lens < 1.08)
    bridge_or_arm = ((z > -0.2) & (z <= 0.72) & (side > 0.62)) | ((z > 0) & (side < 0.12))
    arm = worn & ((y - 0.03).abs() < 0.042) & bridge_or_arm
    colour = mix(colour, colour * 0.72 + 0.24, ((worn & (z > 0) & (lens <= 0.68)).float() * 0.3)[..., None])
    return _cover(colour, _tone(colour, 0.10, 0.10, 0.13), rim | arm)


def paint_clothes(spot: Surface, who: Identities) -> Tensor:
    """Colours with the shirt's pattern, straps, pack pocket and hat ribs painted on."""
    colour, x, y, z = spot.colour, spot.x, spot.y, spot.z
    body = (spot.part >= g.TORSO) & (spot.part <= g.ARM_RIGHT)
    torso = spot.part == g.TORSO
    pattern = who.pattern[:, None]
    around = torch.atan2(x, z)
    stripes = fraction(spot.world_y * 2.9) < 0.5
    # Few large dots: small ones would not survive the autoencoder.
    dots = (fraction(spot.world_y * 2.7) - 0.5) ** 2 + (fraction(around * 1.75) - 0.5) ** 2 < 0.085
    yoke = (torso & (spot.world_y > -0.66)) | (body & ~torso)
    printed = ((pattern == 1) & stripes) | ((pattern == 2) & dots) | ((pattern == 3) & yoke)
    colour = _cover(colour, who.shirt_second[:, None].expand_as(colour), body & printed)
    packed = who.backpack[:, None] > 0
    strap = torso & packed & (z > -0.2) & ((x.abs() - 0.58).abs() < 0.12) & (y > 0.05)
    colour = _cover(colour, (who.accent[:, None] * 0.8).expand_as(colour), strap)
    flap = ((y + 0.30).abs() < 0.07) | ((x / 0.38) ** 2 + ((y - 0.35) / 0.24) ** 2 < 1)
    colour = _cover(colour, colour * 0.62, (spot.part == g.BACKPACK) & (z < 0) & flap)
    ribs = (spot.part == g.HAT) & (who.hat[:, None] == 2) & (fraction(around * 1.9) < 0.3)
    return _cover(colour, colour * 0.80, ribs)


def illuminate(
    spot: Surface,
    colour: Tensor,
    normal: Tensor,
    to_eye: Tensor,
    to_light: Tensor,
    rig: Rig,
    shade: Tensor,
) -> Tensor:
    """Lit colours n×pixels×3: half-Lambert key with hard shadow, hemisphere, gloss and rim."""
    facing = (normal * to_light[:, None]).sum(-1)
    diffuse = (facing * 0.85 + 0.15).clamp_min(0) * (1 - 0.72 * shade * (facing > 0))
    halfway = to_light[:, None] + to_eye
    halfway = halfway / halfway.norm(dim=-1, keepdim=True).clamp_min(1e-5)
    gloss = (normal * halfway).sum(-1).clamp_min(0) ** 26 * spot.gloss * (1 - shade)
    rim = (1 - (normal * to_eye).sum(-1).clamp(0, 1)) ** 3
    under_chin = ((spot.part == g.TORSO) | (spot.part == g.NECK)).float()
    occlusion = 1 - 0.35 * under_chin * torch.exp(-((spot.world_y + 0.12) ** 2) * 14)
    sky = (0.72 + 0.28 * normal[..., 1]) * occlusion
    key, ambient = rig.key[:, None], rig.ambient[:, None]
    lit = colour * (ambient * sky[..., None] + key * diffuse[..., None])
    return lit + key * gloss[..., None] + rig.rim[:, None] * rim[..., None] * 0.75
