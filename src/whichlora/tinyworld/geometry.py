"""The toy figure as clipped ellipsoids in figure space (x right, y up, z towards the front)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from whichlora.tinyworld.identity import HAIR_STYLES, Identities
from whichlora.tinyworld.records import TensorRecord

PART_COUNT = 26
HEAD, TORSO, ARM_LEFT, ARM_RIGHT, HAND_LEFT, HAND_RIGHT, NECK = 0, 1, 2, 3, 4, 5, 6
EAR_LEFT, EAR_RIGHT, NOSE, CAP_HAIR, BACK_HAIR, TOP_HAIR = 7, 8, 9, 10, 11, 12
TOP_HAIR_TWIN, TAIL_LEFT, TAIL_RIGHT, FRINGE, HAT, HAT_BRIM, HAT_TOP = 13, 14, 15, 16, 17, 18, 19
PHONE_LEFT, PHONE_RIGHT, BACKPACK, SCARF, SCARF_END, BACK_HAIR_LOW = 20, 21, 22, 23, 24, 25

Numbers = float | Tensor


@dataclass
class Parts(TensorRecord):
    """Ellipsoids of a batch: each field is n×PART_COUNT×(...).

    rotation maps figure space to part space; clip holds a unit normal and an offset k in the
    part's unit-sphere space: what lies at normal·u > k is kept.
    """

    centre: Tensor
    radii: Tensor
    rotation: Tensor
    clip: Tensor
    colour: Tensor
    gloss: Tensor


def rotation_about(axis: str, angle: Tensor) -> Tensor:
    """Rotation matrices (…×3×3) about x, y or z."""
    cosine, sine = torch.cos(angle), torch.sin(angle)
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rows = {
        "x": (one, zero, zero, zero, cosine, -sine, zero, sine, cosine),
        "y": (cosine, zero, sine, zero, one, zero, -sine, zero, cosine),
        "z": (cosine, -sine, zero, sine, cosine, zero, zero, zero, one),
    }[axis]
    return torch.stack(rows, -1).view(*angle.shape, 3, 3)


class _Assembler:
    """Collects parts; a part that is switched off stays far below the scene."""

    def __init__(self, count: int, device: torch.device) -> None:
        shape = (count, PART_COUNT)
        self.count, self.device = count, device
        self.centre = torch.zeros(*shape, 3, device=device)
        self.centre[..., 1] = -50.0
        self.radii = torch.full((*shape, 3), 1e-3, device=device)
        self.tilt = torch.zeros(*shape, 2, device=device)
        self.clip = torch.zeros(*shape, 4, device=device)
        self.clip[..., 1], self.clip[..., 3] = 1.0, -9.0
        self.colour = torch.zeros(*shape, 3, device=device)
        self.gloss = torch.full(shape, 0.15, device=device)

    def _vector(self, numbers: tuple[Numbers, ...]) -> Tensor:
        columns = [
            x if torch.is_tensor(x) else torch.full((self.count,), float(x), device=self.device) for x in numbers
        ]
        return torch.stack(columns, -1)

    def put(
        self,
        part: int,
        centre: tuple[Numbers, ...],
        radii: tuple[Numbers, ...],
        colour: Tensor,
        *,
        where: Tensor | None = None,
        tilt: tuple[float, float] = (0.0, 0.0),
        clip: tuple[float, float, float, float] | None = None,
        gloss: float = 0.15,
    ) -> None:
        """Place one part (`where`: n booleans); tilt is (about x, about z) in radians."""
        if where is None:
            where = torch.ones(self.count, dtype=torch.bool, device=self.device)
        column = where[:, None]
        targets = [(self.centre, centre), (self.radii, radii), (self.tilt, tilt)]
        if clip is not None:
            targets.append((self.clip, clip))
        for tensor, numbers in targets:
            tensor[:, part] = torch.where(column, self._vector(numbers), tensor[:, part])
        self.colour[:, part] = torch.where(column, colour, self.colour[:, part])
        level = torch.full_like(self.gloss[:, part], gloss)
        self.gloss[:, part] = torch.where(where, level, self.gloss[:, part])

    def finished(self) -> Parts:
        spin = rotation_about("x", self.tilt[..., 0]) @ rotation_about("z", self.tilt[..., 1])
        normal = self.clip[..., :3]
        normal = normal / normal.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        return Parts(
            centre=self.centre,
            radii=self.radii,
            rotation=spin.transpose(-1, -2),
            clip=torch.cat([normal, self.clip[..., 3:]], -1),
            colour=self.colour,
            gloss=self.gloss,
        )


def assemble(who: Identities) -> Parts:
    """The figure's parts for each identity of the batch."""
    build = _Assembler(len(who), who.device)
    _add_body(build, who)
    _add_hair_caps(build, who)
    _add_hair_extras(build, who)
    _add_hats(build, who)
    _add_accessories(build, who)
    return build.finished()


def head_radii(who: Identities) -> tuple[Tensor, Tensor, float]:
    """Half width, half height and half depth of the head."""
    return 0.66 * who.face_width, 0.64 * who.face_height, 0.62


def _add_body(build: _Assembler, who: Identities) -> None:
    width, height, depth = head_radii(who)
    body = who.body_width
    build.put(HEAD, (0, 0.45, 0), (width, height, depth), who.skin)
    build.put(TORSO, (0, -0.98, 0), (0.54 * body, 0.80, 0.40), who.shirt)
    for part, hand, side in ((ARM_LEFT, HAND_LEFT, -1), (ARM_RIGHT, HAND_RIGHT, 1)):
        arm_x, hand_x = side * 0.60 * body, side * 0.74 * body
        build.put(part, (arm_x, -0.92, 0.02), (0.17, 0.50, 0.19), who.shirt * 0.97, tilt=(0, side * 0.24))
        build.put(hand, (hand_x, -1.36, 0.08), (0.15, 0.16, 0.15), who.skin)
    build.put(NECK, (0, -0.20, 0), (0.22, 0.25, 0.20), who.skin * 0.93)
    build.put(EAR_LEFT, (-width * 0.99, 0.40, -0.02), (0.10, 0.15, 0.12), who.skin * 0.95)
    build.put(EAR_RIGHT, (width * 0.99, 0.40, -0.02), (0.10, 0.15, 0.12), who.skin * 0.95)
    build.put(NOSE, (0, 0.34, 0.605), (0.065, 0.06, 0.08), who.skin * 0.92 + 0.04)


def _hair_is(who: Identities, *names: str) -> Tensor:
    mask = torch.zeros(len(who), dtype=torch.bool, device=who.device)
    for name in names:
        mask = mask | (who.hair_style == HAIR_STYLES.index(name))
    return mask


def _covered(who: Identities) -> Tensor:
    """Whether a cap or beanie hides the top of the hair (headphones do not)."""
    return (who.hat == 1) | (who.hat == 2)


def _add_hair_caps(build: _Assembler, who: Identities) -> None:
    """The shell of hair on the skull, and what hangs behind it."""
    width, height, depth = head_radii(who)
    hair = who.hair

    def shell(size: float) -> tuple[Tensor, Tensor, float]:
        return width * size, height * size, depth * size

    full = ~_hair_is(who, "short", "afro", "mohawk")
    short, mohawk, afro = (_hair_is(who, name) for name in ("short", "mohawk", "afro"))
    build.put(CAP_HAIR, (0, 0.47, -0.02), shell(1.11), hair, where=full, clip=(0, 0.8, -0.6, 0.2), gloss=0.5)
    near, tight = (0, 0.455, -0.01), (0, 0.84, -0.55, 0.28)
    build.put(CAP_HAIR, near, shell(1.035), hair * 0.9, where=short, clip=tight, gloss=0.1)
    shaved = hair * 0.6 + who.skin * 0.25
    build.put(CAP_HAIR, near, shell(1.02), shaved, where=mohawk, clip=tight, gloss=0.1)
    # A hat shrinks the afro, or the hat would drown in it.
    tall = torch.where(_covered(who), 0.82, 1.0)
    build.put(
        CAP_HAIR,
        (0, 0.62, -0.10),
        (width * 1.42 * tall, height * 1.30 * tall, depth * 1.32 * tall),
        hair,
        where=afro,
        clip=(0, 0.62, -0.78, -0.02),
        gloss=0.08,
    )
    long, bob = _hair_is(who, "long"), _hair_is(who, "bob")
    build.put(
        BACK_HAIR,
        (0, 0.05, -0.26),
        (0.74 * who.face_width, 0.98, 0.44),
        hair * 0.94,
        where=long,
        clip=(0, 0, -1, -0.45),
        gloss=0.5,
    )
    build.put(
        BACK_HAIR,
        (0, 0.32, -0.20),
        (0.76 * who.face_width, 0.66, 0.52),
        hair * 0.95,
        where=bob,
        clip=(0, 0, -1, -0.55),
        gloss=0.5,
    )


def _add_hair_extras(build: _Assembler, who: Identities) -> None:
    """Buns, tails, crests and fringes; all of them show from the front."""
    hair, bare = who.hair, ~_covered(who)
    bun, mohawk = _hair_is(who, "bun") & bare, _hair_is(who, "mohawk") & bare
    build.put(TOP_HAIR, (0, 1.20, -0.12), (0.28, 0.26, 0.28), hair, where=bun, gloss=0.5)
    build.put(TOP_HAIR, (0, 0.90, -0.10), (0.13, 0.50, 0.56), hair, where=mohawk, gloss=0.3)
    buns = _hair_is(who, "buns") & bare
    offset = 0.50 * who.face_width
    build.put(TOP_HAIR, (-offset, 1.02, -0.05), (0.25, 0.25, 0.25), hair, where=buns, gloss=0.5)
    build.put(TOP_HAIR_TWIN, (offset, 1.02, -0.05), (0.25, 0.25, 0.25), hair, where=buns, gloss=0.5)
    side = 0.86 * who.face_width
    pigtails, tail = _hair_is(who, "pigtails"), _hair_is(who, "side_tail")
    radii = (0.22, 0.42, 0.22)
    build.put(TAIL_LEFT, (-side, 0.28, -0.08), radii, hair, where=pigtails, tilt=(0, -0.22), gloss=0.5)
    build.put(TAIL_RIGHT, (side, 0.28, -0.08), radii, hair, where=pigtails, tilt=(0, 0.22), gloss=0.5)
    build.put(
        TAIL_RIGHT,
        (side * 0.97, 0.02, -0.06),
        (0.23, 0.66, 0.24),
        hair,
        where=tail,
        tilt=(0, 0.14),
        gloss=0.5,
    )
    lock = (_hair_is(who, "fringe") | tail) & bare
    build.put(
        FRINGE,
        (0.10, 0.94, 0.38),
        (0.48, 0.20, 0.27),
        hair * 1.04,
        where=lock,
        tilt=(0.45, -0.16),
        gloss=0.5,
    )
    straight = _hair_is(who, "bob", "pigtails", "buns") & bare
    build.put(FRINGE, (0, 0.89, 0.42), (0.51, 0.17, 0.22), hair, where=straight, tilt=(0.5, 0), gloss=0.5)
    swept = _hair_is(who, "long", "bun") & bare
    build.put(
        FRINGE,
        (-0.16, 0.93, 0.38),
        (0.43, 0.18, 0.24),
        hair * 1.03,
        where=swept,
        tilt=(0.45, 0.22),
        gloss=0.5,
    )


def _add_hats(build: _Assembler, who: Identities) -> None:
    width, height, depth = head_radii(who)
    colour = who.hat_colour
    cap, beanie, phones = who.hat == 1, who.hat == 2, who.hat == 3
    build.put(
        HAT,
        (0, 0.55, -0.02),
        (width * 1.16, height * 1.12, depth * 1.16),
        colour,
        where=cap,
        clip=(0, 1, -0.06, 0.24),
        gloss=0.1,
    )
    build.put(
        HAT_BRIM,
        (0, 0.735, 0.58),
        (0.42, 0.06, 0.46),
        colour * 0.85,
        where=cap,
        tilt=(-0.10, 0),
        gloss=0.1,
    )
    build.put(
        HAT,
        (0, 0.54, -0.02),
        (width * 1.16, height * 1.22, depth * 1.16),
        colour,
        where=beanie,
        clip=(0, 0.98, -0.2, 0.18),
        gloss=0.05,
    )
    build.put(
        HAT_BRIM,
        (0, 0.70, -0.04),
        (width * 1.18, 0.13, depth * 1.19),
        colour * 0.7 + 0.15,
        where=beanie,
        tilt=(-0.2, 0),
        gloss=0.05,
    )
    build.put(HAT_TOP, (0, 1.36, -0.03), (0.20, 0.19, 0.20), colour * 0.3 + 0.65, where=beanie, gloss=0.05)
    # A thin slab of a larger shell is the headband.
    build.put(
        HAT,
        (0, 0.50, 0.02),
        (width * 1.24, height * 1.26, 0.11),
        colour * 0.55,
        where=phones,
        clip=(0, 1, 0, 0.10),
        gloss=0.5,
    )
    for part, side in ((PHONE_LEFT, -1), (PHONE_RIGHT, 1)):
        build.put(part, (side * 1.10 * width, 0.42, 0.0), (0.15, 0.25, 0.25), colour, where=phones, gloss=0.6)


def _add_accessories(build: _Assembler, who: Identities) -> None:
    backpack, scarf = who.backpack > 0, who.scarf > 0
    build.put(BACKPACK, (0, -0.80, -0.46), (0.42, 0.50, 0.26), who.accent, where=backpack, gloss=0.25)
    wool = who.accent * 0.9 + 0.06
    build.put(SCARF, (0, -0.23, 0.02), (0.42, 0.16, 0.39), wool, where=scarf, tilt=(0.12, 0), gloss=0.05)
    build.put(
        SCARF_END,
        (0.17, -0.58, 0.37),
        (0.11, 0.32, 0.08),
        wool * 0.94,
        where=scarf,
        tilt=(-0.1, -0.08),
        gloss=0.05,
    )
