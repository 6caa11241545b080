"""The four strategies side by side, and what training alone could close.

Does: lay out pros, cons, gaps, effort; of every strategy at least one pro and one con hangs on what was measured.
Effort is a stated assumption with its range, never a measurement. Custom training is unmeasured: no rate is ever
printed for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from whichlora.analysis.decide import Contender, order
from whichlora.analysis.ledger import Ledger
from whichlora.analysis.outcome import Outcome
from whichlora.analysis.phrases import listed, routes_told
from whichlora.findings import CapabilityFact, Option

WORK_HOURS: Mapping[str, tuple[int, int]] = {
    "existing": (1, 2), "multi": (2, 6), "custom": (20, 60), "hybrid": (12, 40),
}
"""Assumed hours of work, lowest and highest, training time included."""


def options(found: Outcome, ledger: Ledger) -> tuple[Option, ...]:
    """Existing, several, custom, hybrid, in this order; empty before anything was measured."""
    if not found.contenders:
        return ()
    singles = [c for c in found.contenders if c.kind != "stack" and not c.out]
    stacks = [c for c in found.contenders if c.kind == "stack" and not c.out and not c.barred]
    one = max(singles, key=lambda c: (not c.barred, _met(found, c), c.score(), c.name)) if singles else None
    if found.row.strategy == "existing":
        # The option must not name another set-up than the verdict does.
        one = found.contender(found.row.candidate) or one
    many = max(stacks, key=lambda c: (_met(found, c), c.score(), c.name)) if stacks else None
    routes = _best_routes(found)
    left = training_only(found)
    # Beside an answer that does everything, a training would start from that answer.
    kept = dict.fromkeys(found.must, found.row.candidate) if found.row.candidate in found.facts and not left and (
        not found.row.routes) else routes
    four = (
        _existing(found, one, ledger), _multi(found, one, many, routes, ledger),
        _custom(found, kept, ledger), _hybrid(found, kept, left, ledger),
    )
    doubt = ("What was measured cannot be trusted yet.",) if found.distrust else ()
    return tuple(replace(option, cons=(*option.cons, *doubt)) for option in four)


def _holds(found: Outcome, contender: Contender, name: str) -> bool:
    at = found.must.index(name)
    state = contender.states(found.target)[at]
    return state == "PASS" or (state == "OPEN" and contender.lean[at] >= found.target)


def _met(found: Outcome, contender: Contender) -> int:
    return sum(_holds(found, contender, name) for name in found.must)


def _gaps(found: Outcome, contender: Contender | None) -> tuple[str, ...]:
    return found.must if contender is None else tuple(n for n in found.must if not _holds(found, contender, n))


def _best_routes(found: Outcome) -> dict[str, str]:
    """Must-have → set-up with the best guess, where it holds; of equals the one that does best altogether."""
    ranked = sorted((c for c in found.contenders if not c.barred), key=order)
    routes = {}
    for at, name in enumerate(found.must):
        able = [c for c in ranked if _holds(found, c, name)]
        if able:
            routes[name] = max(able, key=lambda c: c.lean[at]).name
    return routes


def training_only(found: Outcome) -> tuple[str, ...]:
    """Must-haves that no set-up tried is shown or guessed to do: of the strategies, only training could close them."""
    return tuple(n for n in found.must if found.contenders and not any(_holds(found, c, n) for c in found.contenders))


def hours(kind: str, ledger: Ledger) -> str:
    """The assumed hours of a strategy, said to be assumed."""
    low, high = WORK_HOURS[kind]
    return ledger.say(
        f"Assumed, not measured: {ledger.put(f'assumed.{kind}.low', low, 'count')} to "
        f"{ledger.put(f'assumed.{kind}.high', high, 'count')} hours of work."
    )


def learn_from(found: Outcome, gaps: Sequence[str]) -> str:
    """The row with the best guess at the gaps: closest to what a training must reach."""
    at = [found.must.index(name) for name in gaps] or list(range(len(found.must)))
    known = [c for c in found.contenders if not c.out]
    able = [c for c in known if c.kind == "single"] or known
    return max(able, key=lambda c: (sum(c.lean[i] for i in at), c.name)).name if able else ""


# ---------------------------------------------------------------------- what was measured, as a pro or a con


def _fact(found: Outcome, name: str, must: str) -> CapabilityFact | None:
    facts = found.facts.get(name)
    return facts.capabilities.get(must) if facts else None


def _rate(found: Outcome, name: str, must: str) -> float | None:
    fact = _fact(found, name, must)
    return fact.rate.value if fact else None


def _said(found: Outcome, name: str, must: str, ledger: Ledger) -> str:
    value = _rate(found, name, must)
    return "an unmeasured share" if value is None else ledger.put(f"{name}/{must}.value", value, "percent")


def _nearest(found: Outcome, must: str) -> str:
    """What may be used and has the best guess at a must-have."""
    at = found.must.index(must)
    able = sorted((c for c in found.contenders if not c.barred and not c.out), key=order)
    return max(able, key=lambda c: c.lean[at]).name if able else ""


def _shown(found: Outcome, routes: Mapping[str, str]) -> dict[str, str]:
    """Those must-haves that their set-up is shown to do; none while the measurement itself is in doubt."""
    if found.distrust:
        return {}
    return {must: name for must, name in routes.items() if (fact := _fact(found, name, must)) and fact.state == "PASS"}


def _passes(found: Outcome, routes: Mapping[str, str], ledger: Ledger) -> list[str]:
    """What the set-ups are shown to do of their part; else where one of them comes nearest."""
    shown = _shown(found, routes)
    if shown:
        for must, name in shown.items():
            ledger.claim("PASS", name, [must])
        names = set(shown.values())
        told = f"{names.pop()} is shown to pass at {listed(shown)}" if len(names) == 1 else (
            f"Shown to pass: {routes_told(shown)}")
        return [ledger.say(f"{told}.")]
    known = [(value, must, name) for must, name in routes.items() if (value := _rate(found, name, must)) is not None]
    if not known:
        return []
    _, must, name = max(known)
    return [ledger.say(f"Comes nearest at {must}: {name} succeeds in {_said(found, name, must, ledger)} of these "
                       "pictures.")]


def _short_of(found: Outcome, owners: Mapping[str, str], gaps: Iterable[str], ledger: Ledger) -> list[str]:
    """'Leaves below the target or open: camera at 56% of these pictures.'; nothing without gaps."""
    each = [f"{gap} at {_said(found, owners[gap], gap, ledger)}" for gap in gaps]
    return [ledger.say(f"Leaves below the target or open: {listed(each)} of these pictures.")] if each else []


def _margin(found: Outcome, routes: Mapping[str, str], ledger: Ledger) -> list[str]:
    """What is not shown yet; else where the set-ups are nearest to failing."""
    shown = _shown(found, routes)
    rest = [must for must in routes if must not in shown]
    if rest:
        return [ledger.say(f"Not yet shown for new photographs: {listed(rest)}.")]
    if not shown:
        return []
    floor, must, name = _thinnest(found, shown)
    ledger.claim("PASS", name, [must])
    aim = ledger.put(f"threshold/{must}", found.thresholds.get(must, found.target), "percent")
    return [ledger.say(f"Least sure at {must}: {name} is shown at or above "
                       f"{ledger.put(f'{name}/{must}.floor', floor, 'floor')} there, and {aim} is asked.")]


def _thinnest(found: Outcome, shown: Mapping[str, str]) -> tuple[float, str, str]:
    """Lower bound, must-have and set-up where least is shown."""
    return min((fact.floor or 0.0, must, name) for must, name in shown.items() if (fact := _fact(found, name, must)))


def _room(found: Outcome, routes: Mapping[str, str], ledger: Ledger) -> list[str]:
    """What a training could still add to what exists."""
    shown = _shown(found, routes)
    rest = [must for must in routes if must not in shown]
    if rest:
        return [ledger.say(f"Could do what is not yet shown for new photographs: {listed(rest)}.")]
    floor, must, name = _thinnest(found, shown)
    ledger.claim("PASS", name, [must])
    return [ledger.say(f"Could still raise {must}, which {name} is shown to do at or above "
                       f"{ledger.put(f'{name}/{must}.floor', floor, 'floor')}.")]


def _gain(found: Outcome, one: Contender | None, routes: Mapping[str, str], ledger: Ledger) -> list[str]:
    """Where several set-ups reach most beyond the best single one."""
    if one is None:
        return []
    ahead = [(value - alone, must) for must, name in routes.items() if name != one.name
             and (value := _rate(found, name, must)) is not None
             and (alone := _rate(found, one.name, must)) is not None and value > alone]
    if not ahead:
        return []
    _, must = max(ahead)
    name = routes[must]
    return [ledger.say(f"At {must}, {name} succeeds in {_said(found, name, must, ledger)} of these pictures, where "
                       f"{one.name} does in {_said(found, one.name, must, ledger)}.")]


# ---------------------------------------------------------------------- the four


def _existing(found: Outcome, one: Contender | None, ledger: Ledger) -> Option:
    name = one.name if one else ""
    gaps = _gaps(found, one)
    alone = one is not None and one.kind == "base"
    first = "Nothing to train or to load." if alone else "Nothing to train; usable as soon as the file is in place."
    own = dict.fromkeys(found.must, name) if one else {}
    pros = [first, "One set-up to keep and to explain.", *_passes(found, own, ledger)]
    facts = found.facts.get(name)
    if one is not None and one.barred and facts is not None:
        over = listed(what for what in ("time", "memory") if facts.budget.get(what) == "FAIL")
        cons = [f"{name} is over your limit of {over}."]
    else:
        cons = _short_of(found, own, gaps if own else (), ledger) or _margin(found, own, ledger)
    if facts is not None and facts.licence == "unknown" and facts.role == "candidate":
        cons.append("Its licence is unknown: ask before publishing pictures.")
    title, effort = ("Base model alone", "low: a setting") if alone else (
        "One existing LoRA", "low: a file and a setting")
    return Option("existing", title, name, tuple(pros), tuple(cons), gaps, hours("existing", ledger), effort, name)


def _multi(
    found: Outcome, one: Contender | None, stack: Contender | None, routes: Mapping[str, str], ledger: Ledger,
) -> Option:
    left = training_only(found)
    if stack is not None and len(_gaps(found, stack)) <= len(left):
        return _stacked(found, one, stack, ledger)
    own = {**{must: _nearest(found, must) for must in left}, **routes}
    several = len(set(routes.values())) > 1
    pros = ["Nothing to train."]
    if several:
        pros.append("Each kind of edit can use what does it best.")
    pros += _gain(found, one, routes, ledger) or _passes(found, routes or own, ledger)
    if several:
        cons = ["The right set-up must be switched in for each kind of edit; an edit of two kinds needs two passes."]
    elif routes:
        only = next(iter(routes.values()))
        cons = [f"{only} is the first choice wherever the target is met, so there is nothing to switch between."]
    else:
        cons = [f"No set-up {'within your limits' if found.beyond() else 'tried'} meets the target anywhere."]
    cons += _short_of(found, own, left, ledger) or _margin(found, routes, ledger)
    if stack is not None and stack.harmed:
        cons.append(f"{stack.name} loses against one of its members alone at what that member does best.")
    used = routes_told(routes) if several else next(iter(routes.values()), "")
    return Option("multi", "One set-up per kind of edit", used, tuple(pros), tuple(cons), left, hours("multi", ledger),
                  "medium: several files and a rule for switching", ", ".join(dict.fromkeys(routes.values())))


def _stacked(found: Outcome, one: Contender | None, stack: Contender, ledger: Ledger) -> Option:
    gaps, own = _gaps(found, stack), dict.fromkeys(found.must, stack.name)
    pros = ["Nothing to train.", "One set-up for edits of several kinds at once."]
    pros += _gain(found, one, own, ledger) or _passes(found, own, ledger)
    cons = ["Stacked LoRAs can weaken each other; only the stacks in the matrix were measured."]
    if stack.harmed:
        cons.append(f"{stack.name} loses against one of its members alone at what that member does best.")
    cons += _short_of(found, own, gaps, ledger) or _margin(found, own, ledger)
    return Option("multi", "A stack of LoRAs", stack.name, tuple(pros), tuple(cons), gaps, hours("multi", ledger),
                  "medium: several files, an order and weights to keep", stack.name)


def _custom(found: Outcome, routes: Mapping[str, str], ledger: Ledger) -> Option:
    gaps = training_only(found)
    pros = ["Fits this character and no other."]
    if gaps:
        pros.append(f"Of the strategies, only training could close: {listed(gaps)}.")
    pros += _break_even(found, gaps, ledger)
    if not gaps:
        pros += _room(found, routes, ledger)
    cons = ["Unmeasured: how good a training becomes is unknown until it is trained and compared here."]
    if not gaps and not found.distrust:
        cons.append("As far as measured, what exists does every must-have.")
    photos = ledger.put("photos", found.photos, "count")
    cons.append(ledger.say(f"{photos} {'photograph' if found.photos == 1 else 'photographs'} of one character invite "
                           "overfitting; hold some back to test on."))
    return Option("custom", "Train your own LoRA", "", tuple(pros), tuple(cons), (), hours("custom", ledger),
                  "high: data, training runs and another comparison", learn_from(found, gaps))


def _break_even(found: Outcome, gaps: Sequence[str], ledger: Ledger) -> list[str]:
    """What a training would have to reach at its gaps, beside the best tried; no rate is claimed for it."""
    lines = []
    levels = {gap: found.thresholds.get(gap, found.target) for gap in gaps}
    for level in dict.fromkeys(levels.values()):
        mine = [gap for gap in gaps if levels[gap] == level]
        aim = ledger.put(f"threshold/{mine[0]}", level, "percent")
        near = [(gap, max(tried)[1]) for gap in mine if (tried := _tried(found, gap))]
        tail = "nothing that may be used was measured at it"
        if near:
            each = listed(f"{owner} at {gap} with {_said(found, owner, gap, ledger)}" for gap, owner in near)
            tail = f"of what may be used, nearest {'comes' if len(near) == 1 else 'come'} {each} of these pictures"
        lines.append(ledger.say(f"It would pay off at {listed(mine)} if it reached {aim} there; {tail}."))
    return lines


def _tried(found: Outcome, gap: str) -> list[tuple[float, str]]:
    """Rate and name of every row that may be used and was measured at a must-have."""
    return [(rate, facts.name) for facts in found.facts.values()
            if facts.role != "control" and facts.name not in found.beyond()
            and (rate := _rate(found, facts.name, gap)) is not None]


def _hybrid(found: Outcome, routes: Mapping[str, str], left: Sequence[str], ledger: Ledger) -> Option:
    disturbed = "A trained LoRA may disturb the existing ones: compare the combination here again."
    if left and routes:
        pros = ["Trains only what is missing, and uses the rest at once.", *_passes(found, routes, ledger)]
        cons = [f"How good the trained part becomes at {listed(left)} is unknown.", disturbed]
    elif routes:
        pros = _room(found, routes, ledger)
        cons = ["Nothing is missing that would have to be trained.", disturbed]
    else:
        pros = _passes(found, {must: _nearest(found, must) for must in left}, ledger)
        cons = ["Nothing tried can be kept, so this comes to the same as training everything.", disturbed]
    used = routes_told(routes) if len(set(routes.values())) > 1 else next(iter(routes.values()), "")
    return Option("hybrid", "What exists, and training for the gaps", used, tuple(pros), tuple(cons), tuple(left),
                  hours("hybrid", ledger), "high: everything of both", learn_from(found, left))
