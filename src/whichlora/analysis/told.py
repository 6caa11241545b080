"""Sweeps, stacks, chains and routes in sentences; every number passes through a ledger and can be linted.

Does: word results that are given. Does not: compute. Bounds are for new photographs unless a sentence says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whichlora.analysis.chaining import ChainResult
from whichlora.analysis.combining import Interference, Proposal, StackResult
from whichlora.analysis.ledger import Ledger
from whichlora.analysis.masking import Coverage, MaskResult
from whichlora.analysis.phrases import listed, routes_told
from whichlora.analysis.routing import Routing
from whichlora.analysis.sweeping import SweepResult
from whichlora.stats.paired import Difference
from whichlora.stats.rates import RateInterval


def bound(ledger: Ledger) -> dict[str, Any]:
    """What a linter needs of the sentences: figures and bindings, to be stored beside them."""
    return {"figures": ledger.figures, "sentences": ledger.sentences}


def sweep(found: SweepResult, name: str, own: float, photos: tuple[int, int], ledger: Ledger) -> tuple[str, ...]:
    """Sentences of a sweep.

    Args:
        found: The result.
        name: Candidate.
        own: Weight that the suite names.
        photos: Photographs for picking and for judging.
        ledger: Takes the figures.
    """
    key = f"sweep/{name}"
    best = found.optimum
    pick = ledger.put(f"{key}/pick", best.weight, "weight")
    lines = [ledger.say(
        f"{name}: {ledger.put(f'{key}/points', len(found.points), 'count')} weights from "
        f"{ledger.put(f'{key}/least', found.points[0].weight, 'weight')} to "
        f"{ledger.put(f'{key}/most', found.points[-1].weight, 'weight')} were tried on "
        f"{ledger.put(f'{key}/picking', photos[0], 'count')} photograph{'' if photos[0] == 1 else 's'}. "
        f"Those from {ledger.put(f'{key}/low', round(best.low, 2), 'weight')} to "
        f"{ledger.put(f'{key}/high', round(best.high, 2), 'weight')} do about equally well; {pick} is their middle."
    )]
    lines.append(ledger.say(
        f"On {ledger.put(f'{key}/judging', photos[1], 'count')} other photograph{'' if photos[1] == 1 else 's'}, which "
        f"played no part in picking it, "
        f"{ledger.put(f'{key}/pick', best.weight, 'weight')} keeps the character and does the edit in "
        f"{_rate(f'{key}/held', found.held_out, ledger)}; where it was picked it stood at "
        f"{ledger.put(f'{key}/flattered', found.picked_rate, 'percent')}."
    ))
    mine = ledger.put(f"{key}/own", own, "weight")
    if found.against_own is None:
        lines.append(ledger.say(f"That is the weight of the suite; nothing needs changing at {mine}."))
    else:
        change = _difference(f"{key}/against-own", found.against_own, ledger)
        again = ledger.put(f"{key}/pick", best.weight, "weight")
        advice = {
            "pick": f"Use {again} instead of {mine}: there it changes the rate by {change}.",
            "own": f"Keep {mine}: {again} changes the rate by {change}.",
            "open": f"Whether {again} is ahead of {mine} is not shown: it changes the rate by {change}.",
        }[found.use]
        lines.append(ledger.say(advice))
    if best.at_edge:
        side = "lower" if best.at_edge < 0 else "higher"
        lines.append(ledger.say(f"The curve is still near its highest at the edge; a {side} weight may do as well."))
    return tuple(lines)


def proposal(found: Proposal, ledger: Ledger) -> str:
    """Why a stack is worth measuring."""
    key = f"proposal/{'+'.join(found.parts)}"
    who = "; ".join(f"{name} is ahead at {listed(_owned(found, name))}" for name in found.parts)
    return ledger.say(
        f"{listed(found.parts)}: {who}. If nothing is lost in the stack, it reaches "
        f"{ledger.put(f'{key}/expected', found.expected, 'percent')} over the must-haves, "
        f"{ledger.put(f'{key}/gain', found.gain, 'size')} more than the leading single set-up."
    )


def unproposed(leaders: Mapping[str, str], others: Sequence[str], ledger: Ledger) -> str:
    """Why no stack is proposed.

    Args:
        leaders: Must-have → the LoRA that is ahead of the base at it, '' for none.
        others: Capabilities that were tested and are no must-haves.
        ledger: Takes the figures.
    """
    ahead = [f"{name or 'no LoRA'} at {listed([c for c, owner in leaders.items() if owner == name])}"
             for name in dict.fromkeys(leaders.values())]
    text = "No two of the measured LoRAs complement each other, so no stack is worth its pictures."
    if ahead:
        text += f" Ahead of the base are {listed(ahead)}."
    if others:
        text += f" Only must-haves count, and {listed(others)} {'is' if len(others) == 1 else 'are'} none."
    return ledger.say(text)


def _owned(found: Proposal, name: str) -> list[str]:
    return [capability for capability, owner in found.owners.items() if owner == name]


def stack(found: StackResult, ledger: Ledger) -> tuple[str, ...]:
    """Verdict of a stack and what happens to each capability in it."""
    key = f"stack/{found.name}"
    change = _difference(f"{key}/overall", found.against_better, ledger)
    start = (f"{found.name} changes the rate over the must-haves by {change} against {found.better_part}, its better "
             "part")
    verdict = {
        "better": "so the stack is worth keeping",
        "worse": f"and it is rejected: it loses {listed(found.lost)}" if found.lost else "and it is rejected",
        "open": "which decides nothing yet",
    }[found.verdict]
    lines = [ledger.say(f"{start}, {verdict}.")]
    for part in found.parts:
        gained = found.gained.get(part, ())
        if gained:
            lines.append(ledger.say(f"Against {part} alone it gains {listed(gained)}."))
        else:
            lines.append(ledger.say(f"No gain against {part} alone is shown."))
    lines += [_interference(key, item, ledger) for item in found.capabilities]
    return tuple(lines)


def _interference(key: str, item: Interference, ledger: Ledger) -> str:
    alone = ", ".join(
        f"{part} {ledger.put(f'{key}/{item.capability}/{part}', rate, 'percent')}" for part, rate in item.parts.items()
    )
    change = _difference(f"{key}/{item.capability}", item.against_owner, ledger)
    rate = ledger.put(f"{key}/{item.capability}/stack", item.rate, "percent")
    return ledger.say(f"{item.capability}: stack {rate}, alone {alone}; against {item.owner} {change}.")


def overlap(names: tuple[str, str], found: Mapping[str, Any], ledger: Ledger) -> str:
    """Where two parts meet in weight space: an explanation, no verdict.

    Args:
        names: Both parts.
        found: 'shared' (count), 'cosine' and 'conflict' (None where nothing is shared).
        ledger: Takes the figures.
    """
    one, other = names
    key = f"overlap/{one}/{other}"
    shared = ledger.put(f"{key}/shared", found["shared"], "count")
    if found["cosine"] is None or found["conflict"] is None:
        return ledger.say(f"In weight space {one} and {other} do not meet.")
    return ledger.say(
        f"In weight space {one} and {other} both change {shared} weights, with a cosine of "
        f"{ledger.put(f'{key}/cosine', round(found['cosine'], 2), 'weight')} and a sign conflict of "
        f"{ledger.put(f'{key}/conflict', round(found['conflict'], 2), 'weight')}; unrelated LoRAs have about "
        f"{ledger.put('overlap/unrelated-cosine', 0.0, 'weight')} and "
        f"{ledger.put('overlap/unrelated-conflict', 0.5, 'weight')}. This explains a stack and does not judge it."
    )


def chain(
    found: ChainResult, steps: tuple[tuple[str, str], tuple[str, str]], ledger: Ledger
) -> tuple[str, ...]:
    """Sentences of a chain.

    Args:
        found: The result.
        steps: (row, kind of edit) of the first and of the second step.
        ledger: Takes the figures.
    """
    (one, first), (other, second) = steps
    key = f"chain/{one}/{first}/{other}/{second}"
    return (
        ledger.say(
            f"{first} by {one}, then {second} by {other}: both edits and the character are in "
            f"{_rate(f'{key}/whole', found.whole, ledger)}."
        ),
        ledger.say(
            f"Step one: {first} alone succeeds in {ledger.put(f'{key}/first', found.first.value, 'percent')}; after "
            f"the second step it is still there in {ledger.put(f'{key}/survived', found.survived.value, 'percent')}, a "
            f"change of {_difference(f'{key}/loss-first', found.loss_of_first, ledger)}."
        ),
        ledger.say(
            f"Step two: {second} on the photograph itself succeeds in "
            f"{ledger.put(f'{key}/direct', found.direct.value, 'percent')}, on the edited picture in "
            f"{ledger.put(f'{key}/second', found.second.value, 'percent')}, a change of "
            f"{_difference(f'{key}/loss-second', found.loss_of_second, ledger)}."
        ),
    )


WHO = {"people": "people's votes", "truth": "the ground truth", "controls": "the control rows"}
"""Who says which pictures keep the person."""


_MASKED = {"identity": "likeness of the masked person", "subject": "structure kept inside the mask"}


def masks(
    results: Sequence[MaskResult], row: str, labels: str, seen: tuple[float | None, Coverage], ledger: Ledger
) -> list[str]:
    """Sentences of a comparison of drawn with default masks.

    Args:
        results: One per measure.
        row: The candidate that drew the masks.
        labels: 'people', 'truth' or 'controls'.
        seen: Mean overlap of both kinds of mask, 0 to 1, and how many pictures have them.
        ledger: Takes the figures.
    """
    overlap, coverage = seen
    lines = [ledger.say(
        f"{row} drew a usable mask for {ledger.put('masks/drawn', coverage.drawn, 'count')} of "
        f"{ledger.put('masks/pictures', coverage.pictures, 'count')} pictures; there is a default mask for "
        f"{ledger.put('masks/default', coverage.default, 'count')}."
    )]
    if overlap is not None:
        lines.append(ledger.say(
            f"Masks drawn by {row} and the default masks cover the same pixels to "
            f"{ledger.put('masks/overlap', overlap, 'percent')} on average."
        ))
    for found in results:
        key = f"masks/{found.measure}"
        text = (
            f"{_MASKED[found.measure]}, judged by {WHO[labels]}: right pictures rank above wrong ones with probability "
            f"{ledger.put(f'{key}/drawn', found.drawn, 'probability')} under drawn masks and "
            f"{ledger.put(f'{key}/default', found.default, 'probability')} under default masks "
            f"({ledger.put(f'{key}/pictures', found.pictures, 'count')} pictures)"
        )
        lines.append(ledger.say(text + (f"; {found.note}." if found.note else ".")))
    lines += [ledger.say(
        f"{_MASKED[measure]}: {ledger.put(f'masks/{measure}/lost', count, 'count')} pictures that the default masks "
        f"let be read cannot be read under drawn masks."
    ) for measure, count in coverage.lost.items() if count]
    helping = [found.measure for found in results if found.helps]
    lines.append(ledger.say(
        f"Drawn masks help at {listed(helping)}, so they are kept there." if helping else
        "Drawn masks are not shown to help, so the default masks stay."
    ))
    return lines


def routing(found: Routing, ledger: Ledger) -> tuple[str, ...]:
    """Sentences of the routed option."""
    plan = routes_told(found.routes)
    lines = []
    if len(set(found.routes.values())) == 1:
        lines.append(ledger.say(f"One set-up is ahead at every kind of edit, so there is nothing to route: {plan}."))
    else:
        lines.append(ledger.say(
            f"Routing ({plan}) keeps the character and does the edit in "
            f"{_rate('routing/rate', found.rate, ledger)}, each photograph judged by the choice that the others make; "
            f"{found.single} alone, judged the same way, in "
            f"{ledger.put('routing/single', found.single_rate.value, 'percent')}."
        ))
        change = _difference("routing/gain", found.gain, ledger)
        verdict = "worth it" if found.chosen else "not chosen, being over the budget" if found.barred else "not chosen"
        lines.append(ledger.say(f"Routing is {verdict}: it changes the rate by {change}."))
        lines += _routing_cost(found, ledger)
    return tuple(lines)


def _routing_cost(found: Routing, ledger: Ledger) -> Sequence[str]:
    lines = []
    if found.seconds is not None:
        text = f"A routed picture takes {ledger.put('routing/seconds', found.seconds, 'seconds')} on average"
        if found.switch_seconds is not None:
            text += (f" when edits come in random order, changes of LoRAs included (each takes "
                     f"{ledger.put('routing/switch', found.switch_seconds, 'seconds')})")
        if found.single_seconds is not None:
            alone = ledger.put("routing/single-seconds", found.single_seconds, "seconds")
            text += f"; {found.single} alone takes {alone}"
        lines.append(ledger.say(text + "."))
    lines += [ledger.say(f"Note: {note}.") for note in found.notes]
    if found.stability < 1:
        lines.append(ledger.say(
            f"Leaving out one photograph keeps the same routes in "
            f"{ledger.put('routing/stability', found.stability, 'percent')} of the cases."
        ))
    return lines


def _rate(key: str, rate: RateInterval, ledger: Ledger) -> str:
    value = ledger.put(f"{key}.value", rate.value, "percent")
    here = ledger.interval(f"{key}.here", rate.low_here, rate.high_here)
    new = ledger.interval(f"{key}.new", rate.low, rate.high)
    return f"{value} of the pictures ({here} on these photographs, {new} on new ones)"


def _difference(key: str, value: Difference, ledger: Ledger) -> str:
    """'+12 points [3, 20]'."""
    return (f"{ledger.put(f'{key}.value', value.value, 'points')} "
            f"{ledger.interval(f'{key}.new', value.low, value.high)}")
