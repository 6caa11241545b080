"""The next purchase: how many more photographs probably settle the decision, by simulating what they would show.

Does: draw what the rates may truly be, then the pictures of more photographs, then the report's own bounds and truth
table on old and new ones together. Does not: word, or decide what is true now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom

from whichlora.analysis import evidence
from whichlora.analysis.decide import Contender, possible_strategies
from whichlora.analysis.table import WHOLE, Table
from whichlora.findings import State
from whichlora.stats.mixture import mixture_draws
from whichlora.stats.rates import effective_size, pooled_icc, t_quantile, wilson

Floats = NDArray[np.float64]

PURCHASES = (5, 10, 15, 20, 30, 40, 60, 80)
"""Numbers of additional photographs that are tried."""
WANTED = 0.8
"""Probability of settling the question at which a purchase is worth naming."""
WORLDS = 200
"""Simulated futures."""
LEAST_ICC, MOST_ICC = 0.02, 0.8
"""Photographs always have something in common; and a simulation needs some luck within them."""
STATES: tuple[State, ...] = ("PASS", "FAIL", "OPEN")
PASS, FAIL, OPEN = range(3)


@dataclass(frozen=True, slots=True)
class Purchase:
    """What more pictures would probably bring."""

    photos: int
    """Photographs to add."""
    probability: float
    """Probability that the decision is then firm."""
    hours: float | None
    """Generation time for the rows still in play, on the machine that was measured."""
    rows: tuple[str, ...]
    """Rows that must be run on them."""
    full: bool = False
    """Those who were screened out are measured as well, on the old photographs and on the new ones."""


@dataclass(frozen=True)
class _Question:
    """What is asked of every future."""

    table: Table
    found: Sequence[Contender]
    must: Sequence[str]
    target: float
    easing: Sequence[float]
    full: bool


def next_purchase(
    table: Table, found: Sequence[Contender], must: Sequence[str], target: float, seconds: Mapping[str, float | None],
    *, seed: int, easing: Sequence[float] = (),
) -> Purchase | None:
    """The cheapest purchase after which the decision is probably firm, by simulating futures.

    Rates are drawn under a prior whose shape all rates together tell, as draws that pull the candidates of one
    capability to each other leave too many near the target; a photograph's effect has the correlation that all rows
    together show. After a screening, what is not known of the dropped stays unknown unless they are measured too; both
    ways are tried.

    Args:
        table: What was measured.
        found: Contenders, those who were dropped included.
        must: Must-haves.
        target: Consistency rate that is good enough.
        seconds: Per picture, by row.
        seed: Where luck comes from.
        easing: By how much each must-have's own threshold lies below the target.

    Returns:
        None without contenders or photographs; otherwise the smallest purchase that settles with `WANTED`
        probability, or the most promising one tried.
    """
    if len(table.photos) < 2 or not any(not c.out for c in found) or not must:
        return None
    if any(table.counts(table.index(c.name), name)[1].sum() == 0 for c in found if not c.out for name in must):
        return None
    eased = tuple(easing) or (0.0,) * len(must)
    tried = [_smallest(_Question(table, found, must, target, eased, False), seconds, seed)]
    if any(c.out for c in found):
        tried.append(_smallest(_Question(table, found, must, target, eased, True), seconds, seed))
    enough = [one for one in tried if one.probability >= WANTED]
    if enough:
        return min(enough, key=lambda one: _pictures(table, one))
    return max(tried, key=lambda one: one.probability)


def _smallest(asked: _Question, seconds: Mapping[str, float | None], seed: int) -> Purchase:
    """The smallest number of photographs that settles it, or the best of those tried."""
    future = _Future(asked, seed)
    sizes = (0, *PURCHASES) if asked.full else PURCHASES
    best: tuple[int, float] = (sizes[0], -1.0)
    for extra in sizes:
        share = future.settled(extra)
        if share > best[1]:
            best = extra, share
        if share >= WANTED:
            break
    rows = tuple(
        c.name for c in asked.found
        if (asked.full or not c.out) and (c.kind == "base" or not all(s == "FAIL" for s in c.states(asked.target)))
    )
    bought = Purchase(best[0], best[1], None, rows, asked.full)
    each = [seconds.get(name) for name in rows]
    if not rows or any(value is None for value in each):
        return bought
    hours = sum(count * float(seconds[name] or 0.0) for name, count in _made(asked.table, bought).items()) / 3600
    return Purchase(best[0], best[1], hours, rows, asked.full)


def _made(table: Table, bought: Purchase) -> dict[str, float]:
    """Pictures of every row that a purchase asks for."""
    made = {name: bought.photos * table.planned.get(name, 0) / len(table.photos) for name in bought.rows}
    if bought.full:
        for name in set(bought.rows) & set(table.screening.out):
            made[name] += max(0, table.planned.get(name, 0) - table.screening.out[name])
    return made


def _pictures(table: Table, bought: Purchase) -> float:
    return sum(_made(table, bought).values())


class _Future:
    """Simulated futures of one question; the same for every number of photographs, so that more never look worse."""

    def __init__(self, asked: _Question, seed: int) -> None:
        self.asked = asked
        self.rng = np.random.default_rng(seed + 2)
        rows = [asked.table.index(c.name) for c in asked.found]
        counts = {(i, j): asked.table.counts(row, name) for i, row in enumerate(rows)
                  for j, name in enumerate(asked.must)}
        icc = pooled_icc(list(counts.values()))
        self.icc = float(np.clip(icc, LEAST_ICC, MOST_ICC))
        self.cells = [_cells(asked.table, name) for name in asked.must]
        # Those without an answer tell nothing and are left out of what is drawn.
        known = [key for key, (_, scored) in counts.items() if scored.sum() > 0]
        passed = np.array([counts[key][0].sum() for key in known])
        scored = np.array([counts[key][1].sum() for key in known])
        photos = np.array([(counts[key][1] > 0).sum() for key in known])
        size = scored / (1 + (scored / photos - 1) * self.icc)
        drawn = mixture_draws(passed / scored, size, WORLDS, self.rng)
        self.truth = {key: drawn[:, at] for at, key in enumerate(known)}
        self.seen = {key: self._pictures(key, counts[key]) for key in known}

    def _pictures(self, key: tuple[int, int], counts: tuple[Floats, Floats]) -> tuple[Floats, Floats, Floats]:
        """Rates of old and new photographs, (worlds, photographs), cells of each, and the silent share of each."""
        contender, name = self.asked.found[key[0]], self.asked.must[key[1]]
        each, truth = self.cells[key[1]], self.truth[key]
        a, b = truth * (1 / self.icc - 1), (1 - truth) * (1 / self.icc - 1)
        new = self._drawn(truth, each) / each
        passed, scored = counts
        silent = self.asked.table.silent(self.asked.table.index(contender.name), name)
        if self.asked.full and contender.out:
            # What is missing of the old photographs is made, each with the effect that its pictures so far suggest.
            missing = np.maximum(each - scored - silent, 0).astype(int)
            own = self.rng.beta(a[:, None] + passed, b[:, None] + scored - passed)
            old = (passed + self.rng.binomial(missing, own)) / np.maximum(scored + missing, 1)
            scored = scored + missing
        else:
            old = np.tile(passed / np.maximum(scored, 1), (WORLDS, 1))
        there = scored + silent > 0
        quiet = silent[there] / (scored + silent)[there]
        values = np.concatenate([old[:, there], new], axis=1)
        cells = np.concatenate([(scored + silent)[there], np.full(PURCHASES[-1], float(each))])
        return values, cells, np.concatenate([quiet, np.full(PURCHASES[-1], quiet.mean())])

    def _drawn(self, truth: Floats, each: int) -> Floats:
        """Passed pictures of new photographs, beta-binomial, (worlds, photographs)."""
        levels, at = np.unique(truth, return_inverse=True)
        a, b = levels * (1 / self.icc - 1), (1 - levels) * (1 / self.icc - 1)
        steps = betabinom.cdf(np.arange(each)[None, :], each, a[:, None], b[:, None])
        luck = self.rng.random((WORLDS, PURCHASES[-1]))
        return (luck[:, :, None] > steps[at][:, None, :]).sum(axis=2).astype(float)

    def settled(self, extra: int) -> float:
        """Share of futures in which the decision is firm after so many more photographs."""
        asked = self.asked
        codes = np.full((WORLDS, len(asked.found), len(asked.must)), OPEN, dtype=np.int8)
        for (i, j), (values, cells, quiet) in self.seen.items():
            contender = asked.found[i]
            if contender.out and not asked.full:
                continue
            last = values.shape[1] - PURCHASES[-1] + extra
            answered = 1 - quiet[:last]
            low, high = _bounds(values[:, :last] * answered, values[:, :last] * answered + quiet[:last], cells[:last])
            low, high = low + asked.easing[j], high + asked.easing[j]
            codes[:, i, j] = np.where(low >= asked.target, PASS, np.where(high < asked.target, FAIL, OPEN))
        for i, contender in enumerate(asked.found):
            if contender.out and not asked.full:
                codes[:, i] = [FAIL if high < asked.target else OPEN for high in contender.high]
            if contender.barred:
                codes[:, i] = FAIL
        kinds = [c.kind for c in asked.found]
        # Few tables of states exist, however many futures are drawn: each is decided once.
        tables, counts = np.unique(codes.reshape(len(codes), -1), axis=0, return_counts=True)
        firm = sum(
            int(count) for states, count in zip(tables, counts, strict=True)
            if len(possible_strategies(
                kinds, [[STATES[code] for code in row] for row in states.reshape(codes.shape[1:])], asked.must)) == 1
        )
        return firm / WORLDS


def _bounds(worst: Floats, best: Floats, cells: Floats) -> tuple[Floats, Floats]:
    """Floor and ceiling of every future, unscored pictures counted as failed and as passed."""
    harmonic = float(len(cells) / np.sum(1 / cells))
    quantile_of = []
    for values in (worst, best):
        size, dof = effective_size(values, harmonic)
        quantile_of.append(wilson(values.mean(axis=1), size, t_quantile(1 - evidence.LEVEL, dof)))
    return quantile_of[0][0], quantile_of[1][1]


def _cells(table: Table, capability: str) -> int:
    """Pictures of a row at a capability on one more photograph, as planned."""
    rows = evidence.in_play(table)
    if capability in WHOLE:
        return max(1, sum(_cells(table, name) for name in table.families))
    totals = (table.scored + table.unscored).sum(axis=(1, 2))
    row = max(rows, key=lambda i: totals[i])
    passed = table.counts(row, capability)[1] + table.silent(row, capability)
    # Pictures that a screening used up do not count in the table, but come with every new photograph.
    whole = max(1.0, table.planned.get(table.candidates[row].name, 0) / max(totals[row], 1.0))
    return max(1, round(float(passed.sum()) / len(table.photos) * whole))
