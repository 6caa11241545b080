"""The truth table: from what is shown per capability to a strategy.

Does: name the strategy in a world where everything is known, list the strategies that open questions still allow, and
say whether they are one. Deterministic. Does not: estimate or word.

In a known world, in this order:

| situation | strategy |
|---|---|
| one set-up with at most one LoRA (base included) passes every must-have | existing |
| a stack passes every must-have, or every must-have is passed by some set-up | multi |
| no set-up passes more than half of the must-haves between them, or identity is passed by none | custom |
| the rest: some must-haves are passed by none | hybrid |

While no LoRA was tried, only 'existing' can be told (by the base); and where every set-up, the base included, is over a
limit of time or memory, a training would be as well: both leave everything undecided.

Under 'multi' a stack is used if one passes everything without harming a member's own capability; otherwise each
must-have is routed to the set-up that is best at it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product

from whichlora.analysis.table import IDENTITY
from whichlora.findings import Decision, State


@dataclass(frozen=True, slots=True)
class Contender:
    """One set-up that may be recommended."""

    name: str
    """Candidate's name."""
    kind: str
    """'base', 'single' or 'stack'."""
    low: tuple[float, ...]
    """One-sided 95 % lower bounds per must-have, new photographs."""
    high: tuple[float, ...]
    """One-sided 95 % upper bounds."""
    lean: tuple[float, ...]
    """Best single guess per must-have, under a prior that all rates together tell."""
    better: bool = False
    """Shown better than base over the must-haves."""
    barred: bool = False
    """Over the time or memory budget."""
    harmed: bool = False
    """A stack shown to do worse, beyond the margin, than a member alone at what that member does best."""
    weights: tuple[float, ...] = ()
    """Weight per must-have, summing to 1; equal when empty."""
    out: bool = False
    """Dropped by a screening, or nothing is known of it: never used, but what is not shown below the target may still
    be possible with it."""

    def score(self) -> float:
        """Weighted mean of the guesses."""
        if not self.weights:
            return sum(self.lean) / len(self.lean)
        return sum(w * v for w, v in zip(self.weights, self.lean, strict=True))

    def states(self, target: float) -> tuple[State, ...]:
        """PASS, FAIL or OPEN per must-have."""
        if self.barred:
            return ("FAIL",) * len(self.low)
        return tuple(state_of(low, high, target) for low, high in zip(self.low, self.high, strict=True))

    def shifted(self, at: int, change: float) -> Contender:
        """The same contender with everything known of one must-have moved by `change`."""
        def move(values: tuple[float, ...]) -> tuple[float, ...]:
            return tuple(v + change if i == at else v for i, v in enumerate(values))

        return replace(self, low=move(self.low), high=move(self.high), lean=move(self.lean))


@dataclass(frozen=True, slots=True)
class Row:
    """The row of the truth table that the evidence reaches."""

    decision: Decision
    """Strategy, 'undecided' if open questions allow more than one."""
    provisional: Decision | None
    """Leaning while undecided."""
    candidate: str
    """Set-up to use; '' for custom; several joined by ' + ' when they are used side by side."""
    firm: bool
    """No open question could change the strategy."""
    routes: Mapping[str, str] = field(default_factory=dict)
    """Must-have → set-up, where several are used side by side."""
    missing: tuple[str, ...] = ()
    """Must-haves that no set-up passes."""
    possible: frozenset[Decision] = frozenset()
    """Strategies that open questions still allow."""

    @property
    def strategy(self) -> Decision:
        """The strategy that is named, firm or leaning."""
        return self.provisional or self.decision


def state_of(low: float, high: float, target: float) -> State:
    """PASS if shown at or above the target, FAIL if shown below, else OPEN."""
    if low >= target:
        return "PASS"
    return "FAIL" if high < target else "OPEN"


def strategy_of(kinds: Sequence[str], passes: Sequence[Sequence[bool]], must: Sequence[str]) -> Decision:
    """Strategy in a world where every contender passes or fails every must-have."""
    if any(kind != "stack" and all(row) for kind, row in zip(kinds, passes, strict=True)):
        return "existing"
    missing = [must[j] for j in range(len(must)) if not any(row[j] for row in passes)]
    return _without_single(missing, must)


def _without_single(missing: Sequence[str], must: Sequence[str]) -> Decision:
    if not missing:
        return "multi"
    if 2 * len(missing) > len(must) or IDENTITY in missing:
        return "custom"
    return "hybrid"


def possible_strategies(
    kinds: Sequence[str], states: Sequence[Sequence[State]], must: Sequence[str],
) -> frozenset[Decision]:
    """Strategies over all ways in which OPEN may turn out."""
    return _possible(tuple(kinds), tuple(tuple(row) for row in states), tuple(must))


@lru_cache(maxsize=20_000)
def _possible(
    kinds: tuple[str, ...], states: tuple[tuple[State, ...], ...], must: tuple[str, ...],
) -> frozenset[Decision]:
    """The same, remembered: a flip card asks for the same tables again and again."""
    single = [row for kind, row in zip(kinds, states, strict=True) if kind != "stack"]
    if any(all(s == "PASS" for s in row) for row in single):
        return frozenset({"existing"})
    found: set[Decision] = set()
    if any("FAIL" not in row for row in single):
        found.add("existing")
    columns = range(len(must))
    covered = {j for j in columns if any(row[j] == "PASS" for row in states)}
    hopeless = {j for j in columns if all(row[j] == "FAIL" for row in states)}
    unclear = [j for j in columns if j not in covered and j not in hopeless]
    if not hopeless and _coverable(kinds, states, unclear, len(must)):
        found.add("multi")
    for fails in product((False, True), repeat=len(unclear)):
        lost = hopeless | {j for j, fail in zip(unclear, fails, strict=True) if fail}
        if lost:
            found.add(_without_single([must[j] for j in sorted(lost)], must))
    return frozenset(found)


def _coverable(kinds: Sequence[str], states: Sequence[Sequence[State]], unclear: Sequence[int], count: int) -> bool:
    """Can every must-have be passed by somebody without a single set-up passing all of them?"""
    held = [{j for j in range(count) if row[j] == "PASS"} for row in states]

    def assign(rest: Sequence[int]) -> bool:
        if not rest:
            return True
        j = rest[0]
        for i, row in enumerate(states):
            if row[j] == "FAIL" or (kinds[i] != "stack" and len(held[i]) + 1 == count):
                continue
            held[i].add(j)
            done = assign(rest[1:])
            held[i].discard(j)
            if done:
                return True
        return False

    return assign(list(unclear))


def untried(contenders: Sequence[Contender]) -> bool:
    """Was nothing but the base model tried?"""
    return all(c.kind == "base" for c in contenders)


def all_barred(contenders: Sequence[Contender]) -> bool:
    """Is every set-up over a limit, the base included? A LoRA of one's own costs as much as the base."""
    return all(c.barred for c in contenders) and any(c.kind == "base" for c in contenders)


def decide(contenders: Sequence[Contender], must: Sequence[str], target: float) -> Row:
    """The row of the truth table, with the set-up to use.

    Args:
        contenders: Base, candidates and stacks; control rows must not be among them.
        must: Names of the must-haves, in the contenders' order.
        target: Consistency rate that is good enough.
    """
    if not contenders or not must:
        return Row("undecided", None, "", False)
    kinds = [c.kind for c in contenders]
    states = [c.states(target) for c in contenders]
    possible = possible_strategies(kinds, states, must)
    if possible != {"existing"} and (untried(contenders) or all_barred(contenders)):
        return Row("undecided", None, "", False)
    firm = len(possible) == 1
    passes = [tuple(s == "PASS" for s in row) for row in states]
    if not firm:
        passes = [
            tuple(s == "PASS" or (s == "OPEN" and v >= target) for s, v in zip(row, c.lean, strict=True))
            for row, c in zip(states, contenders, strict=True)
        ]
    strategy = next(iter(possible)) if firm else strategy_of(kinds, passes, must)
    candidate, routes, missing = _choose(strategy, contenders, passes, must)
    named, leaning = (strategy, None) if firm else ("undecided", strategy)
    return Row(named, leaning, candidate, firm, routes, missing, possible)


def _choose(
    strategy: Decision, contenders: Sequence[Contender], passes: Sequence[Sequence[bool]], must: Sequence[str],
) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """Who is used for what under a strategy."""
    ranked = sorted(range(len(contenders)), key=lambda i: order(contenders[i]))
    missing = tuple(must[j] for j in range(len(must)) if not any(row[j] for row in passes))
    if strategy == "custom":
        return "", {}, missing
    if strategy == "existing":
        able = [i for i in ranked if contenders[i].kind != "stack" and all(passes[i])]
        base = [i for i in able if contenders[i].kind == "base"]
        improved = [i for i in able if contenders[i].better]
        # The base is enough unless somebody who also passes is shown to be better.
        pick = (improved or base)[0] if base else able[0]
        return contenders[pick].name, {}, ()
    whole = [i for i in ranked if contenders[i].kind == "stack" and all(passes[i])]
    unharmed = [i for i in whole if not contenders[i].harmed]
    if strategy == "multi" and unharmed:
        return contenders[unharmed[0]].name, {}, ()
    routes = {}
    for j, name in enumerate(must):
        able = [i for i in ranked if passes[i][j] and not contenders[i].barred]
        if able:
            routes[name] = contenders[max(able, key=lambda i: (contenders[i].lean[j], -ranked.index(i)))].name
    if strategy == "multi" and whole and len(set(routes.values())) == 1:
        return contenders[whole[0]].name, {}, ()
    return " + ".join(dict.fromkeys(routes.values())), routes, missing


def order(contender: Contender) -> tuple[float, int, str]:
    """Best first; equals in the order base, single, stack, then by name."""
    return (-round(contender.score(), 9), ("base", "single", "stack").index(contender.kind), contender.name)
