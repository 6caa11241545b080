"""The sentence on what to buy next: photographs, the candidates that were screened out, or nothing.

Does: word a `Purchase`. Does not: compute one.
"""

from __future__ import annotations

from whichlora.analysis import untried
from whichlora.analysis.ledger import Ledger
from whichlora.analysis.outcome import Outcome
from whichlora.analysis.purchase import WANTED

FEW = 10
"""Photographs below which an unsettled answer is put down to their number, not to rates near the target."""


def next_step(found: Outcome, ledger: Ledger) -> str:
    """The next purchase, or that none is needed."""
    if found.distrust:
        return ledger.say("Look at the pictures of the control rows first; more pictures would not help.")
    if found.row.firm:
        return ledger.say("No further pictures are required for this decision; go on with the roadmap.")
    unknown = untried.next_step(found, ledger)
    if unknown:
        return unknown
    bought = found.purchase
    if bought is None:
        return ledger.say("Add photographs of the character: too little is measured to say how many would settle it.")
    hours = ""
    if bought.hours is not None:
        hours = f" (about {ledger.put('purchase.hours', bought.hours, 'hours')} of generation on this machine)"
    photos = ledger.put("purchase.photos", bought.photos, "count") if bought.photos else ""
    chance = ledger.put("purchase.probability", bought.probability, "probability")
    if bought.full or found.hangs_on_dropped:
        why = (" With what is known of them another answer remains possible, and without them the answer would be "
               "settled.") if found.hangs_on_dropped else ""
        what = f", {photos} more photographs included{hours}," if bought.photos else f"{hours}"
        odds = f" That{what} would settle it with probability {chance}." if bought.full else ""
        return ledger.say(
            f"Measure those that were screened out as well (whichlora run with --full).{why}{odds}")
    worth = max(found.information.items(), key=lambda item: item[1], default=("", 0.0))
    tail = f" Per hour of generation, {worth[0]} is worth most to know better." if worth[1] > 0 else ""
    if bought.probability < WANTED and found.photos < FEW:
        return ledger.say(
            f"Add photographs and report again: so few leave every rate wide open, and it is promised only with "
            f"probability {chance} that {photos} more{hours} would settle it; with some more, that can be told "
            f"better.{tail}"
        )
    if bought.probability < WANTED:
        return ledger.say(
            f"Even {photos} more photographs{hours} would settle it only with probability {chance}: some rate lies too "
            f"near the target. Set another target, fewer must-haves, or add better candidates.{tail}"
        )
    return ledger.say(f"{photos} more photographs{hours} would settle it with probability {chance}.{tail}")
