"""Stacks: which are worth trying, and whether they hold what their parts can do.

Does: propose few stacks from measured single results (complementary winners, never every subset), compare each with its
parts capability by capability, and propose other weights where a part was disturbed. Does not: make pictures or word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

import numpy as np

from whichlora.analysis import evidence
from whichlora.analysis.table import Table
from whichlora.stats.paired import Difference, paired_difference
from whichlora.types import Candidate

MARGIN = 0.05
"""Difference of consistency that matters (0 to 1)."""
WORTH_TRYING = 0.02
"""Difference of shrunken rates from which on a stack is worth its pictures: shrunken rates lie close together while
there are few photographs, and a wrong proposal costs pictures, not a wrong verdict."""
CALMER = 0.8
"""Factor on the weight of a part that disturbs another."""
LEAST_WEIGHT = 0.4
"""No part is turned down below this share of its own weight: it would hardly be in the stack."""
Verdict = Literal["better", "worse", "open"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A stack worth measuring."""

    parts: tuple[str, ...]
    """Names of the single rows."""
    owners: Mapping[str, str]
    """Capability → the part that is best at it, for capabilities that a part improves over the base."""
    expected: float
    """Rate over the must-haves if nothing were lost, 0 to 1."""
    gain: float
    """That minus the best single row's, 0 to 1: the most that the stack can bring."""


@dataclass(frozen=True, slots=True)
class Interference:
    """What happens to one capability in a stack."""

    capability: str
    """Edit family."""
    owner: str
    """Part that is best at it."""
    rate: float
    """The stack's rate."""
    parts: Mapping[str, float]
    """Each part's own rate."""
    against_owner: Difference
    """Stack minus owner: negative is interference."""
    against_others: Mapping[str, Difference]
    """Stack minus each other part: what the stack adds to them."""
    owned: bool = True
    """Whether the owner is ahead of the base at it by shrunken rates; else it owns it by luck."""
    sagging: bool = False
    """Whether the stack is behind the owner by more than the margin and a one-sided 90 % bound says so too: reason to
    try other weights, which cost pictures and widen every interval."""


@dataclass(frozen=True, slots=True)
class StackResult:
    """A measured stack beside its parts."""

    name: str
    """The stack's row."""
    parts: tuple[str, ...]
    """Its parts' rows."""
    better_part: str
    """The part with the higher rate over the must-haves."""
    against_better: Difference
    """Stack minus the better part, over the must-haves."""
    capabilities: tuple[Interference, ...]
    """One entry per must-have that both have been measured on."""
    verdict: Verdict
    """'worse': shown behind its better part over the must-haves, or shown to lose one of them beyond the margin;
    'better': not so, and shown ahead of its better part, or ahead of every part somewhere while nothing looks lost by
    twice the margin; else 'open'."""
    lost: tuple[str, ...] = ()
    """Capabilities shown to be lost beyond the margin."""
    disturbed: tuple[str, ...] = ()
    """Capabilities that look lost beyond the margin, shown or not: reason to try other weights."""
    gained: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Part → capabilities at which the stack is shown ahead of it."""

    @property
    def complementary(self) -> bool:
        """Whether the stack is shown ahead of every part somewhere."""
        return all(self.gained.get(part) for part in self.parts)


def singles(table: Table) -> list[int]:
    """Rows that a stack can be made of: one LoRA, measured."""
    return [row for row in evidence.in_play(table)
            if table.candidates[row].role == "candidate" and len(table.candidates[row].adapters) == 1]


def propose(
    table: Table, must: Sequence[str], *, limit: int = 3, margin: float = WORTH_TRYING, triples: bool = True
) -> list[Proposal]:
    """Stacks of two or three whose parts complement each other, most promising first.

    Every part must be better than the base and than each other part at some must-have, beyond the margin, by shrunken
    rates (a plain rate would favour whatever was lucky). A third part must add to the best pair in the same way.

    Args:
        table: Measured rows.
        must: Must-haves; identity and the like own no edit and are left out.
        limit: Most stacks proposed.
        margin: Difference that matters.
        triples: Whether stacks of three are considered.
    """
    families = [name for name in must if name in table.families]
    rows = [row for row in evidence.in_play(table) if table.candidates[row].role != "control"]
    guess = _guesses(table, rows, families)
    found: list[Proposal] = []
    for size in (2, 3) if triples else (2,):
        for group in combinations(singles(table), size):
            if any(table.candidates[row].sampler != table.candidates[group[0]].sampler for row in group):
                continue
            if len({table.candidates[row].adapters[0].sha256 for row in group}) < size:
                continue
            proposal = _proposal(table, group, families, guess, margin)
            if proposal is not None and proposal.gain > margin:
                found.append(proposal)
    found.sort(key=lambda p: (-round(p.gain, 9), len(p.parts), p.parts))
    kept: list[Proposal] = []
    for proposal in found:
        # A third part is worth its risk only where it adds to every pair inside it.
        inside = [p for p in found if len(p.parts) == 2 and set(p.parts) < set(proposal.parts)]
        if len(proposal.parts) == 3 and any(proposal.gain - p.gain <= margin for p in inside):
            continue
        kept.append(proposal)
    return kept[:limit]


def leaders(table: Table, must: Sequence[str]) -> dict[str, str]:
    """Must-have → the single LoRA that is ahead of the base at it by shrunken rates; '' where none is."""
    families = [name for name in must if name in table.families]
    rows = [row for row in evidence.in_play(table) if table.candidates[row].role != "control"]
    guess = _guesses(table, rows, families)
    found: dict[str, str] = {}
    for name in families:
        ahead: dict[int, float] = {}
        for row in singles(table):
            base, value = evidence.base_of(table, row), guess.get((row, name))
            floor = 0.0 if base is None else guess.get((base, name), 0.0)
            if value is not None and value > floor + WORTH_TRYING:
                ahead[row] = value
        found[name] = table.candidates[max(ahead, key=lambda row: ahead[row])].name if ahead else ""
    return found


def _guesses(table: Table, rows: Sequence[int], families: Sequence[str]) -> dict[tuple[int, str], float]:
    """Shrunken rate by row and family; the plain rate where shrinking is not possible."""
    found: dict[tuple[int, str], float] = {}
    for name in families:
        measured = [row for row in rows if evidence.capability_rate(table, row, name) is not None]
        posterior = evidence.shrunken(table, measured, name) if len(measured) > 1 else None
        for at, row in enumerate(measured):
            interval = evidence.capability_rate(table, row, name)
            plain = interval.value if interval else 0.0
            found[row, name] = float(posterior.rates()[at]) if posterior is not None else plain
    return found


def _proposal(
    table: Table, group: Sequence[int], families: Sequence[str], guess: Mapping[tuple[int, str], float], margin: float
) -> Proposal | None:
    base = evidence.base_of(table, group[0])
    owners: dict[str, str] = {}
    needed: set[int] = set()
    best: list[float] = []
    for name in families:
        values = {row: guess.get((row, name), 0.0) for row in group}
        first = max(group, key=lambda row: values[row])
        floor = 0.0 if base is None else guess.get((base, name), 0.0)
        best.append(max(values[first], floor))
        if values[first] > floor + margin:
            owners[name] = table.candidates[first].name
            if all(values[first] > values[row] + margin for row in group if row != first):
                needed.add(first)
    if needed != set(group) or not families:
        return None
    rows = {row for row, _ in guess}
    alone = max((float(np.mean([guess.get((row, name), 0.0) for name in families])) for row in rows
                 if len(table.candidates[row].adapters) < 2), default=0.0)
    expected = float(np.mean(best))
    return Proposal(tuple(table.candidates[row].name for row in group), owners, expected, expected - alone)


def compare(table: Table, stack: str, must: Sequence[str], *, margin: float = MARGIN, among: int = 1) -> StackResult:
    """Compare a measured stack with its parts on the same photographs.

    Args:
        table: Measured rows, the stack and its parts among them.
        stack: The stack's row.
        must: Must-haves.
        margin: Loss that matters.
        among: Stacks that were tried; intervals widen with it (Bonferroni), since the luckiest will be looked at, and
            those of single capabilities with the number of capabilities as well.

    Raises:
        ValueError: Fewer than two of its parts were measured alone.
    """
    row = table.index(stack)
    parts = parts_of(table, row)
    if len(parts) < 2:
        raise ValueError(f"'{stack}' has fewer than two parts that were measured alone")
    families = [name for name in must if name in table.families]
    level = 1 - 0.05 / max(1, among)
    narrow = 1 - 0.05 / (max(1, among) * max(1, len(families)))
    rates = {part: {name: _rate(table, part, name) for name in families} for part in parts}
    better = max(parts, key=lambda part: (float(np.nanmean(list(rates[part].values()))), -part))
    whole = _difference(table, row, better, "overall", families, level)
    base = evidence.base_of(table, row)
    guess = _guesses(table, evidence.in_play(table), families)
    found: list[Interference] = []
    for name in families:
        known = {part: rates[part][name] for part in parts if not np.isnan(rates[part][name])}
        if not known or np.isnan(_rate(table, row, name)):
            continue
        owner = max(known, key=lambda part: (known[part], -part))
        against = {part: _difference(table, row, part, name, families, narrow) for part in known}
        if (own := against.pop(owner)) is None:
            continue
        hint = _difference(table, row, owner, name, families, 0.8)
        found.append(Interference(
            name, table.candidates[owner].name, _rate(table, row, name),
            {table.candidates[part].name: value for part, value in known.items()}, own,
            {table.candidates[part].name: d for part, d in against.items() if d is not None},
            base is None or guess.get((owner, name), 0.0) > guess.get((base, name), 0.0) + WORTH_TRYING,
            hint is not None and hint.value < -margin and hint.high < 0,
        ))
    if whole is None:
        raise ValueError(f"'{stack}' and its parts share no measured photograph")
    return _judged(stack, [table.candidates[part].name for part in parts], table.candidates[better].name, whole,
                   found, margin)


def _judged(
    stack: str, parts: Sequence[str], better: str, whole: Difference, found: Sequence[Interference], margin: float
) -> StackResult:
    lost = tuple(i.capability for i in found if i.against_owner.high < -margin)
    # Of a capability that nobody owns the luckiest part is the "owner": only a shown loss counts there.
    disturbed = tuple(i.capability for i in found if i.capability in lost or (i.owned and i.sagging))
    gained = {part: tuple(i.capability for i in found if part in i.against_others and i.against_others[part].low > 0)
              for part in parts}
    verdict: Verdict = "open"
    # A loss that is not shown may be luck; one of twice the margin is no basis for calling the stack better.
    both = all(gained.values()) and not any(i.owned and i.against_owner.value < -2 * margin for i in found)
    if lost or whole.high < 0:
        verdict = "worse"
    elif whole.low > 0 or both:
        verdict = "better"
    return StackResult(stack, tuple(parts), better, whole, tuple(found), verdict, lost, disturbed, gained)


def parts_of(table: Table, row: int) -> list[int]:
    """Single rows of a stack's files with the same sampler, in the stack's order; of several weights the nearest."""
    stack = table.candidates[row]
    found: list[int] = []
    for use in stack.adapters:
        alike = [i for i in singles(table) if table.candidates[i].adapters[0].sha256 == use.sha256
                 and table.candidates[i].sampler == stack.sampler]
        if alike:
            found.append(min(alike, key=lambda i: abs(table.candidates[i].adapters[0].weight - use.weight)))
    return found


def _rate(table: Table, row: int, name: str) -> float:
    found = evidence.capability_rate(table, row, name)
    return float("nan") if found is None else found.value


def _difference(
    table: Table, first: int, second: int, name: str, families: Sequence[str], level: float
) -> Difference | None:
    """Paired difference with another level than the report's."""
    a, m = evidence.photo_rates(table, first, name, families)
    b, n = evidence.photo_rates(table, second, name, families)
    both = ~np.isnan(a) & ~np.isnan(b)
    if not both.any():
        return None
    cells = float(both.sum() / np.sum(1 / np.minimum(m[both], n[both])))
    return paired_difference(a[both], b[both], cells, level)


def calmed(result: StackResult, weights: Mapping[str, float], full: Mapping[str, float]) -> dict[str, float] | None:
    """Other weights for a stack whose parts disturb each other: everybody but the owner of what suffers steps back.

    Args:
        result: The measured stack.
        weights: Part → weight in that stack.
        full: Part → weight at which it was measured alone.

    Returns:
        Part → weight, or None when nothing is disturbed or every disturbing part is as low as is sensible.
    """
    owners = {i.owner for i in result.capabilities if i.capability in result.disturbed}
    if not owners:
        return None
    changed = dict(weights)
    for part in result.parts:
        others = owners - {part}
        if others and abs(weights[part]) * CALMER >= LEAST_WEIGHT * abs(full[part]) - 1e-9:
            changed[part] = round(weights[part] * CALMER, 3)
    return changed if changed != dict(weights) else None


def wording(
    parts: Sequence[Candidate], owners: Mapping[str, str], asked: Mapping[str, tuple[str, str]]
) -> dict[str, str]:
    """Instructions of a stack: each edit is asked in the words of the part that is best at its kind.

    Args:
        parts: The single rows.
        owners: Capability → best part.
        asked: Edit → (capability, the suite's wording).

    Returns:
        Edit → wording, where it differs from the suite's.
    """
    by_name = {part.name: part for part in parts}
    found: dict[str, str] = {}
    for edit, (capability, prompt) in asked.items():
        owner = by_name.get(owners.get(capability, ""))
        if owner is None:
            continue
        text = f"{owner.trigger} {owner.prompts.get(edit, prompt)}".strip()
        if text != prompt:
            found[edit] = text
    return found
