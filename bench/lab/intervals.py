"""Does every printed 95 % interval cover the truth, and how wide is it?"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from lab.figures import FAMILIES, Figure, at_least, at_most, photo_means
from whichlora.analysis import evidence
from whichlora.analysis.simulate import World, passes, table_of
from whichlora.stats.paired import difference_bounds
from whichlora.stats.rates import new_photo_bounds, wilson


def coverage(quick: bool) -> list[Figure]:
    """Every printed 95 % interval of a rate, over photographs, cells, correlations and rates."""
    rng = np.random.default_rng(1)
    repeats = 2_000 if quick else 50_000
    grid = [
        (k, m, icc, p) for k, m, icc, p in product(
            (5, 8, 12, 20, 40) if quick else (5, 6, 8, 10, 12, 15, 20, 30, 40),
            (2, 8, 16) if quick else (1, 2, 4, 8, 16, 25),
            (0.0, 0.1, 0.4) if quick else (0.0, 0.05, 0.1, 0.2, 0.3, 0.4),
            (0.5, 0.7, 0.9) if quick else (0.5, 0.6, 0.7, 0.8, 0.9),
        ) if m > 1 or icc == 0
    ]
    both, floors, ceilings, widths = [], [], [], []
    for k, m, icc, p in grid:
        low, high, floor, ceiling, _ = new_photo_bounds(photo_means(rng, repeats, k, m, icc, p), m)
        both.append(np.mean((low <= p + 1e-12) & (p <= high + 1e-12)))
        floors.append(np.mean(floor > p + 1e-12))
        ceilings.append(np.mean(ceiling < p - 1e-12))
        oracle = wilson(p, k * m / (1 + (m - 1) * icc))
        widths.append(np.median(high - low) / float(oracle[1] - oracle[0]))
    slack = 3 * np.sqrt(0.93 * 0.07 / repeats)
    return [
        at_least("coverage of new-photograph interval, lowest of the grid", min(both), 0.93, slack),
        at_least("the same, mean of the grid", float(np.mean(both)), 0.93),
        at_most("floor above the truth (nominal 0.05), mean of the grid", float(np.mean(floors)), 0.05),
        at_most("floor above the truth, highest of the grid", max(floors), 0.10, slack),
        at_most("ceiling below the truth (nominal 0.05), mean of the grid", float(np.mean(ceilings)), 0.05),
        at_most("median width over an interval that knows the correlation", float(np.median(widths)), 1.2),
        *coverage_here(rng, repeats, quick), *coverage_paired(rng, repeats, quick), *coverage_overall(quick),
    ]


def coverage_here(rng: np.random.Generator, repeats: int, quick: bool) -> list[Figure]:
    """The interval for these photographs: their own rates are fixed, seeds are new."""
    found = []
    for k, m, icc, p in product((5, 12, 40), (2, 8) if quick else (2, 4, 8, 16), (0.1, 0.4), (0.5, 0.7, 0.9)):
        own = rng.beta(p * (1 / icc - 1), (1 - p) * (1 / icc - 1), (repeats, k))
        value = (rng.binomial(m, own) / m).mean(axis=1)
        truth = own.mean(axis=1)
        low, high = wilson(value, k * m)
        found.append(np.mean((low <= truth) & (truth <= high)))
    slack = 3 * np.sqrt(0.93 * 0.07 / repeats)
    return [at_least("coverage of this-photograph interval, lowest of the grid", min(found), 0.93, slack)]


def coverage_paired(rng: np.random.Generator, repeats: int, quick: bool) -> list[Figure]:
    """Paired differences to base, with an effect of the photograph that both share in part."""
    found = []
    pairs = ((0.5, 0.5), (0.9, 0.5), (0.9, 0.8), (0.7, 0.6))
    for k, m, icc, (a, b) in product((5, 8, 12, 20, 40), (2, 8), (0.0, 0.2, 0.4), pairs):
        world = World({"base": {"x": b}, "one": {"x": a}}, k, m, 1, icc)
        means = np.stack([np.concatenate(pair) for pair in _pairs(world, rng, repeats)])
        low, high, *_ = difference_bounds(means[0].reshape(repeats, k), means[1].reshape(repeats, k), m)
        found.append(np.mean((low <= a - b + 1e-12) & (a - b <= high + 1e-12)))
    slack = 3 * np.sqrt(0.93 * 0.07 / repeats)
    return [at_least("coverage of paired difference, lowest of the grid", min(found), 0.93, slack)]


def _pairs(world: World, rng: np.random.Generator, repeats: int) -> list[list[np.ndarray]]:
    """Photograph means of candidate and base; many studies drawn as one long row of photographs."""
    won = passes(replace(world, photos=world.photos * repeats), rng).mean(axis=3)
    return [[won[1, 0]], [won[0, 0]]]


def coverage_overall(quick: bool) -> list[Figure]:
    """The equally weighted rate over capabilities of unequal difficulty."""
    rng = np.random.default_rng(2)
    found = []
    repeats = 300 if quick else 4_000
    for k, icc in product((5, 12, 20), (0.0, 0.2, 0.4)):
        world = World({"base": dict(zip(FAMILIES, (0.9, 0.7, 0.8, 0.4), strict=True))}, k, 2, 1, icc)
        hits = 0
        for _ in range(repeats):
            rate = evidence.overall_rate(table_of(world, rng), 0, FAMILIES)
            hits += rate is not None and rate.low <= 0.7 <= rate.high
        found.append(hits / repeats)
    slack = 3 * np.sqrt(0.07 * 0.93 / repeats)
    return [at_least("coverage of overall rate, lowest of the grid", min(found), 0.93, slack)]
