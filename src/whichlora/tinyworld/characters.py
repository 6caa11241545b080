"""The demonstration's character, look-alikes who are not her, and their pictures on disk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from whichlora.tinyworld.identity import (
    HAIR_STYLES,
    HATS,
    PATTERNS,
    SHIRT_COLOURS,
    SHIRT_NAMES,
    Identities,
    palette,
)
from whichlora.tinyworld.render import render
from whichlora.tinyworld.state import BACKGROUNDS, EXPRESSIONS, LIGHTS, States, plain_states

CHARACTER_NAME = "Mina"
REFERENCE_COUNT = 12


@dataclass(frozen=True)
class Scene:
    """One reference picture: camera yaw in degrees, background, light, expression."""

    yaw: float
    background: str
    light: str
    expression: str
    style: tuple[float, float, float] = (0.5, 0.5, 0.5)


REFERENCE_SCENES = (
    Scene(0, "studio", "soft", "neutral", (0.4, 0.8, 0.5)),
    Scene(0, "forest", "soft", "smile", (0.3, 0.5, 0.6)),
    Scene(45, "beach", "soft", "neutral", (0.6, 0.5, 0.4)),
    Scene(-45, "room", "soft", "smile", (0.5, 0.2, 0.5)),
    Scene(0, "mountain", "left", "neutral", (0.7, 0.5, 0.3)),
    Scene(20, "mountain", "soft", "surprised", (0.4, 0.5, 0.5)),
    Scene(-20, "studio", "sunset", "smile", (0.5, 0.1, 0.5)),
    Scene(0, "room", "right", "sad", (0.6, 0.9, 0.6)),
    Scene(30, "forest", "soft", "angry", (0.8, 0.5, 0.4)),
    Scene(-35, "beach", "soft", "neutral", (0.2, 0.5, 0.7)),
    Scene(0, "beach", "top", "smile", (0.5, 0.5, 0.9)),
    Scene(0, "mountain", "soft", "neutral", (0.2, 0.5, 0.6)),
)


def _shirt(name: str) -> tuple[Tensor, Tensor]:
    index = torch.tensor([SHIRT_NAMES.index(name)])
    return palette(SHIRT_COLOURS.values(), index), index


def mina() -> Identities:
    """The demonstration's character: side tail, round glasses, striped teal jumper, red scarf."""
    shirt, shirt_index = _shirt("teal")
    second, _ = _shirt("yellow")

    def colour(red: float, green: float, blue: float) -> Tensor:
        return torch.tensor([[red, green, blue]])

    def number(value: float) -> Tensor:
        return torch.tensor([value])

    def choice(value: int) -> Tensor:
        return torch.tensor([value])

    return Identities(
        skin=colour(0.92, 0.71, 0.55),
        hair=colour(0.50, 0.19, 0.12),
        eyes=colour(0.14, 0.50, 0.27),
        shirt=shirt,
        shirt_second=second,
        accent=colour(0.80, 0.17, 0.16),
        hat_colour=colour(0.80, 0.17, 0.16),
        shirt_index=shirt_index,
        hair_style=choice(HAIR_STYLES.index("side_tail")),
        hat=choice(HATS.index("none")),
        pattern=choice(PATTERNS.index("stripes")),
        glasses=choice(1),
        backpack=choice(0),
        scarf=choice(1),
        freckles=choice(1),
        face_width=number(0.99),
        face_height=number(1.0),
        body_width=number(0.97),
        eye_size=number(1.05),
    )


def impostors() -> dict[str, Identities]:
    """Look-alikes of Mina by what differs, and two strangers."""
    from whichlora.tinyworld.identity import sample_identities

    who = mina()
    purple, purple_index = _shirt("purple")
    strangers = sample_identities(2, generator=torch.Generator().manual_seed(404))
    return {
        "hair_black": who.replaced(hair=torch.tensor([[0.10, 0.08, 0.08]])),
        "hair_bob": who.replaced(hair_style=HAIR_STYLES.index("bob")),
        "hair_afro": who.replaced(hair_style=HAIR_STYLES.index("afro")),
        "skin_dark": who.replaced(skin=torch.tensor([[0.50, 0.31, 0.19]])),
        "no_glasses": who.replaced(glasses=0),
        "purple_shirt": who.replaced(shirt=purple, shirt_index=purple_index),
        "with_cap": who.replaced(hat=HATS.index("cap")),
        "blond_no_glasses": who.replaced(hair=torch.tensor([[0.90, 0.70, 0.32]]), glasses=0),
        "stranger_one": strangers.select([0]),
        "stranger_two": strangers.select([1]),
    }


def reference_states(count: int = REFERENCE_COUNT) -> States:
    """Scenes of the first `count` reference pictures (more than twelve repeat)."""
    scenes = [REFERENCE_SCENES[i % len(REFERENCE_SCENES)] for i in range(count)]
    return plain_states(count).replaced(
        yaw=torch.tensor([math.radians(scene.yaw) for scene in scenes]),
        background=torch.tensor([BACKGROUNDS.index(scene.background) for scene in scenes]),
        light=torch.tensor([LIGHTS.index(scene.light) for scene in scenes]),
        expression=torch.tensor([EXPRESSIONS.index(scene.expression) for scene in scenes]),
        background_style=torch.tensor([scene.style for scene in scenes]),
    )


def to_image(picture: Tensor) -> Image.Image:
    """A PIL picture of a tensor 3×h×w in 0..1."""
    pixels = (picture.clamp(0, 1).permute(1, 2, 0) * 255).round().byte().cpu().numpy()
    return Image.fromarray(pixels)


def write_demo_references(folder: Path, count: int = 10) -> list[Path]:
    """Render Mina's reference pictures as mina_01.png …; returns their paths."""
    pictures, _ = render(mina().repeated(count), reference_states(count))
    names = [f"mina_{i + 1:02d}.png" for i in range(count)]
    return _written(folder, names, pictures)


def write_impostors(folder: Path) -> list[Path]:
    """Render each impostor twice (frontal in the studio, turned in the forest)."""
    everyone = impostors()
    who = Identities.concat([person.repeated(2) for person in everyone.values()])
    states = reference_states(4).select([0, 2]).select([0, 1] * len(everyone))
    pictures, _ = render(who, states)
    names = [f"{name}_{i + 1}.png" for name in everyone for i in range(2)]
    return _written(folder, names, pictures)


def _written(folder: Path, names: list[str], pictures: Tensor) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in names]
    for path, picture in zip(paths, pictures, strict=True):
        to_image(picture).save(path)
    return paths
