"""Edits: what may be asked of a picture, and the scene that fulfils it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from whichlora.tinyworld.identity import SHIRT_COLOURS, SHIRT_NAMES, Identities, palette
from whichlora.tinyworld.state import (
    BACKGROUNDS,
    CAMERA_EDITS,
    EXPRESSIONS,
    LIGHTS,
    States,
    edited,
)

FAMILIES = ("camera", "background", "light", "expression", "shirt")


@dataclass(frozen=True)
class Edit:
    """One edit: a family and one of its values, e.g. camera / left_45."""

    family: str
    value: str


_VALUES = {
    "camera": CAMERA_EDITS,
    "background": BACKGROUNDS,
    "light": LIGHTS,
    "expression": EXPRESSIONS,
    "shirt": SHIRT_NAMES,
}
EDITS = tuple(Edit(family, value) for family in FAMILIES for value in _VALUES[family])


def _compounds() -> tuple[tuple[Edit, Edit], ...]:
    turns = [Edit("camera", v) for v in ("left_45", "right_45", "left_90", "right_90")]
    lights = [e for e in EDITS if e.family == "light"]
    places = [e for e in EDITS if e.family == "background"]
    pairs = [(t, e) for t in turns for e in (*lights, *places)]
    return (*pairs, *((p, e) for p in places for e in lights))


COMPOUND_EDITS = _compounds()


def apply_edits(who: Identities, states: States, edits: tuple[Edit, ...]) -> tuple[Identities, States]:
    """The scene after all `edits`: the one truth an editor should reach."""
    for edit in edits:
        if edit.family == "shirt":
            index = torch.full_like(who.shirt_index, SHIRT_NAMES.index(edit.value))
            who = who.replaced(shirt=palette(SHIRT_COLOURS.values(), index), shirt_index=index)
        else:
            states = edited(states, edit.family, edit.value)
    return who, states
