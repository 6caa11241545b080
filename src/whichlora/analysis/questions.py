"""The brief's five open questions: the answer used, its reason, and the flag that changes it.

Also says which photographs are one picture. Does: word these from a plan and settings, for the plan before anything is
spent and for the report. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from whichlora.analysis.ledger import Ledger
from whichlora.analysis.settings import Settings
from whichlora.analysis.table import same_pictures
from whichlora.types import Plan


def questions(plan: Plan, ledger: Ledger, settings: Settings | None = None) -> tuple[Mapping[str, str], ...]:
    """Question, default, reason and flag of each.

    Args:
        plan: What is compared.
        ledger: Where every figure is stored; a fresh one where nothing else is worded.
        settings: What the user set; defaults otherwise.
    """
    chosen = settings or Settings()
    stacks = ledger.put("plan.stacks", sum(len(c.adapters) > 1 for c in plan.candidates), "count")
    combined = ledger.say(
        f"Those that the plan names: {stacks}. 'whichlora combine' adds pairs of LoRAs that complete each other."
    )
    count = len({source.sha256 or source.id for source in plan.sources})
    photos = f"{ledger.put('plan.photos', count, 'count')} photograph{'' if count == 1 else 's'}"
    given = ledger.say(f"The {photos} given, checked for sharpness, face size, pose and variety.")
    return (
        {
            "question": "What is the lowest quality at which a LoRA is viable?",
            "default": _viable(plan, ledger, chosen),
            "reason": "The suite's target. It must be shown with its bound, as the plain rate of a winner flatters.",
            "flag": "report --target, --threshold identity=0.9, --max-seconds, --max-vram; "
                    "target:, thresholds:, max_seconds:, max_vram_gib: in whichlora.yaml",
        },
        {
            "question": "Which photographs represent the use?",
            "default": given,
            "reason": "Photographs are the independent units: their number limits what can be shown.",
            "flag": "init --refs; sources: in whichlora.yaml",
        },
        {
            "question": "How many combinations are tested?",
            "default": combined,
            "reason": "A stack is judged by its own pictures, as LoRAs weaken each other unpredictably.",
            "flag": "candidates: in whichlora.yaml (a.safetensors:0.8 + b.safetensors:1.0)",
        },
        {
            "question": "What is measured beyond the character's consistency?",
            "default": "Edit done, identity, preservation, drift, artefacts, time and memory, each on its own.",
            "reason": "Consistency alone rewards doing nothing.",
            "flag": "report --without METRIC lets one inform without deciding",
        },
        {
            "question": "Which weights do the quality factors get?",
            "default": _weights(ledger, chosen),
            "reason": "Unknown weights are drawn at random too, and the report says when the choice hangs on them.",
            "flag": "report --must-have, --weight camera=2; must_have:, weights: in whichlora.yaml",
        },
    )


def twins(plan: Plan) -> tuple[str, ...]:
    """One sentence for every photograph that is the same picture as an earlier one."""
    return tuple(
        f"Photographs {twin} and {first} are the same picture: they count as one."
        for twin, first in same_pictures(plan).items() if twin != first
    )


def _viable(plan: Plan, ledger: Ledger, settings: Settings) -> str:
    text = f"A consistency rate of {ledger.put('target', plan.target, 'percent')} per must-have"
    own = [
        f"{name} {ledger.put(f'threshold/{name}', value, 'percent')}" for name, value in settings.thresholds.items()
    ]
    text += f" ({', '.join(own)})" if own else ""
    most = []
    if settings.max_seconds is not None:
        most.append(f"at most {ledger.put('limit.seconds', settings.max_seconds, 'seconds')} a picture")
    if settings.max_memory_gib is not None:
        most.append(f"at most {ledger.put('limit.memory', settings.max_memory_gib, 'gib')} of memory")
    return ledger.say(f"{text}, shown for new photographs{''.join(f', {item}' for item in most)}.")


def _weights(ledger: Ledger, settings: Settings) -> str:
    tail = "must-haves are conditions and are not traded off."
    if not settings.weights:
        return f"Every kind of edit weighs the same; {tail}"
    given = ", ".join(
        f"{name} {ledger.put(f'weight/{name}', value, 'factor')}" for name, value in settings.weights.items()
    )
    return ledger.say(f"As set: {given}, the others one each; {tail}")
