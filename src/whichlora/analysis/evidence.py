"""Intervals, shrunken guesses and corrected comparisons for every row of the table.

Does: turn counts into `Contender`s and paired differences. Does not: word, choose or store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from whichlora.analysis.decide import Contender
from whichlora.analysis.settings import Settings
from whichlora.analysis.table import WHOLE, Table
from whichlora.findings import State
from whichlora.stats.mixture import mixture_means
from whichlora.stats.multiple import max_t
from whichlora.stats.paired import Difference, paired_difference
from whichlora.stats.rates import (
    RateInterval,
    clustered_rate,
    effective_size,
    pooled_capabilities,
    rate_interval,
    t_quantile,
    wilson,
)
from whichlora.stats.shrinkage import Shrunken, shrink
from whichlora.types import Candidate

Floats = NDArray[np.float64]

LEVEL = 0.05
"""Family-wise level of 'shown better than base'."""


@dataclass(frozen=True)
class Costs:
    """What a row costs, where it is known."""

    seconds: float | None
    """Mean seconds per picture."""
    memory_gib: float | None
    """Largest peak memory."""


def kind_of(candidate: Candidate) -> str:
    """'base', 'single' or 'stack' (several LoRAs beyond those of the sampler)."""
    if candidate.role == "base":
        return "base"
    return "stack" if len(candidate.adapters) > 1 else "single"


def base_of(table: Table, row: int) -> int | None:
    """Row of the base that a row is compared with: the one with the same sampler if there is one."""
    bases = [i for i, c in enumerate(table.candidates) if c.role == "base"]
    if not bases:
        return None
    alike = [i for i in bases if table.candidates[i].sampler == table.candidates[row].sampler]
    return (alike or bases)[0]


def capability_rate(table: Table, row: int, capability: str) -> RateInterval | None:
    """Rate of a row at a capability, or None without any scored cell.

    Whether a cell can be scored may hang on how it came out. So the one-sided bounds, which decide, count every
    unscored cell as failed for the floor and as passed for the ceiling.
    """
    passed, scored = table.counts(row, capability)
    if scored.sum() == 0:
        return None
    found, silent = clustered_rate(passed, scored), table.silent(row, capability)
    if silent.sum() == 0:
        return found
    worst, best = clustered_rate(passed, scored + silent), clustered_rate(passed + silent, scored + silent)
    note = "some pictures could not be scored: the state counts them both ways"
    return replace(found, floor=worst.floor, ceiling=best.ceiling, note="; ".join(filter(None, (found.note, note))))


def overall_rate(table: Table, row: int, families: Sequence[str]) -> RateInterval | None:
    """Rate with equal weight for each of some families, or None without any scored cell."""
    values, cells = overall_values(table, row, families)
    if len(values) == 0:
        return None
    return rate_interval(values, cells)


def overall_values(table: Table, row: int, families: Sequence[str]) -> tuple[Floats, float]:
    """Pseudo-values per photograph of the equally weighted rate, and cells per photograph."""
    rates, scored = table.rates(row)
    at = [table.families.index(family) for family in families if family in table.families]
    return pooled_capabilities(rates[at], scored[at])


def photo_rates(table: Table, row: int, capability: str, families: Sequence[str]) -> tuple[Floats, Floats]:
    """Rate per photograph (NaN without scored cells) and cells; 'overall' weighs `families` equally."""
    if capability == "overall":
        at = [table.families.index(family) for family in families if family in table.families]
        rates, scored = table.rates(row)
        rates, scored = rates[at], scored[at]
        has = ~np.isnan(rates)
        count = has.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(count > 0, np.where(has, rates, 0.0).sum(axis=0) / count, np.nan), scored.sum(axis=0)
    passed, scored = table.counts(row, capability)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scored > 0, passed / scored, np.nan), scored


def difference(table: Table, first: int, second: int, capability: str, families: Sequence[str]) -> Difference | None:
    """Paired difference of two rows over the photographs both have, or None."""
    a, m = photo_rates(table, first, capability, families)
    b, n = photo_rates(table, second, capability, families)
    both = ~np.isnan(a) & ~np.isnan(b)
    if not both.any():
        return None
    cells = float(both.sum() / np.sum(1 / np.minimum(m[both], n[both])))
    return paired_difference(a[both], b[both], cells)


def compared(
    table: Table, rows: Sequence[int], capabilities: Sequence[str], families: Sequence[str],
) -> Mapping[tuple[int, str], float]:
    """Signed adjusted p-values against base of every row × capability, one family of comparisons.

    Returns:
        (row, capability) → p, negative where the row is below base; comparisons that cannot be made are absent.
    """
    keys, columns = [], []
    for row in rows:
        base = base_of(table, row)
        if base is None or base == row:
            continue
        for capability in capabilities:
            a, _ = photo_rates(table, row, capability, families)
            b, _ = photo_rates(table, base, capability, families)
            delta = a - b
            if not np.isnan(delta).all():
                keys.append((row, capability))
                columns.append(delta)
    if not keys:
        return {}
    matrix = np.array(columns).T
    adjusted = max_t(matrix, len(table.screening.out) * len(capabilities))
    signs = np.sign(np.nansum(matrix, axis=0))
    return {key: float(p if sign >= 0 else -p) for key, p, sign in zip(keys, adjusted, signs, strict=True)}


def better(p: float | None) -> bool:
    """Does a signed adjusted p-value show a gain over base?"""
    return p is not None and 0 < p <= LEVEL


def worse(p: float | None) -> bool:
    """Does a signed adjusted p-value show a loss against base?"""
    return p is not None and -LEVEL <= p < 0


def shrunken(table: Table, rows: Sequence[int], capability: str) -> Shrunken | None:
    """Shrunken rates of some rows at one capability, or None where a row has no scored cell."""
    filled, harmonic = [], []
    for row in rows:
        rates, scored = photo_rates(table, row, capability, ())
        has = ~np.isnan(rates)
        if not has.any():
            return None
        filled.append(np.where(has, rates, rates[has].mean()))
        harmonic.append(has.sum() / np.sum(1 / scored[has]))
    return shrink(np.array(filled), float(np.mean(harmonic)))


def in_play(table: Table) -> list[int]:
    """Rows that may be recommended and have any scored cell; those dropped by a screening may not."""
    scored = table.scored.sum(axis=(1, 2))
    return [
        i for i, c in enumerate(table.candidates)
        if c.role != "control" and scored[i] > 0 and c.name not in table.screening.out
    ]


def cautious_ceiling(table: Table, row: int, capability: str) -> float:
    """Upper bound of a row that was dropped, valid at whichever of the rounds that was (union bound over rounds)."""
    passed, scored = table.counts(row, capability)
    silent = table.silent(row, capability)
    has = scored + silent > 0
    if has.sum() < 2:
        return 1.0
    cells = (scored + silent)[has]
    values = (passed + silent)[has] / cells
    size, dof = effective_size(values, float(len(cells) / np.sum(1 / cells)))
    cuts = max(1, table.screening.planned - 1)
    return float(wilson(values.mean(), size, t_quantile(1 - LEVEL / cuts, dof))[1])


def unmeasured(table: Table) -> tuple[str, ...]:
    """Rows that could be recommended if anything were known of them: not one cell of theirs has an answer."""
    scored = table.scored.sum(axis=(1, 2))
    return tuple(
        c.name for i, c in enumerate(table.candidates)
        if c.role != "control" and scored[i] == 0 and c.name not in table.screening.out
    )


def _out(
    table: Table, must: Sequence[str], settings: Settings, costs: Mapping[str, Costs]
) -> list[Contender]:
    """Rows that a screening dropped, or of which nothing is known: what their pictures leave possible, and no more."""
    found = []
    for row, candidate in enumerate(table.candidates):
        if candidate.name in table.screening.out or candidate.name in unmeasured(table):
            zeros = (0.0,) * len(must)
            found.append(Contender(
                candidate.name, kind_of(candidate), zeros, tuple(cautious_ceiling(table, row, name) for name in must),
                zeros, barred=over_budget(costs.get(candidate.name), settings), weights=settings.shares(must), out=True,
            ))
    return found


def contenders(
    table: Table, must: Sequence[str], settings: Settings, costs: Mapping[str, Costs], target: float = 0.7,
) -> list[Contender]:
    """Everything that may be recommended, with what is known of it per must-have.

    Where a must-have has a threshold of its own, what is known of it is moved by as much as the threshold lies off
    the target, so that one target serves for all.
    """
    rows = in_play(table)
    if not rows:
        return []
    intervals = {(row, name): capability_rate(table, row, name) for row in rows for name in must}
    guesses: dict[tuple[int, str], float] = {}
    # Not pulled to the others at the same capability: with few photographs that puts whoever alone can do a thing below
    # the target, and makes the leaning an expensive training.
    known_rates = {key: interval for key, interval in intervals.items() if interval}
    means = mixture_means([i.value for i in known_rates.values()], [i.n_eff for i in known_rates.values()])
    likely = dict(zip(known_rates, means.tolist(), strict=True))
    for row, name in intervals:
        interval = intervals[row, name]
        # One photograph tells nothing of how far the rates spread: then there is nothing to shrink by.
        lone = interval is not None and interval.photos < 2
        guess = 0.0 if interval is None else interval.value if lone else likely[row, name]
        guesses[row, name] = _half_silent(table, row, name, guess)
    gains = compared(table, rows, ("overall",), [name for name in must if name not in WHOLE])
    found = []
    for row in rows:
        candidate = table.candidates[row]
        known = [intervals[row, name] for name in must]
        found.append(Contender(
            candidate.name, kind_of(candidate),
            tuple(i.floor if i else 0.0 for i in known), tuple(i.ceiling if i else 1.0 for i in known),
            tuple(guesses[row, name] for name in must), better(gains.get((row, "overall"))),
            over_budget(costs.get(candidate.name), settings), _harms(table, row, must, guesses, settings.margin),
            settings.shares(must),
        ))
    return eased([*found, *_out(table, must, settings, costs)], easings(must, settings, target))


def easings(must: Sequence[str], settings: Settings, target: float) -> tuple[float, ...]:
    """By how much each must-have's own threshold lies below the target."""
    return tuple(target - settings.threshold(name, target) for name in must)


def eased(found: Sequence[Contender], by: Sequence[float]) -> list[Contender]:
    """Contenders with what is known of each must-have moved."""
    moved = list(found)
    for at, change in enumerate(by):
        if change:
            moved = [contender.shifted(at, change) for contender in moved]
    return moved


def _half_silent(table: Table, row: int, capability: str, guess: float) -> float:
    """A guess in which unscored cells count half."""
    scored, silent = table.counts(row, capability)[1].sum(), table.silent(row, capability).sum()
    return guess if silent == 0 else float((guess * scored + 0.5 * silent) / (scored + silent))


def budget_states(cost: Costs | None, settings: Settings) -> dict[str, State]:
    """'time' and 'memory' against the limits that are set; OPEN where nothing was measured."""
    pairs = (
        ("time", settings.max_seconds, cost.seconds if cost else None),
        ("memory", settings.max_memory_gib, cost.memory_gib if cost else None),
    )
    return {
        name: "OPEN" if value is None else "PASS" if value <= most else "FAIL"
        for name, most, value in pairs if most is not None
    }


def over_budget(cost: Costs | None, settings: Settings) -> bool:
    """Is a row slower or larger than the user allows?"""
    return "FAIL" in budget_states(cost, settings).values()


def _harms(
    table: Table, row: int, must: Sequence[str], guesses: Mapping[tuple[int, str], float], margin: float,
) -> bool:
    """Is a stack shown to lose more than the margin at what one of its members does best?"""
    stack = table.candidates[row]
    if kind_of(stack) != "stack":
        return False
    files = {use.sha256 for use in stack.adapters}
    members = [
        i for i in in_play(table)
        if len(table.candidates[i].adapters) == 1 and table.candidates[i].adapters[0].sha256 in files
    ]
    for name in must:
        if not members:
            break
        owner = max(members, key=lambda i: guesses.get((i, name), 0.0))
        loss = difference(table, row, owner, name, must)
        if loss is not None and loss.high < -margin:
            return True
    return False
