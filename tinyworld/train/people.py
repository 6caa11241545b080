"""A pool of single pictures in groups: one person four times, and near misses of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from settings import Job
from torch import Tensor

from data import rendered
from whichlora.tinyworld.identity import TRAITS, Dice, Identities, drifted, sample_identities
from whichlora.tinyworld.state import (
    PITCH_ABOVE,
    PITCH_BELOW,
    ZOOM_CLOSEUP,
    States,
    sample_states,
)

VIEWS_OF_PERSON = 4
NEAR_MISSES = 2
GROUP = VIEWS_OF_PERSON + NEAR_MISSES


@dataclass
class PeoplePool:
    """Pictures in groups of GROUP: the person's views first, then the near misses."""

    pictures: Tensor  # uint8
    masks: Tensor
    who: Identities
    states: States
    empty: Tensor  # uint8 backdrops without a figure


def varied_states(count: int, device: torch.device, generator: torch.Generator | None = None) -> States:
    """States as edits leave them: any yaw now and then, tilted or close cameras, weak lights."""
    dice = Dice(count, device, generator)
    states = sample_states(count, device, generator)
    which = dice.unit()
    pitch = torch.where(which < 0.08, PITCH_ABOVE * dice.unit().clamp_min(0.3), states.pitch)
    pitch = torch.where((which > 0.08) & (which < 0.16), torch.full_like(pitch, PITCH_BELOW), pitch)
    zoom = torch.where(which > 0.92, 1 + (ZOOM_CLOSEUP - 1) * dice.unit(), states.zoom)
    any_yaw = torch.where(dice.chance(0.35), (dice.unit() * 2 - 1) * math.pi * 0.6, states.yaw)
    canonical = dice.chance(0.4)[:, None]
    style = torch.where(canonical, torch.full_like(states.background_style, 0.5), states.background_style)
    weak = torch.where(dice.chance(0.15), 0.5 + 0.5 * dice.unit(), states.light_strength)
    return states.replaced(pitch=pitch, zoom=zoom, yaw=any_yaw, background_style=style, light_strength=weak)


def build_pool(job: Job, groups: int, seed: int = 31) -> PeoplePool:
    """Render the pool; every process of a run makes its own."""
    generator = torch.Generator(job.device).manual_seed(seed + job.rank)
    person = sample_identities(groups, job.device, generator)
    members = [person] * VIEWS_OF_PERSON
    for _ in range(NEAR_MISSES):
        dice = Dice(groups, job.device, generator)
        # One sure trait and, now and then, more: near misses should be near.
        sure = dice.whole(len(TRAITS))
        chosen = {trait: (sure == i) | dice.chance(0.08) for i, trait in enumerate(TRAITS)}
        members.append(drifted(person, chosen, generator))
    who = Identities.interleave(members)
    states = varied_states(len(who), job.device, generator)
    pictures, masks = rendered(who, states, job)
    bare = slice(0, min(len(who), 896))
    nobody = torch.zeros(len(who), dtype=torch.bool, device=job.device)[bare]
    empty, _ = rendered(who.select(bare), states.select(bare), job, nobody)
    return PeoplePool(pictures, masks, who, states, empty)
