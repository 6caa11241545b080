"""Known limits of a measurement, in sentences without figures. Decides nothing."""

from __future__ import annotations

from whichlora.analysis.outcome import Outcome
from whichlora.analysis.phrases import listed
from whichlora.analysis.questions import twins
from whichlora.types import Plan


def limits(found: Outcome) -> tuple[str, ...]:
    """Known limits of the measurement, in sentences without figures."""
    plan = found.plan
    lines = [
        "Everything is about one character: other characters may fare differently.",
        "Bounds for new photographs suppose that those given were picked as the later ones will be.",
        "The instructions are fixed: nothing is claimed about wordings that were not tried.",
        "Metrics stand in for a person; where they and blind votes disagree, believe the votes.",
        "Comparisons with base are corrected for all candidates and capabilities together; intervals are not.",
        "Custom training is unmeasured; hours and settings for it are assumptions.",
    ]
    if found.photos < 6:
        lines.insert(0, "With fewer than six photographs no difference can be significant: read directions only.")
    if all(s == 1 for s in _seeds(plan)):
        lines.append("One seed per case: luck of the seed is part of every bound for these photographs.")
    lines += twins(plan)
    absent = [name for name in found.must if not any(name in f.capabilities for f in found.facts.values())]
    if found.idle_weights:
        lines.append(f"A weight only counts for must-haves, so that of {listed(found.idle_weights)} has no effect.")
    if absent:
        lines.append(f"No case tests these must-haves, so they stay open: {listed(absent)}.")
    lines += [text for text in plan.notes if text]
    return tuple(lines)


def _seeds(plan: Plan) -> list[int]:
    by_case: dict[tuple[str, str], int] = {}
    for cell in plan.cells:
        key = (cell.candidate, cell.case)
        by_case[key] = by_case.get(key, 0) + 1
    return list(by_case.values())
