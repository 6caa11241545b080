"""The verdict, its reasons and what would change it, in template sentences.

Does: word what was found; every number passes through the ledger. Does not: compute anything that decides.
Bounds named here are for new photographs of the character unless a sentence says "these photographs".
"""

from __future__ import annotations

from collections.abc import Iterable

from whichlora.analysis.decide import Row
from whichlora.analysis.flip import Flip
from whichlora.analysis.ledger import Ledger
from whichlora.analysis.outcome import Outcome
from whichlora.analysis.phrases import listed, rate_told
from whichlora.findings import CandidateFacts

STRATEGY = {
    "existing": "an existing LoRA", "multi": "several LoRAs", "custom": "custom training",
    "hybrid": "a hybrid of existing LoRAs and training", "undecided": "no strategy yet",
}
FLIPS_SHOWN = 4
"""Rate changes printed on the flip card."""


def aim(found: Outcome, names: Iterable[str], ledger: Ledger) -> str:
    """'70 %', or 'the target set for each (70 %; identity 90 %)' where thresholds differ."""
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
    if not found.contenders:
        return ledger.say("Undecided: nothing has been measured yet.")
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
            f"Use several set-ups, one per kind of edit: {_routes(found)}; on new photographs of this character each "
            f"is shown to do its part at {ledger_target} or better, and no single set-up does them all."
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
        return ledger.say(f"Hybrid: use {_routes(found)}, and train for {listed(row.missing)}: {why}.")
    return ledger.say(f"{opening}: {why}.")


def _named(found: Outcome, row: Row) -> str:
    """A strategy and what it uses: 'several LoRAs (a + b)' for a stack, 'the base model alone (base)'."""
    used = found.contender(row.candidate)
    each = list(dict.fromkeys(row.routes.values()))
    if row.strategy == "multi" and len(each) > 1:  # 'a + b' would read as a stack
        return f"several set-ups, one per kind of edit ({listed(each)})"
    if row.strategy == "existing" and used is not None and used.kind == "base":
        return f"the base model alone ({row.candidate})"
    return STRATEGY[row.strategy] + (f" ({row.candidate})" if row.candidate else "")


def _hopeless(found: Outcome, names: Iterable[str]) -> list[str]:
    """Those must-haves at which every contender is shown below the target."""
    return [
        name for name in names
        if all(c.barred or c.states(found.target)[found.must.index(name)] == "FAIL" for c in found.contenders)
    ]


def _undecided(found: Outcome, ledger: Ledger, target: str) -> str:
    """The sentence while open questions allow more than one strategy."""
    row = found.row
    photos = ledger.put("photos", found.photos, "count")
    lean = _named(found, row)
    possible = listed(STRATEGY[d] for d in sorted(row.possible))
    focus = found.facts.get(row.candidate) or found.facts.get(found.leader())
    tail = ""
    if focus is not None:
        unsettled = [name for name in found.must if name in focus.capabilities
                     and focus.capabilities[name].state == "OPEN"]
        if unsettled:
            name = unsettled[0]
            tail = f" Open for {focus.name}: {listed(unsettled)}{_both(focus, name, ledger)}."
    return ledger.say(
        f"Undecided, leaning to {lean}: with {photos} photographs it is not settled for new photographs of this "
        f"character whether {target if target.startswith('the ') else f'the target of {target}'} is met; "
        f"{possible} remain possible.{tail}"
    )


def _both(facts: CandidateFacts, name: str, ledger: Ledger) -> str:
    """', camera at 81 % on these photographs [74, 87], [58, 93] on new ones'."""
    rate = facts.capabilities[name].rate
    if rate.value is None or rate.low is None or rate.high is None:
        return f", {name} without any scored picture"
    key = f"{facts.name}/{name}"
    value = ledger.put(f"{key}.value", rate.value, "percent")
    here = ledger.interval(f"{key}.here", rate.low_here or 0.0, 1.0 if rate.high_here is None else rate.high_here)
    new = ledger.interval(f"{key}.new", rate.low, rate.high)
    return f"; {name} is at {value}, {here} on these photographs and {new} on new ones"


def _weakest(found: Outcome, name: str, ledger: Ledger) -> str:
    """' (weakest: camera 91 %, shown at or above 74 %)'."""
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
        f"{ledger.put(f'{name}/{must}.floor', floor, 'percent')})"
    )


def _routes(found: Outcome) -> str:
    by_name: dict[str, list[str]] = {}
    for must, name in found.row.routes.items():
        by_name.setdefault(name, []).append(must)
    return "; ".join(f"{name} for {listed(musts)}" for name, musts in by_name.items())


def rationale(found: Outcome, ledger: Ledger) -> tuple[str, ...]:
    """Why, in sentences."""
    lines = [
        ledger.say(
            "A capability passes when its one-sided 95 % bound for new photographs of this character reaches "
            f"{_the_target(found, ledger)}, and fails when it is shown below it; the "
            f"evidence is {ledger.put('photos', found.photos, 'count')} photographs, not the number of pictures. "
            f"{_level(ledger)}"
        )
    ]
    names = dict.fromkeys([found.row.candidate, *found.row.routes.values(), found.leader()])
    for name in names:
        if name in found.facts:
            lines += _about(found, found.facts[name], ledger)
    lines += _robustness(found, ledger)
    lines += _screened(found, ledger)
    lines += _over_limits(found, ledger)
    if found.row.missing:
        tried = "within your limits" if found.beyond() else "tried"
        lines.append(ledger.say(f"Passed by no set-up {tried}: {listed(found.row.missing)}."))
    lines += [ledger.say(reason) for reason in found.distrust]
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
    return "Intervals in brackets are two-sided."


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
            f"Corrected for having been picked from {ledger.put('contenders', rivals, 'count')} set-ups, {facts.name} "
            f"stands at {ledger.put(f'{facts.name}/corrected', corrected, 'percent')} over the must-haves."
        ))
    return lines


def _robustness(found: Outcome, ledger: Ledger) -> list[str]:
    lines = []
    leader = found.leader()
    facts = found.facts.get(leader)
    if facts is not None and facts.p_best is not None and len(found.contenders) > 1:
        smaa = found.acceptability.get(leader, {})
        text = (
            f"With every kind of edit weighing the same, {leader} has the highest rate of all set-ups with "
            "probability "
            f"{ledger.put(f'{leader}/p_best', facts.p_best, 'probability')}"
        )
        first = smaa.get("first")
        if isinstance(first, float):
            text += f", and with must-haves weighed at random with {ledger.put(f'{leader}/smaa', first, 'probability')}"
        lines.append(ledger.say(text + "."))
    if found.second_opinion and leader and found.second_opinion != leader:
        lines.append(ledger.say(
            f"A second method (TOPSIS) puts {found.second_opinion} before {leader}; the two are not averaged."
        ))
    tied = [c.name for c in found.contenders if c.name != leader and not c.barred and not c.out
            and (top := found.contender(leader)) and abs(c.score() - top.score()) < 1e-9]
    if tied:
        lines.append(ledger.say(f"{leader} ties with {listed(tied)} over the must-haves."))
    return lines


def flip_card(found: Outcome, ledger: Ledger) -> tuple[str, ...]:
    """What would change the answer: the target, the rates nearest to a flip, single photographs."""
    if found.distrust:
        return (ledger.say("While pictures of the control rows come out as right, no other rate or target gives an "
                           "answer."),)
    lines = [_flip_line(found, flip, ledger) for flip in found.flips if flip.kind == "target"]
    rates = [flip for flip in found.flips if flip.kind == "rate"]
    lines += [_flip_line(found, flip, ledger) for flip in rates[:FLIPS_SHOWN]]
    photos = [flip for flip in found.flips if flip.kind == "photo"]
    if photos:
        names = listed(flip.what for flip in photos)
        lines.append(ledger.say(
            f"Leaving out a single photograph changes the answer: {ledger.put('flip.photos', len(photos), 'count')} of "
            f"{ledger.put('photos', found.photos, 'count')} do ({names})."
        ))
    elif found.photos > 2 and found.contenders:
        lines.append(ledger.say("Leaving out any one photograph changes nothing."))
    for kind, noun in (("edit", "instruction"), ("metric", "metric"), ("rater", "rater")):
        hits = [flip for flip in found.flips if flip.kind == kind]
        if hits:
            each = "; ".join(f"without {flip.what} it becomes {_answer(found, flip)}" for flip in hits)
            lines.append(ledger.say(f"Leaving out a single {noun} changes the answer: {each}."))
    if not lines:
        lines.append(ledger.say("No change of one input alone was found that flips the answer."))
    return tuple(lines)


def _flip_line(found: Outcome, flip: Flip, ledger: Ledger) -> str:
    after = _answer(found, flip)
    if flip.kind == "target":
        return ledger.say(
            f"The answer turns to {after} if the target is "
            f"{ledger.put('flip.target', flip.change, 'size')} {'higher' if flip.change > 0 else 'lower'}."
        )
    key = f"flip/{flip.candidate}/{flip.what}"
    return ledger.say(
        f"The answer turns to {after} if {flip.what} of {flip.candidate} is "
        f"{ledger.put(key, flip.change, 'size')} {'higher' if flip.change > 0 else 'lower'} than measured."
    )


def _answer(found: Outcome, flip: Flip) -> str:
    named = _named(found, flip.row)
    return named if flip.row.firm else f"undecided, leaning to {named}"
