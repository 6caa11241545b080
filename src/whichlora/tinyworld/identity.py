"""Who a toy figure is: colours, hair, clothes, accessories and proportions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from whichlora.tinyworld.records import TensorRecord

HAIR_STYLES = (
    "short",
    "fringe",
    "bob",
    "long",
    "bun",
    "side_tail",
    "pigtails",
    "afro",
    "mohawk",
    "buns",
)
HATS = ("none", "cap", "beanie", "headphones")
PATTERNS = ("plain", "stripes", "dots", "yoke")
SHIRT_COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.82, 0.14, 0.13),
    "orange": (0.95, 0.48, 0.10),
    "yellow": (0.96, 0.80, 0.18),
    "green": (0.16, 0.58, 0.25),
    "teal": (0.10, 0.60, 0.60),
    "blue": (0.14, 0.34, 0.80),
    "purple": (0.48, 0.22, 0.68),
    "pink": (0.95, 0.48, 0.64),
    "white": (0.93, 0.93, 0.92),
    "black": (0.12, 0.12, 0.14),
}
SHIRT_NAMES = tuple(SHIRT_COLOURS)
SKIN_TONES = (
    (0.98, 0.82, 0.70),
    (0.93, 0.72, 0.56),
    (0.84, 0.60, 0.42),
    (0.68, 0.45, 0.29),
    (0.50, 0.31, 0.19),
    (0.36, 0.22, 0.14),
)
HAIR_TONES = (
    (0.10, 0.08, 0.08),
    (0.30, 0.17, 0.09),
    (0.52, 0.28, 0.12),
    (0.90, 0.70, 0.32),
    (0.75, 0.26, 0.08),
    (0.72, 0.72, 0.75),
    (0.90, 0.42, 0.62),
    (0.22, 0.46, 0.85),
    (0.30, 0.65, 0.45),
)
EYE_TONES = (
    (0.33, 0.19, 0.08),
    (0.12, 0.42, 0.75),
    (0.14, 0.52, 0.26),
    (0.42, 0.44, 0.48),
    (0.60, 0.42, 0.08),
    (0.42, 0.22, 0.62),
)

# What may change when an identity drifts: one entry is one visible trait.
TRAITS: dict[str, tuple[str, ...]] = {
    "skin": ("skin",),
    "hair_colour": ("hair",),
    "eyes": ("eyes",),
    "shirt": ("shirt", "shirt_index"),
    "accent": ("accent", "hat_colour"),
    "hair_style": ("hair_style",),
    "glasses": ("glasses",),
    "hat": ("hat",),
    "backpack": ("backpack",),
    "pattern": ("pattern", "shirt_second"),
    "scarf": ("scarf",),
}


@dataclass
class Identities(TensorRecord):
    """A batch of identities. Colours are n×3 in 0..1, classes are n integers."""

    skin: Tensor
    hair: Tensor
    eyes: Tensor
    shirt: Tensor
    shirt_second: Tensor
    accent: Tensor
    hat_colour: Tensor
    shirt_index: Tensor
    hair_style: Tensor
    hat: Tensor
    pattern: Tensor
    glasses: Tensor
    backpack: Tensor
    scarf: Tensor
    freckles: Tensor
    face_width: Tensor
    face_height: Tensor
    body_width: Tensor
    eye_size: Tensor


class Dice:
    """Seeded random draws of one batch size on one device."""

    def __init__(self, count: int, device: torch.device | str, generator: torch.Generator | None = None) -> None:
        self.count = count
        self.device = torch.device(device)
        self.generator = generator

    def whole(self, sides: int) -> Tensor:
        """Integers 0..sides-1, shape n."""
        return torch.randint(0, sides, (self.count,), device=self.device, generator=self.generator)

    def unit(self, *shape: int) -> Tensor:
        """Uniform numbers in 0..1, shape n×shape."""
        return torch.rand(self.count, *shape, device=self.device, generator=self.generator)

    def chance(self, probability: float) -> Tensor:
        """Booleans that hold with `probability`, shape n."""
        return self.unit() < probability

    def sign(self) -> Tensor:
        """-1 or +1 as floats, shape n."""
        return self.whole(2).float() * 2 - 1

    def other(self, current: Tensor, sides: int) -> Tensor:
        """A class different from `current` among `sides`."""
        return (current + 1 + self.whole(sides - 1)) % sides


def palette(colours: object, index: Tensor) -> Tensor:
    """Rows of a colour table, n×3."""
    return torch.tensor(list(colours), device=index.device, dtype=torch.float32)[index]


def sample_identities(
    count: int, device: torch.device | str = "cpu", generator: torch.Generator | None = None
) -> Identities:
    """Random identities; every trait can be seen from the front, so every edit has one truth."""
    dice = Dice(count, device, generator)

    def tinted(colours: object, sides: int, spread: float) -> Tensor:
        base = palette(colours, dice.whole(sides))
        return (base + spread * (dice.unit(3) - 0.5)).clamp(0.03, 0.98)

    shirts = list(SHIRT_COLOURS.values())
    shirt_index = dice.whole(len(shirts))
    hat = torch.where(dice.chance(0.36), 1 + dice.whole(3), torch.zeros_like(shirt_index))
    return Identities(
        skin=tinted(SKIN_TONES, 6, 0.05),
        hair=tinted(HAIR_TONES, 9, 0.08),
        eyes=tinted(EYE_TONES, 6, 0.06),
        shirt=palette(shirts, shirt_index),
        shirt_second=palette(shirts, dice.other(shirt_index, len(shirts))),
        accent=tinted(shirts, 10, 0.1),
        hat_colour=tinted(shirts, 10, 0.1),
        shirt_index=shirt_index,
        hair_style=dice.whole(len(HAIR_STYLES)),
        hat=hat,
        pattern=dice.whole(len(PATTERNS)),
        glasses=dice.chance(0.35).long(),
        backpack=dice.chance(0.35).long(),
        scarf=dice.chance(0.3).long(),
        freckles=dice.chance(0.25).long(),
        face_width=0.92 + 0.16 * dice.unit(),
        face_height=0.94 + 0.12 * dice.unit(),
        body_width=0.88 + 0.26 * dice.unit(),
        eye_size=0.9 + 0.22 * dice.unit(),
    )


def drifted(identities: Identities, chosen: dict[str, Tensor], generator: torch.Generator | None = None) -> Identities:
    """Near misses: each trait in `chosen` (trait → n booleans) is replaced by a stranger's."""
    stranger = sample_identities(len(identities), identities.device, generator)
    stranger = _made_different(identities, stranger)
    changes: dict[str, Tensor] = {}
    for trait, mask in chosen.items():
        for name in TRAITS[trait]:
            old, new = getattr(identities, name), getattr(stranger, name)
            changes[name] = torch.where(mask.view(-1, *[1] * (old.dim() - 1)), new, old)
    return identities.replaced(**changes)


def _made_different(identities: Identities, stranger: Identities) -> Identities:
    """Strangers whose every trait truly differs: colours far off, classes not equal."""
    shirts = list(SHIRT_COLOURS.values())
    step = 1 + stranger.shirt_index % (len(shirts) - 1)
    shirt_index = (identities.shirt_index + step) % len(shirts)

    def pushed(name: str, colours: object) -> Tensor:
        old, new = getattr(identities, name), getattr(stranger, name)
        table = palette(colours, torch.arange(len(list(colours)), device=old.device))
        farthest = table[(table[None] - old[:, None]).norm(dim=-1).argmax(1)]
        near = (old - new).norm(dim=-1, keepdim=True) < 0.28
        return torch.where(near, farthest, new)

    def next_class(name: str, sides: int) -> Tensor:
        old, new = getattr(identities, name), getattr(stranger, name)
        return torch.where(old == new, (old + 1) % sides, new)

    return stranger.replaced(
        skin=pushed("skin", SKIN_TONES),
        hair=pushed("hair", HAIR_TONES),
        eyes=pushed("eyes", EYE_TONES),
        shirt=palette(shirts, shirt_index),
        shirt_index=shirt_index,
        accent=pushed("accent", shirts),
        hat_colour=pushed("hat_colour", shirts),
        hair_style=next_class("hair_style", len(HAIR_STYLES)),
        hat=next_class("hat", len(HATS)),
        pattern=next_class("pattern", len(PATTERNS)),
        glasses=1 - identities.glasses,
        backpack=1 - identities.backpack,
        scarf=1 - identities.scarf,
    )
