"""The verdict, its reasons and the next step, in template sentences.

Does: word what was found; every number passes through the ledger. Does not: compute anything that decides.
Bounds named here are for new photographs of the character unless a sentence says "these photographs".
"""

from __future__ import annotations

from collections.abc import Iterable

from whichlora.analysis import untried
from whichlora.analysis.flipwords import STRATEGY, named
from whichlora.analysis.ledger import Ledger
from whichlora.analysis.outcome import Outcome
from whichlora.analysis.phrases import listed, rate_told, routes_told
from whichlora.findings import CandidateFacts


def aim(found: Outcome, names: Iterable[str], ledger: Ledger) -> str:
    """'70%', or 'the target set for each (70%; identity 90%)' where thresholds differ."""
    own = [name for name in names if found.thresholds.get(name, found.target) != found.target]
    common = ledger.put("target", found.target, "percent")
    if not own:
        return common
    each = ", ".join(f"{name} {ledger.put(f'threshold/{name}', found.thresholds[name], 'percent')}" for name in own)
    return f"the target set for each ({common}; {each})"


def verdict(found: Outcome, ledger: Ledger) -> str:
    """The verdict sentence."""
    row = found.row
    ledger_target = aim(found, found.must, ledger)
    if found.distrust:
        return ledger.say(f"Undecided: the measurement cannot be trusted yet. {found.distrust[0]}")
    unknown = untried.verdict(found, ledger, ledger_target)
    if unknown:
        return unknown
    if not row.firm:
        return _undecided(found, ledger, ledger_target)
    needed = listed(found.must)
    if row.strategy in ("existing", "multi") and not row.routes:
        ledger.claim("PASS", row.candidate, found.must)
    for must, name in row.routes.items():
        ledger.claim("PASS", name, [must])
    for contender in found.contenders:
        if not contender.barred:
            ledger.claim("FAIL", contender.name, _hopeless(found, row.missing))
    if row.strategy == "existing":
        weak = _weakest(found, row.candidate, ledger)
        if row.candidate == (found.base.name if found.base else "base"):
            return ledger.say(
                f"No LoRA is needed: on new photographs of this character the base model is shown to do {needed} at "
                f"{ledger_target} or better{weak}, and no candidate that passes as well is shown to be better."
            )
        return ledger.say(
            f"Use {row.candidate}: on new photographs of this character it is shown to do {needed} at "
            f"{ledger_target} or better{weak}."
        )
    if row.strategy == "multi" and not row.routes:
        weak = _weakest(found, row.candidate, ledger)
        return ledger.say(
            f"Use the stack {row.candidate}: no single LoRA does {needed}, and on new photographs of this character "
            f"the stack is shown to do them at {ledger_target} or better{weak}."
        )
    if row.strategy == "multi":
        return ledger.say(
            f"Use several set-ups, one per kind of edit: {routes_told(row.routes)}; on new photographs of this "
            f"character each is shown to do its part at {ledger_target} or better, and no single set-up does them all."
        )
    opening = "Train your own LoRA"
    hopeless = _hopeless(found, row.missing)
    rest = [name for name in row.missing if name not in hopeless]
    within = [c for c in found.contenders if not c.barred]
    if not within:
        return ledger.say(f"{opening}: no set-up tried stays within the limits of time and memory that you set.")
    every = "every set-up tried" if len(within) == len(found.contenders) else "every set-up within your limits"
    shown = [f"{every} is shown to do {listed(hopeless)} at less than {ledger_target}"] if hopeless else []
    shown += [f"none is shown to reach it at {listed(rest)}"] if rest else []
    why = f"on new photographs of this character {', and '.join(shown)}"
    if row.strategy == "hybrid":
        used = routes_told(row.routes)
        joint = ";" if ";" in used else ", and"
        return ledger.say(f"Hybrid: use {used}{joint} train for {listed(row.missing)}: {why}.")
    return ledger.say(f"{opening}: {why}.")


def _hopeless(found: Outcome, names: Iterable[str]) -> list[str]:
    """Those must-haves at which every contender is shown below the target."""
    return [
        name for name in names
        if all(c.barred or c.states(found.target)[found.must.index(name)] == "FAIL" for c in found.contenders)
    ]


def _undecided(found: Outcome, ledger: Ledger, target: str) -> str:
    """The sentence while open questions allow more than one strategy; which ones stands among the reasons."""
    photos = ledger.put("photos", found.photos, "count")
    number = "photograph does" if found.photos == 1 else "photographs do"
    return ledger.say(
        f"Undecided, leaning to {named(found, found.row)}: {photos} {number} not settle what meets "
        f"{target if target.startswith('the ') else f'the target of {target}'} on new photographs of this character."
        f"{untried.known_of_none(found, ledger)}"
    )


def _left_open(found: Outcome, ledger: Ledger) -> list[str]:
    """What is still possible, and on which capabilities of the row in front it hangs."""
    possible = listed(words for strategy, words in STRATEGY.items() if strategy in found.row.possible)
    lines = [ledger.say(f"Still possible: {possible}.")]
    focus = found.facts.get(found.row.candidate) or found.facts.get(found.leader())
    unsettled = [name for name in found.must if focus is not None and name in focus.capabilities
                 and focus.capabilities[name].state == "OPEN"]
    if focus is not None and unsettled:
        lines.append(ledger.say(f"Of what is open, {_both(focus, unsettled[0], ledger)}."))
    return lines


def _both(facts: CandidateFacts, name: str, ledger: Ledger) -> str:
    """'camera of angles is at 81%, [74, 87] on these photographs and [58, 93] on new ones'."""
    rate = facts.capabilities[name].rate
    if rate.value is None or rate.low is None or rate.high is None:
        return f"{name} of {facts.name} has no scored picture"
    key = f"{facts.name}/{name}"
    value = ledger.put(f"{key}.value", rate.value, "percent")
    here = ledger.interval(f"{key}.here", rate.low_here or 0.0, 1.0 if rate.high_here is None else rate.high_here)
    new = ledger.interval(f"{key}.new", rate.low, rate.high)
    return f"{name} of {facts.name} is at {value}, {here} on these photographs and {new} on new ones"


def _weakest(found: Outcome, name: str, ledger: Ledger) -> str:
    """' (weakest: camera 91%, shown at or above 74%)'."""
    facts = found.facts.get(name)
    known = [
        (fact.rate.value, must, fact.floor) for must in found.must
        if facts and (fact := facts.capabilities.get(must)) and fact.rate.value is not None and fact.floor is not None
    ]
    if not known:
        return ""
    value, must, floor = min(known)
    return (
        f" (weakest: {must} {ledger.put(f'{name}/{must}.value', value, 'percent')}, shown at or above "
        f"{ledger.put(f'{name}/{must}.floor', floor, 'floor')})"
    )


def rationale(found: Outcome, ledger: Ledger) -> tuple[str, ...]:
    """Why, in sentences."""
    lines = [
        ledger.say(
            "A capability counts as passed when the lower one-sided 95% bound of its rate on new photographs of this "
            f"character reaches {_the_target(found, ledger)}, as failed when the upper bound does not, and is marked "
            f"? in between; the evidence is {ledger.put('photos', found.photos, 'count')} "
            f"photograph{'' if found.photos == 1 else 's'}, not the number of pictures. {_level(ledger)}"
        )
    ]
    if found.distrust:  # what such a measurement says of anybody is no reason
        return (*lines, *(ledger.say(reason) for reason in found.distrust))
    if found.contenders and not found.row.firm:
        lines += _left_open(found, ledger)
    names = dict.fromkeys([found.row.candidate, *found.row.routes.values(), found.leader()])
    for name in names:
        if name in found.facts:
            lines += _about(found, found.facts[name], ledger)
    lines += _robustness(found, ledger)
    lines += _screened(found, ledger)
    lines += _over_limits(found, ledger)
    lines += untried.lines(found, ledger)
    if found.row.missing:
        tried = "within your limits" if found.beyond() else "tried"
        lines.append(ledger.say(f"Passed by no set-up {tried}: {listed(found.row.missing)}."))
    return tuple(lines)


def _over_limits(found: Outcome, ledger: Ledger) -> list[str]:
    """Rows that would do but for a limit: a reader who sees their figures must learn why they are not used."""
    lines = []
    for name in found.beyond():
        facts = found.facts.get(name)
        if facts is None:
            continue
        over = listed(what for what in ("time", "memory") if facts.budget.get(what) == "FAIL")
        passed = [m for m in found.must if m in facts.capabilities and facts.capabilities[m].state == "PASS"]
        if not passed:
            lines.append(ledger.say(f"{name} is over your limit of {over} and therefore not recommended."))
            continue
        ledger.claim("PASS", name, passed)
        lines.append(ledger.say(
            f"{name} is shown to pass at {listed(passed)}, but it is over your limit of {over} and therefore not "
            "recommended; a looser limit would let it count."
        ))
    return lines


def _screened(found: Outcome, ledger: Ledger) -> list[str]:
    """How many were dropped on the way, and what that means for the figures."""
    screening = found.screening
    if not screening.out:
        return []
    dropped = ledger.put("screening.out", len(screening.out), "count")
    saved = ledger.put("screening.saved", screening.saved, "count")
    full = ledger.put("screening.full", screening.full, "count")
    return [ledger.say(
        f"{dropped} candidates were screened out on the way, which saved {saved} of {full} pictures. They are "
        "not recommended and do not count as failed; figures of the others leave out the pictures on which the field "
        "was cut, and comparisons with base are corrected for all who began."
    )]


def _level(ledger: Ledger) -> str:
    """The level, so that it is stored."""
    ledger.put("level", 0.95, "percent")
    return "Ranges in brackets are two-sided."


def _the_target(found: Outcome, ledger: Ledger) -> str:
    text = aim(found, found.must, ledger)
    return text if text.startswith("the ") else f"the target of {text}"


def _about(found: Outcome, facts: CandidateFacts, ledger: Ledger) -> list[str]:
    """The overall rate, its comparison with base, and the states of its must-haves."""
    lines = []
    if facts.ccr.value is not None and facts.ccr.low is not None and facts.ccr.high is not None:
        overall = rate_told(f"{facts.name}/ccr", facts.ccr, ledger, "of cases, every kind of edit weighing the same")
        text = f"{facts.name} keeps the character and does the edit in {overall}"
        base = found.base
        if base is not None and base.name != facts.name and base.ccr.value is not None:
            text += f"; the base model in {ledger.put(f'{base.name}/ccr.value', base.ccr.value, 'percent')}"
        lines.append(ledger.say(text + "."))
    for state, verb in (("PASS", "shown to pass at"), ("OPEN", "open at"), ("FAIL", "shown below the target at")):
        mine = [name for name in found.must if name in facts.capabilities and facts.capabilities[name].state == state]
        if mine:
            if state != "OPEN":
                ledger.claim(state, facts.name, mine)
            lines.append(ledger.say(f"{facts.name} is {verb} {listed(mine)}."))
    ahead = [name for name, fact in facts.capabilities.items() if fact.better_than_base]
    if ahead:
        ledger.claim("better", facts.name, ahead)
        lines.append(ledger.say(
            f"{facts.name} is better than base at {listed(ahead)}, after correction for all comparisons made."
        ))
    corrected = found.corrected.get(facts.name)
    rivals = sum(not c.out for c in found.contenders)
    if corrected is not None and rivals > 1 and facts.name == found.leader():
        lines.append(ledger.say(
            f"Corrected for its having been picked from {ledger.put('contenders', rivals, 'count')} set-ups, "
            f"{facts.name} stands at {ledger.put(f'{facts.name}/corrected', corrected, 'percent')} over the must-haves."
        ))
    return lines


def _robustness(found: Outcome, ledger: Ledger) -> list[str]:
    lines = []
    leader = found.leader()
    facts = found.facts.get(leader)
    if facts is not None and facts.p_best is not None and len(found.contenders) > 1:
        smaa = found.acceptability.get(leader, {})
        text = (
            f"The probability that {leader} has the highest rate of all set-ups is "
            f"{ledger.put(f'{leader}/p_best', facts.p_best, 'probability')} with every kind of edit weighing the same"
        )
        first = smaa.get("first")
        if isinstance(first, float):
            text += f", and {ledger.put(f'{leader}/smaa', first, 'probability')} with the must-haves weighed at random"
        lines.append(ledger.say(text + "."))
    if found.second_opinion and leader and found.second_opinion != leader:
        lines.append(ledger.say(
            f"A second method (TOPSIS, which ranks by the distance from an ideal row) puts "
            f"{found.second_opinion} before {leader}; the two are not averaged."
        ))
    tied = [c.name for c in found.contenders if c.name != leader and not c.barred and not c.out
            and (top := found.contender(leader)) and abs(c.score() - top.score()) < 1e-9]
    if tied:
        lines.append(ledger.say(f"{leader} ties with {listed(tied)} over the must-haves."))
    return lines


