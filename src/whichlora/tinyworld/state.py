"""How a scene is set: camera, background, light and expression; and what an edit does to it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from whichlora.tinyworld.identity import Dice
from whichlora.tinyworld.records import TensorRecord

BACKGROUNDS = ("studio", "forest", "beach", "city", "room", "mountain")
LIGHTS = ("soft", "left", "right", "top", "back", "sunset", "neon", "moon")
EXPRESSIONS = ("neutral", "smile", "sad", "surprised", "angry")
# Camera edits that add to the yaw, in degrees; + moves the camera to the viewer's right.
YAW_STEPS = {
    "left_15": -15,
    "right_15": 15,
    "left_45": -45,
    "right_45": 45,
    "left_90": -90,
    "right_90": 90,
}
VIEWS = ("back", "front", "above", "below", "closeup")
CAMERA_EDITS = (*YAW_STEPS, *VIEWS)
PITCH_ABOVE = 0.45
PITCH_BELOW = -0.30
ZOOM_CLOSEUP = 1.35


@dataclass
class States(TensorRecord):
    """A batch of scene states.

    yaw and pitch are radians, zoom is a factor, strengths are 0..1; background, light and
    expression are class indices; background_style is n×3 sliders in 0..1.
    """

    yaw: Tensor
    pitch: Tensor
    zoom: Tensor
    background: Tensor
    background_style: Tensor
    light: Tensor
    light_strength: Tensor
    expression: Tensor
    expression_strength: Tensor


def wrapped(angle: Tensor) -> Tensor:
    """Angles brought to [-π, π)."""
    return torch.remainder(angle + math.pi + 1e-4, 2 * math.pi) - math.pi - 1e-4


def sample_states(count: int, device: torch.device | str = "cpu", generator: torch.Generator | None = None) -> States:
    """Random states: mostly frontal or half-profile, mostly soft light."""
    dice = Dice(count, device, generator)
    which = dice.unit()
    eighth = math.pi / 4
    front = torch.zeros(count, device=device)
    yaw = torch.where(which < 0.68, dice.sign() * eighth, (dice.unit() - 0.5) * 2 * 1.05)
    yaw = torch.where(which < 0.42, front, yaw)
    yaw = torch.where(which > 0.90, (dice.unit() - 0.5) * 2 * math.pi, yaw)
    soft, calm = dice.chance(0.45), dice.chance(0.4)
    light, expression = dice.whole(len(LIGHTS)), dice.whole(len(EXPRESSIONS))
    ones = torch.ones(count, device=device)
    return States(
        yaw=yaw,
        pitch=front.clone(),
        zoom=ones.clone(),
        background=dice.whole(len(BACKGROUNDS)),
        background_style=dice.unit(3),
        light=torch.where(soft, torch.zeros_like(light), light),
        light_strength=ones.clone(),
        expression=torch.where(calm, torch.zeros_like(expression), expression),
        expression_strength=ones.clone(),
    )


def plain_states(count: int, device: torch.device | str = "cpu") -> States:
    """Frontal, softly lit, neutral figures in the studio."""
    zeros = torch.zeros(count, device=device)
    classes = torch.zeros(count, device=device, dtype=torch.long)
    return States(
        yaw=zeros,
        pitch=zeros.clone(),
        zoom=zeros + 1,
        background=classes,
        background_style=torch.full((count, 3), 0.5, device=device),
        light=classes.clone(),
        light_strength=zeros + 1,
        expression=classes.clone(),
        expression_strength=zeros + 1,
    )


def camera_moved(states: States, edit: str, amount: float | Tensor = 1.0) -> States:
    """States after a camera edit; `amount` below 1 stops part of the way (0 = nothing)."""
    if edit in YAW_STEPS:
        turn = math.radians(YAW_STEPS[edit])
        return states.replaced(yaw=wrapped(states.yaw + turn * amount))
    if edit in ("back", "front"):
        goal = math.pi if edit == "back" else 0.0
        way = wrapped(goal - states.yaw)
        return states.replaced(yaw=wrapped(states.yaw + way * amount))
    if edit in ("above", "below"):
        goal = PITCH_ABOVE if edit == "above" else PITCH_BELOW
        return states.replaced(pitch=states.pitch + (goal - states.pitch) * amount)
    if edit == "closeup":
        return states.replaced(zoom=states.zoom + (ZOOM_CLOSEUP - states.zoom) * amount)
    raise KeyError(edit)


def edited(states: States, family: str, value: str) -> States:
    """States after one edit of `family` (camera, background, light, expression).

    Shirt edits change the identity, not the state: see `whichlora.tinyworld.edits`.
    """
    if family == "camera":
        return camera_moved(states, value)
    if family == "background":
        # Edits aim at the class's middle variant, so that there is one truth.
        return states.replaced(background=BACKGROUNDS.index(value), background_style=0.5)
    if family == "light":
        return states.replaced(light=LIGHTS.index(value), light_strength=1.0)
    if family == "expression":
        return states.replaced(expression=EXPRESSIONS.index(value), expression_strength=1.0)
    raise KeyError(family)
