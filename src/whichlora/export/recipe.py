"""What the survey knows of how LoRAs for the wanted capabilities were trained, as settings to start from.

Only stated or proven facts enter (headers, cards, file sizes); each setting says where it comes from. None of it is a
measurement: who trains must compare the checkpoints.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from whichlora.survey import catalog
from whichlora.survey.bases import EDIT_LINE, canonical
from whichlora.survey.entry import SurveyEntry
from whichlora.survey.relevance import rate

AXIS_OF: Mapping[str, str] = {
    "camera": "angle", "lighting": "lighting", "background": "background", "expression": "identity",
    "trigger": "identity",
}
"""Capability → the survey's axis that concerns it; keeping the character ('identity') concerns every capability."""
_ENOUGH = 4
"""Relevance from which a LoRA is one to learn from."""
_FEWEST_RATES = 3
"""Learning rates that must be stated before they outweigh the trainer's own example."""
STEPS_A_PAIR = 60
"""Assumed: how often a training sees each pair, when nobody's steps are known for so small a set."""
FEWEST_STEPS, MOST_STEPS = 500, 3000
"""ai-toolkit's example calls 500 to 4000 steps a good range and sets 3000."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings to start from, each with its reason in one sentence."""

    rank: int
    rank_why: str
    steps: int
    steps_why: str
    learning_rate: float | None
    """None: each trainer's own documented value."""
    learning_rate_why: str
    examples: tuple[str, ...]
    """Surveyed LoRAs to learn from, with what is known of them."""


def learn(capabilities: Collection[str], pairs: int, entries: Iterable[SurveyEntry] | None = None) -> Recipe:
    """Settings from what is known of the LoRAs made for these capabilities.

    Args:
        capabilities: What the new LoRA shall do.
        pairs: Pictures in the data set.
        entries: Surveyed repositories; the bundled catalogue's without it.
    """
    axes = {AXIS_OF[name] for name in capabilities if name in AXIS_OF} | {"identity"}
    peers = [entry for entry in (catalog.load() if entries is None else entries) if _concerns(entry, axes)]
    ranks = [(entry, entry.training.rank) for entry in peers if entry.training.rank]
    rates = [(entry, entry.training.learning_rate) for entry in peers if entry.training.learning_rate]
    rank = _power_of_two(median(value for _, value in ranks)) if ranks else 16
    rank_why = (
        f"middle of {len(ranks)} surveyed LoRAs for {', '.join(sorted(axes))}: {_shown(ranks)}" if ranks
        else "ai-toolkit's and musubi-tuner's examples"
    )
    steps = max(FEWEST_STEPS, min(MOST_STEPS, pairs * STEPS_A_PAIR))
    stated = [(entry, entry.training.steps) for entry in peers if entry.training.steps]
    steps_why = (
        f"assumed: {STEPS_A_PAIR} times {pairs} pairs, within {FEWEST_STEPS} to {MOST_STEPS}; surveyed: "
        f"{_shown(stated) if stated else 'nobody says'}"
    )
    rate_why = f"surveyed: {_shown(rates)}" if rates else "no surveyed LoRA states one"
    if len(rates) < _FEWEST_RATES:
        rate_why = f"the trainer's own example; {rate_why}"
    learning_rate = float(median(value for _, value in rates)) if len(rates) >= _FEWEST_RATES else None
    return Recipe(
        rank, rank_why, steps, steps_why, learning_rate, rate_why,
        tuple(_example(entry) for entry in peers if entry.training.known())[:8],
    )


def _concerns(entry: SurveyEntry, axes: Collection[str]) -> bool:
    """A LoRA of the editing line that is made for one of the axes; distilled samplers are not."""
    bases = {canonical(base) for base in entry.card_bases}
    if entry.kind != "lora" or not bases & set(EDIT_LINE):
        return False
    ratings = rate(entry)
    return any(ratings[axis].value >= _ENOUGH for axis in axes)


def _power_of_two(value: float) -> int:
    return min((4, 8, 16, 32, 64, 128), key=lambda rank: abs(rank - value))


def _shown(rows: Iterable[tuple[SurveyEntry, float | int | None]]) -> str:
    return ", ".join(f"{entry.repo_id} {value:g}" for entry, value in rows)


def _example(entry: SurveyEntry) -> str:
    known = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in entry.training.known().items())
    return f"{entry.repo_id}: {known}"
