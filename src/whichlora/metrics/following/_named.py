"""Which verifier an edit belongs to, and edits that name a class of the figure reader (light, background, …)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whichlora.metrics._common import judged, missed, not_measured
from whichlora.metrics.base import View
from whichlora.types import EditCase, Measurement
from whichlora.vision import figure

TARGETS: Mapping[str, tuple[str, ...]] = {
    "camera": ("yaw_deg", "pitch_deg", "zoom", "view"),
    "lighting": ("light",),
    "background": ("background",),
    "expression": ("expression",),
}
"""Edit family → keys of a case's target that its verifier reads."""
PRESENT = 0.5
SURE = 0.5
"""Probability of the asked class from which on the edit counts as done."""


def asks_for(case: EditCase, family: str) -> bool:
    """Whether a case asks for an edit of this family: its own family, or a LoRA's own prompt with such a target."""
    return case.family == family or (case.family not in TARGETS and any(key in case.target for key in TARGETS[family]))


def asked_name(target: Mapping[str, Any], key: str, synonyms: Mapping[str, str]) -> str:
    """The class that a target names, in the vocabulary of its verifier; '' when it names none."""
    value = target.get(key)
    if not isinstance(value, str):
        return ""
    name = value.strip().lower().replace("_", " ").replace("-", " ")
    return synonyms.get(name, name)


def measure_class(view: View, output: str, asked: str) -> Measurement:
    """Probability 0–1 that the picture shows the asked class.

    Args:
        view: The picture and its source.
        output: Name of the reader's output, such as 'light'.
        asked: Class that the edit asks for.
    """
    if asked not in figure.class_names(output):
        return not_measured(f"the figure reader knows no {output} named '{asked}'")
    before, after = figure.read(view.source), figure.read(view.output)
    if after.present < PRESENT:
        return missed("no figure was found in the picture")
    was, now = before.best(output)[0], after.best(output)
    chance = after.classes[output][asked]
    detail = {"asked": asked, "before": was, "after": now[0], "after_probability": now[1],
              "before_probability": before.classes[output][asked]}
    if was == asked:
        return not_measured(f"the source already shows the {output} '{asked}'", detail)
    return judged(chance, now[0] == asked and chance >= SURE, f"shows '{now[0]}', '{asked}' was asked", detail)
