"""Does screening keep the true best, and at what share of the matrix?"""

from __future__ import annotations

import numpy as np

from lab.figures import Figure, at_least, at_most
from whichlora.analysis.simulate import World, passes
from whichlora.stats.screening import run, schedule


def screening(quick: bool) -> list[Figure]:
    """Does paired successive rejects keep the true best of 12, and at what share of the matrix?"""
    rng = np.random.default_rng(7)
    repeats = 300 if quick else 4_000
    result = []
    for gap, photos, graded in ((1.0, 20, True), (0.5, 40, True), (0.5, 20, False)):
        rates = 1 / (1 + np.exp(-np.array([0.8] + [0.8 - gap] * 11)))
        rows = {f"lora-{i}": {"x": float(p)} for i, p in enumerate(rates)}
        world = World(rows, photos, 16, 1, 0.15)
        rounds = schedule(12, photos * 16, 0.35)
        hits, whole, spent = 0, 0, 0.0
        for _ in range(repeats):
            measured = passes(world, rng)[:, 0].transpose(0, 2, 1).reshape(12, -1)
            alive, cost = run(lambda who, seen, m=measured: m[list(who), :seen], 12, rounds)
            hits += alive[0] == 0
            whole += measured.mean(axis=1).argmax() == 0
            spent = max(spent, cost / (12 * photos * 16))
        what = f"gap {gap} logit, {photos} photographs"
        share = hits / repeats
        slack = 3 * np.sqrt(0.05 * 0.95 / repeats)
        result.append(at_least(f"screening finds the true best, {what}", share, 0.95, slack) if graded else Figure(
            f"screening finds the true best, {what}", round(share, 3), "printed", True))
        result.append(Figure(f"the full matrix finds it, {what}", round(whole / repeats, 3), "printed", True))
        result.append(at_most(f"share of the matrix spent, {what}", spent, 0.35))
    return result
