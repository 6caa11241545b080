"""Ground truth: did an edit happen, and is it still the same person?

The world is procedural, so the right answer to every edit can be rendered, and so can the
wrong ones: the unedited picture, half-done edits, and near misses of the person with one
trait changed. A picture is judged by what it lies nearest to. Nothing here may steer a
decision of the product; tests and one column of a report read it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as nnf
from torch import Tensor

from whichlora.tinyworld.edits import Edit, apply_edits
from whichlora.tinyworld.identity import HAIR_STYLES, HATS, PATTERNS, TRAITS, Identities
from whichlora.tinyworld.render import render
from whichlora.tinyworld.state import BACKGROUNDS, EXPRESSIONS, LIGHTS, States, camera_moved, edited

GRADE_SIZE = 64
# Two candidates that differ by less than this (mean square over the picture) look the same.
VISIBLE = 1.0e-4
# A figure farther than this from its nearest truth (root mean square) is broken.
BROKEN = 0.20
# Lights and expressions: strengths that count as done, though weak, and as not done.
WEAK_BUT_DONE = 0.65
FAINT = 0.3
# A colour that strayed farther than this (RGB distance) is another colour; palettes are at
# least twice as far apart. Irises are a few pixels, so they are judged more leniently.
COLOUR_TOLERANCE = {"skin": 0.12, "hair_colour": 0.15, "shirt": 0.15, "accent": 0.18, "eyes": 0.26}
# How much of a trait must show to be judged (mean square change over the picture, of colours
# from black to white): about a fifth of what the front shows. A sliver of an iris in profile, or
# a temple seen from behind, tells nobody who it is.
SHOWN_COLOUR = {"skin": 6e-3, "hair_colour": 6e-3, "shirt": 6e-3, "accent": 6e-3, "eyes": 1.2e-3}
SHOWN_CLASS = 5e-4
CLASS_SIZES = {
    "hair_style": len(HAIR_STYLES),
    "hat": len(HATS),
    "pattern": len(PATTERNS),
    "glasses": 2,
    "backpack": 2,
    "scarf": 2,
}


@dataclass(frozen=True)
class Grade:
    """What one output picture truly is."""

    edit_done: bool
    identity_kept: bool
    lost_traits: tuple[str, ...]
    distance: float
    nearest_state: str

    @property
    def consistent(self) -> bool:
        """The edit happened and the person is the same."""
        return self.edit_done and self.identity_kept


def right_states(states: States, edits: tuple[Edit, ...]) -> dict[str, States]:
    """The truth, and what still counts as it: a turn a tenth off, a somewhat weak light.

    The person is judged in the nearest of them, so that a small fault of the edit is not
    taken for a change of the person.
    """
    done = _moved(states, edits)
    right = {"done": done}
    for edit in edits:
        if edit.family == "camera":
            rest = _moved(states, tuple(other for other in edits if other != edit))
            right["turned_less"] = camera_moved(rest, edit.value, 0.9)
            right["turned_more"] = camera_moved(rest, edit.value, 1.1)
        elif edit.family == "light":
            right["lit_less"] = done.replaced(light_strength=WEAK_BUT_DONE)
        elif edit.family == "expression":
            right["shown_less"] = done.replaced(expression_strength=WEAK_BUT_DONE)
    return right


def wrong_states(states: States, edits: tuple[Edit, ...]) -> dict[str, States]:
    """Scenes that a failed edit might show instead of the truth, by name."""
    wrong = {"unedited": states}
    for position, edit in enumerate(edits):
        others = edits[:position] + edits[position + 1 :]
        rest = _moved(states, others)
        if others:
            wrong[f"without_{edit.family}"] = rest
        if edit.family == "camera":
            wrong["half_turn"] = camera_moved(rest, edit.value, 0.45)
            if "_" in edit.value:
                wrong["wrong_way"] = camera_moved(rest, edit.value, -1.0)
                wrong["too_far"] = camera_moved(rest, edit.value, 1.6)
        else:
            wrong |= _other_classes(rest, edit)
            strength = f"{edit.family}_strength"
            if hasattr(states, strength):
                faint = _moved(states, edits).replaced(**{strength: FAINT})
                wrong[f"faint_{edit.family}"] = faint
    return wrong


def _moved(states: States, edits: tuple[Edit, ...]) -> States:
    for edit in edits:
        if edit.family != "shirt":
            states = edited(states, edit.family, edit.value)
    return states


def _other_classes(states: States, edit: Edit) -> dict[str, States]:
    names = {"background": BACKGROUNDS, "light": LIGHTS, "expression": EXPRESSIONS}
    if edit.family not in names:
        return {}
    values = [v for v in names[edit.family] if v != edit.value]
    return {f"{edit.family}_{v}": _moved(states, (Edit(edit.family, v),)) for v in values}


def _near_misses(who: Identities) -> tuple[list[str], Identities]:
    """The person (one identity in) with each colour black and white, and each class changed."""
    names: list[str] = []
    people: list[Identities] = []
    for trait in COLOUR_TOLERANCE:
        for level in (0.0, 1.0):
            fields = [field for field in TRAITS[trait] if field != "shirt_index"]
            people.append(who.replaced(**dict.fromkeys(fields, level)))
            names.append(trait)
    for trait, size in CLASS_SIZES.items():
        current = int(getattr(who, trait))
        for value in (v for v in range(size) if v != current):
            people.append(who.replaced(**{trait: value}))
            names.append(trait)
    return names, Identities.concat(people)


def _shrunk(images: Tensor) -> Tensor:
    if images.shape[-1] == GRADE_SIZE:
        return images
    return nnf.interpolate(images, (GRADE_SIZE, GRADE_SIZE), mode="area")


class TruthGrader:
    """Grades edited pictures of known figures; renders each set of candidates once."""

    def __init__(self) -> None:
        self._cache: dict[tuple, tuple[Tensor, Tensor]] = {}

    def grade(
        self,
        image: Tensor,
        who: Identities,
        states: States,
        edits: tuple[Edit, ...],
        name: str = "",
    ) -> Grade:
        """Grade one picture (3×h×w in 0..1) of one figure in one source scene.

        `name` identifies figure and scene, so that their renders can be kept between calls.
        """
        picture = _shrunk(image[None].float())
        true_who, _ = apply_edits(who, states, edits)
        right = right_states(states, edits)
        options = right | wrong_states(states, edits)
        people = [true_who] * len(options)
        if any(edit.family == "shirt" for edit in edits):
            people[len(right)] = who  # the unedited picture also has the unedited shirt
        truths, masks = self._rendered(
            ("states", name, edits), Identities.concat(people), States.concat(list(options.values()))
        )
        nearest = int(_nearest_state(picture, truths, len(right)))
        state_name, state = list(options.items())[nearest]
        names, crowd = _near_misses(people[nearest])
        strangers, _ = self._rendered(("people", name, edits, state_name), crowd, state.repeated(len(names)))
        lost = self._lost_traits(picture, truths[nearest], strangers, names)
        mask = masks[nearest].clamp_min(0.02)
        distance = ((picture[0] - truths[nearest]) ** 2 * mask).sum() / (3 * mask.sum())
        distance = float(distance.sqrt())
        return Grade(
            edit_done=nearest < len(right),
            identity_kept=not lost and distance < BROKEN,
            lost_traits=lost,
            distance=distance,
            nearest_state=state_name,
        )

    def _rendered(self, key: tuple, who: Identities, states: States) -> tuple[Tensor, Tensor]:
        if key not in self._cache or not key[1]:
            self._cache[key] = render(who, states, size=GRADE_SIZE)
        return self._cache[key]

    @staticmethod
    def _lost_traits(picture: Tensor, truth: Tensor, strangers: Tensor, names: list[str]) -> tuple[str, ...]:
        """Traits in which the picture is another person's."""
        lost: list[str] = []
        for trait in COLOUR_TOLERANCE:
            first = names.index(trait)
            extremes = strangers[first : first + 2]
            shift = _colour_shift(picture, truth, extremes, SHOWN_COLOUR[trait])
            if shift > COLOUR_TOLERANCE[trait]:
                lost.append(trait)
        for trait in CLASS_SIZES:
            rows = [i for i, name in enumerate(names) if name == trait]
            if _nearer_to_stranger(picture, truth, strangers[rows]):
                lost.append(trait)
        return tuple(lost)


def _nearest_state(picture: Tensor, truths: Tensor, right: int) -> Tensor:
    """Row of the nearest candidate; wrong ones that look like the truth do not count."""
    distance = ((picture - truths) ** 2).mean((1, 2, 3))
    same = ((truths[right:] - truths[:1]) ** 2).mean((1, 2, 3)) < VISIBLE
    far = torch.full_like(distance[right:], 1e9)
    distance[right:] = torch.where(same, far, distance[right:])
    return distance.argmin()


def _colour_shift(picture: Tensor, truth: Tensor, extremes: Tensor, shown_enough: float) -> float:
    """How far a colour strayed (RGB distance), by least squares.

    Shading is linear in colour, so the picture with the colour white minus the one with it
    black says how much each pixel shows of it. A colour that is hardly seen has not strayed.
    """
    shown = extremes[1] - extremes[0]
    energy = (shown**2).sum((1, 2))
    if float(energy.mean()) / picture[0, 0].numel() < shown_enough:
        return 0.0
    shift = ((picture[0] - truth) * shown).sum((1, 2)) / energy.clamp_min(1e-6)
    return float(shift.norm())


def _nearer_to_stranger(picture: Tensor, truth: Tensor, strangers: Tensor) -> bool:
    """Whether the picture lies nearer to one of the near misses than to the truth."""
    change = strangers - truth
    energy = (change**2).mean((1, 2, 3))
    share = ((picture - truth) * change).mean((1, 2, 3)) / energy.clamp_min(1e-9)
    return bool(((energy > SHOWN_CLASS) & (share > 0.5)).any())
