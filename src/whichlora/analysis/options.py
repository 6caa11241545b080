"""The four strategies side by side, the roadmap of the chosen one, and what training alone could close.

Does: lay out pros, cons, gaps, effort. Effort is a stated assumption with its range, never a measurement. Custom
training is unmeasured: no rate is ever printed for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from whichlora.analysis.decide import Contender
from whichlora.analysis.ledger import Ledger
from whichlora.analysis.outcome import Outcome
from whichlora.analysis.phrases import listed
from whichlora.analysis.questions import twins
from whichlora.findings import Option
from whichlora.types import Plan

WORK_HOURS: Mapping[str, tuple[int, int]] = {
    "existing": (1, 2), "multi": (2, 6), "custom": (20, 60), "hybrid": (12, 40),
}
"""Assumed hours of work, lowest and highest, training time included."""
TRAIN = {"rank": 16, "pairs": 200, "steps": 3000, "characters": 30, "swap": 16, "memory": 24}
"""Assumed starting point of a training: rank, pairs of pictures per capability, steps, other characters mixed in,
blocks swapped to main memory, GiB of the card that then suffices."""
DATA = {
    "camera": "pairs of one pose seen from two directions, every other thing equal",
    "lighting": "pairs of one photograph under two lights, pose and clothes equal",
    "background": "pairs of one figure before two backgrounds, cut out with care so that the edges are true",
    "expression": "pairs of one head with two expressions, camera and light equal",
    "trigger": "pictures of the trigger's subject with captions that name it",
    "identity": "many pictures of the character from all sides, and of other characters against forgetting",
    "artefacts": "the cleanest pairs only; leave out whatever shows grids, seams or plastic skin",
}


def options(found: Outcome, ledger: Ledger) -> tuple[Option, ...]:
    """Existing, several, custom, hybrid, in this order; empty before anything was measured."""
    if not found.contenders:
        return ()
    singles = [c for c in found.contenders if c.kind != "stack" and not c.out]
    stacks = [c for c in found.contenders if c.kind == "stack" and not c.out]
    one = max(singles, key=lambda c: (_met(found, c), c.score(), c.name)) if singles else None
    if found.row.strategy == "existing":
        # The option must not name another set-up than the verdict does.
        one = found.contender(found.row.candidate) or one
    many = max(stacks, key=lambda c: (_met(found, c), c.score(), c.name)) if stacks else None
    routes = _best_routes(found)
    left = tuple(name for name in found.must if not any(_holds(found, c, name) for c in found.contenders))
    return (
        _existing(found, one, ledger), _multi(found, many, routes, left, ledger),
        _custom(found, ledger), _hybrid(found, routes, left, ledger),
    )


def _holds(found: Outcome, contender: Contender, name: str) -> bool:
    at = found.must.index(name)
    state = contender.states(found.target)[at]
    return state == "PASS" or (state == "OPEN" and contender.lean[at] >= found.target)


def _met(found: Outcome, contender: Contender) -> int:
    return sum(_holds(found, contender, name) for name in found.must)


def _gaps(found: Outcome, contender: Contender | None) -> tuple[str, ...]:
    return found.must if contender is None else tuple(n for n in found.must if not _holds(found, contender, n))


def _best_routes(found: Outcome) -> dict[str, str]:
    """Must-have → set-up with the best guess, where it holds."""
    routes = {}
    for at, name in enumerate(found.must):
        able = [c for c in found.contenders if not c.barred and _holds(found, c, name)]
        if able:
            routes[name] = max(able, key=lambda c: (c.lean[at], c.kind != "stack", c.name)).name
    return routes


def training_only(found: Outcome) -> tuple[str, ...]:
    """Must-haves that no set-up tried is shown or guessed to do: of the strategies, only training could close them."""
    return tuple(n for n in found.must if found.contenders and not any(_holds(found, c, n) for c in found.contenders))


def _hours(kind: str, ledger: Ledger) -> str:
    low, high = WORK_HOURS[kind]
    return ledger.say(
        f"Assumed, not measured: {ledger.put(f'assumed.{kind}.low', low, 'count')} to "
        f"{ledger.put(f'assumed.{kind}.high', high, 'count')} hours of work."
    )


def _existing(found: Outcome, one: Contender | None, ledger: Ledger) -> Option:
    name = one.name if one else ""
    gaps = _gaps(found, one)
    alone = one is not None and one.kind == "base"
    first = "Nothing to train or to load." if alone else "Nothing to train; usable as soon as the file is in place."
    pros = [first, "One set-up to keep and to explain."]
    cons = [f"Leaves below the target or open: {listed(gaps)}."] if gaps else []
    facts = found.facts.get(name)
    if facts is not None and facts.licence == "unknown" and facts.role == "candidate":
        cons.append("Its licence is unknown: ask before publishing pictures.")
    title, effort = ("Base model alone", "low: a setting") if alone else (
        "One existing LoRA", "low: a file and a setting")
    return Option("existing", title, name, tuple(pros), tuple(cons), gaps, _hours("existing", ledger), effort, name)


def _multi(
    found: Outcome, stack: Contender | None, routes: Mapping[str, str], left: Sequence[str], ledger: Ledger,
) -> Option:
    routed = " + ".join(dict.fromkeys(routes.values()))
    use_stack = stack is not None and len(_gaps(found, stack)) <= len(left)
    name = stack.name if stack is not None and use_stack else routed
    gaps = _gaps(found, stack) if use_stack else tuple(left)
    pros = ["Nothing to train.", "Each kind of edit can use what does it best."]
    cons = ["Stacked LoRAs can weaken each other; only the stacks in the matrix were measured."]
    if stack is not None and stack.harmed:
        cons.append(f"{stack.name} loses against one of its members alone at what that member does best.")
    if not use_stack:
        cons = ["The right set-up must be switched in for each kind of edit; an edit of two kinds needs two passes."]
    if not use_stack and not routes:
        pros, cons = ["Nothing to train."], ["No set-up within your limits meets the target anywhere."]
    elif not use_stack and len(set(routes.values())) == 1:
        pros = ["Nothing to train."]
        cons = [f"{routed} is the first choice wherever the target is met, so there is nothing to switch between."]
    if gaps:
        cons.append(f"Leaves below the target or open: {listed(gaps)}.")
    title = "A stack of LoRAs" if use_stack else "One LoRA per kind of edit"
    return Option("multi", title, name, tuple(pros), tuple(cons), gaps, _hours("multi", ledger),
                  "medium: several files, an order and weights to keep", name)


def _learn_from(found: Outcome, gaps: Sequence[str]) -> str:
    """The row with the best guess at the gaps: closest to what a training must reach."""
    at = [found.must.index(name) for name in gaps] or list(range(len(found.must)))
    known = [c for c in found.contenders if not c.out]
    able = [c for c in known if c.kind == "single"] or known
    return max(able, key=lambda c: (sum(c.lean[i] for i in at), c.name)).name if able else ""


def _custom(found: Outcome, ledger: Ledger) -> Option:
    gaps = training_only(found)
    pros = ["Fits this character and no other."]
    if gaps:
        pros.append(f"Of the strategies, only training could close: {listed(gaps)}.")
    pros += [_break_even(found, name, ledger) for name in gaps]
    cons = [
        "Unmeasured: how good a training becomes is unknown until it is trained and compared here.",
        "Few photographs of one character invite overfitting; hold some back to test on.",
    ]
    return Option("custom", "Train your own LoRA", "", tuple(pros), tuple(cons), (), _hours("custom", ledger),
                  "high: data, training runs and another comparison", _learn_from(found, gaps))


def _break_even(found: Outcome, name: str, ledger: Ledger) -> str:
    """What a training would have to reach at a gap, beside the best that was tried; no rate is claimed for it."""
    tried = [
        (rate, facts.name) for facts in found.facts.values()
        if facts.role != "control" and facts.name not in found.beyond() and (fact := facts.capabilities.get(name))
        and (rate := fact.rate.value) is not None
    ]
    aim = ledger.put(f"threshold/{name}", found.thresholds.get(name, found.target), "percent")
    if not tried:
        return ledger.say(f"It would pay off at {name} if it reached {aim} there; nothing "
                          "that may be used was measured at it.")
    best, owner = max(tried)
    return ledger.say(
        f"It would pay off at {name} if it reached {aim} there; of what may be used, {owner} comes nearest with "
        f"{ledger.put(f'{owner}/{name}.value', best, 'percent')} of these pictures."
    )


def _hybrid(found: Outcome, routes: Mapping[str, str], left: Sequence[str], ledger: Ledger) -> Option:
    routed = " + ".join(dict.fromkeys(routes.values()))
    pros = ["Trains only what is missing, and uses the rest at once."] if left and routes else []
    cons = ["A trained LoRA may disturb the existing ones: compare the combination here again."]
    if not routes:
        cons.insert(0, "Nothing tried can be kept, so this comes to the same as training everything.")
    elif not left:
        cons.insert(0, "Nothing is missing that would have to be trained.")
    return Option("hybrid", "Existing LoRAs, train the gaps", routed, tuple(pros), tuple(cons), tuple(left),
                  _hours("hybrid", ledger), "high: everything of both", _learn_from(found, left))


def roadmap(found: Outcome, ledger: Ledger) -> tuple[str, ...]:
    """Steps of the chosen (or leaning) strategy, in order."""
    row = found.row
    if not found.contenders or found.distrust:
        return (ledger.say("Score the matrix and check the control rows, then analyse again."),)
    steps: list[str] = []
    if not row.firm:
        steps.append("Settle what is open first (see the next purchase); the steps below follow the leaning.")
    able = [name for name in found.beyond() if _does_all(found, name)]
    if row.strategy in ("custom", "hybrid") and able:
        steps.append(ledger.say(
            f"Before training, weigh whether the limits of time and memory can give way: {listed(able)} "
            f"{'is' if len(able) == 1 else 'are'} over them and would otherwise do."
        ))
    if row.strategy in WORK_HOURS:
        steps.append(f"Set aside the time. {_hours(row.strategy, ledger)}")
    names = [name for name in dict.fromkeys([row.candidate, *row.routes.values()]) if name in found.facts]
    if row.strategy in ("existing", "multi", "hybrid"):
        steps += _install(found, names, ledger)
        if row.routes:
            parts = "; ".join(f"{must} → {name}" for must, name in row.routes.items())
            steps.append(f"Route each kind of edit to its set-up: {parts}.")
    if row.strategy in ("custom", "hybrid"):
        steps += _training(found, row.missing or found.must, ledger)
    steps.append(
        "Keep this project as the baseline: after any change of model, LoRA or settings run it again on the same "
        "photographs and compare the two reports."
    )
    return tuple(steps)


def _does_all(found: Outcome, name: str) -> bool:
    """Does a row pass every must-have, limits aside?"""
    facts = found.facts.get(name)
    return facts is not None and all(
        must in facts.capabilities and facts.capabilities[must].state == "PASS" for must in found.must
    )


def _install(found: Outcome, names: Sequence[str], ledger: Ledger) -> list[str]:
    """Files and settings of what is used."""
    steps = []
    for name in names:
        candidate = next((c for c in found.plan.candidates if c.name == name), None)
        if candidate is None:
            continue
        if not candidate.adapters:
            steps.append(f"Use {name} without a LoRA, with the sampler settings of the manifest.")
            continue
        files = listed(
            f"{use.name} at weight {ledger.put(f'{name}/weight/{at}', use.weight, 'factor')}"
            for at, use in enumerate(candidate.adapters)
        )
        sampler = candidate.sampler
        settings = (
            f"{ledger.put(f'{name}/steps', sampler.num_inference_steps, 'count')} steps, guidance "
            f"{ledger.put(f'{name}/guidance', sampler.true_cfg_scale, 'factor')}"
        )
        trigger = ", and put its trigger before every instruction" if candidate.trigger else ""
        steps.append(ledger.say(f"Set up {name}: load {files}; {settings}{trigger}."))
    if names:
        steps.append("Copy the set-up from findings.json, which holds file hashes, weights and sampler settings.")
    return steps


def _training(found: Outcome, gaps: Sequence[str], ledger: Ledger) -> list[str]:
    """What to train and on what. The figures are assumptions to start from."""
    def start(name: str, unit: str = "count") -> str:
        return ledger.put(f"assumed.train.{name}", TRAIN[name], unit)

    learn = _learn_from(found, gaps)
    text = [f"Train for {listed(gaps)}. Collect about {start('pairs')} pairs for each: " + "; ".join(
        f"{gap}: {DATA.get(gap, 'pairs of before and after that differ in this alone')}" for gap in gaps
    ) + "."]
    text.append(ledger.say(text.pop()))
    text.append(ledger.say(
        f"Mix in pairs of {start('characters')} other characters and of the edits that already work, so that the LoRA "
        "does not forget them; hold back a fifth of the photographs for the test."
    ))
    text.append(ledger.say(
        f"Start at rank {start('rank')} on all linear layers of the transformer for about {start('steps')} steps with "
        f"musubi-tuner or ai-toolkit; with {start('swap')} blocks swapped out, fp8 weights fit a card of "
        f"{start('memory', 'card')}. These are starting points, not measurements."
    ))
    if learn:
        text.append(f"Learn from {learn}: of those tried it comes closest at {listed(gaps)}; its rank, targets and "
                    "training metadata are in the survey.")
    text.append("Accepted pictures of this comparison, with their sources and instructions, can serve as pairs.")
    text.append("Add every checkpoint worth keeping as a candidate here and compare it on the same cases.")
    return text


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
