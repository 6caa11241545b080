"""What would change the answer, in sentences; and how an answer is named wherever a sentence needs it in passing.

Does: word the flips that were found; every number passes through the ledger. Does not: look for flips.
"""

from __future__ import annotations

from collections.abc import Sequence

from whichlora.analysis.decide import Row
from whichlora.analysis.flip import Flip
from whichlora.analysis.ledger import Ledger
from whichlora.analysis.outcome import Outcome
from whichlora.analysis.phrases import listed, routes_told

STRATEGY = {
    "existing": "an existing LoRA", "multi": "several LoRAs", "custom": "custom training",
    "hybrid": "a hybrid of existing LoRAs and training", "undecided": "no strategy yet",
}
"""In the order of the options A to D."""
FLIPS_SHOWN = 4
"""Rate changes printed on the flip card."""


def named(found: Outcome, row: Row) -> str:
    """A strategy and what it uses. Set-ups side by side are named with their part: 'a + b' would read as a stack."""
    used = found.contender(row.candidate)
    if row.strategy == "hybrid":
        return f"a hybrid ({routes_told(row.routes)}; training for {listed(row.missing)})"
    if row.strategy == "multi" and row.routes:
        return f"several set-ups, one per kind of edit ({routes_told(row.routes)})"
    if row.strategy == "multi":
        return f"a stack of LoRAs ({row.candidate})"
    if row.strategy == "existing" and used is not None and used.kind == "base":
        return f"the base model alone ({row.candidate})"
    return STRATEGY[row.strategy] + (f" ({row.candidate})" if row.candidate else "")


def flip_card(found: Outcome, ledger: Ledger) -> tuple[str, ...]:
    """What would change the answer: the target, the rates nearest to a flip, single photographs."""
    if found.distrust:
        return (ledger.say("While the control rows say that the measurement is wrong, no other target or rate would "
                           "settle the answer."),)
    lines = [_target(found, flip, ledger) for flip in found.flips if flip.kind == "target"]
    rates = [flip for flip in found.flips if flip.kind == "rate"][:FLIPS_SHOWN]
    lines += [_rates(after, alike, ledger) for after, alike in _by_answer(found, rates).items()]
    photos = [flip for flip in found.flips if flip.kind == "photo"]
    if photos:
        names = listed(flip.what for flip in photos)
        lines.append(ledger.say(
            f"Leaving out a single photograph changes the answer: {ledger.put('flip.photos', len(photos), 'count')} of "
            f"{ledger.put('photos', found.photos, 'count')} do ({names})."
        ))
    elif found.photos > 2 and found.contenders:
        lines.append(ledger.say("Leaving out any one photograph leaves the answer as it is."))
    for kind, noun in (("edit", "instruction"), ("metric", "metric"), ("rater", "rater")):
        hits = [flip for flip in found.flips if flip.kind == kind]
        if hits:
            each = "; ".join(f"without {listed((flip.what for flip in alike), 'or')} it {after}"
                             for after, alike in _by_answer(found, hits).items())
            lines.append(ledger.say(f"Leaving out a single {noun} changes the answer: {each}."))
    if not lines:
        lines.append(ledger.say("No change of one input alone was found that flips the answer."))
    return tuple(lines)


def _target(found: Outcome, flip: Flip, ledger: Ledger) -> str:
    return ledger.say(
        f"With the target {ledger.put('flip.target', flip.change, 'size')} {_way(flip)}, the answer "
        f"{_after(found, flip.row)}."
    )


def _rates(after: str, flips: Sequence[Flip], ledger: Ledger) -> str:
    """All rates whose change gives one and the same answer, in one sentence."""
    each = []
    for flip in flips:
        size = ledger.put(f"flip/{flip.candidate}/{flip.what}", flip.change, "size")
        rate = f"{flip.what} of {flip.candidate}"
        each.append(f"{rate} {size} {_way(flip)}" if each else f"{rate} is {size} {_way(flip)} than measured")
    return ledger.say(f"If {listed(each, 'or')}, the answer {after}.")


def _way(flip: Flip) -> str:
    return "higher" if flip.change > 0 else "lower"


def _by_answer(found: Outcome, flips: Sequence[Flip]) -> dict[str, list[Flip]]:
    """Flips by the answer they lead to, in the order of the nearest."""
    grouped: dict[str, list[Flip]] = {}
    for flip in flips:
        grouped.setdefault(_after(found, flip.row), []).append(flip)
    return grouped


def _after(found: Outcome, row: Row) -> str:
    """What the answer does under a flip, said against the answer as it is: 'becomes custom training'."""
    name = named(found, row)
    if row.firm:
        return f"becomes {name}" if found.row.firm else f"becomes firm: {name}"
    if not found.row.firm:
        return f"leans to {name} instead"
    same = (row.strategy, row.candidate) == (found.row.strategy, found.row.candidate)
    return "becomes undecided, still leaning the same way" if same else f"becomes undecided, leaning to {name}"
