"""How often is anything falsely called better or worse than base?"""

from __future__ import annotations

from itertools import product

import numpy as np

from lab.figures import FAMILIES, Figure, at_most
from whichlora.analysis import evidence
from whichlora.analysis.simulate import World, table_of


def family_wise(quick: bool) -> list[Figure]:
    """Any false 'better than base' (and, stricter, 'better or worse') among 20 candidates that equal their base.

    Every world of the grid is tried; the worst one is then tried anew, as the highest of many noisy shares is too high.
    """
    rng = np.random.default_rng(3)
    grid = list(product((8, 12, 20) if quick else (7, 8, 9, 10, 12, 14, 20, 40), (0.6, 0.9) if quick
                        else (0.5, 0.6, 0.7, 0.8, 0.9), (0.3,) if quick else (0.0, 0.2, 0.4)))
    repeats, again = (40, 150) if quick else (100, 2_000)
    shares = {world: _false_claims(world, repeats, rng) for world in grid}
    better, either = np.mean(list(shares.values()), axis=0)
    found = []
    for at, what in ((0, "better than base"), (1, "better or worse than base")):
        worst = max(shares, key=lambda world: shares[world][at])
        share = _false_claims(worst, again, rng)[at]
        slack = 3 * np.sqrt(0.06 * 0.94 / again) if quick else 0.0
        where = f"{worst[0]} photographs, rate {worst[1]:g}, correlation {worst[2]:g}"
        found.append(at_most(f"false '{what}', 20 candidates, worst world anew ({where})", share, 0.06, slack))
    return [
        *found, at_most("false 'better than base', mean of the grid", better, 0.06),
        at_most("false 'better or worse than base', mean of the grid", either, 0.06),
        Figure("matrices of 20 equal candidates", float(len(grid) * repeats + 2 * again), "printed", True),
    ]


def _false_claims(world: tuple[int, float, float], repeats: int, rng: np.random.Generator) -> tuple[float, float]:
    """Share of matrices with any false 'better', and with any false claim at all."""
    photos, rate, icc = world
    row = dict.fromkeys(FAMILIES, rate)
    equal = World({"base": row, **{f"lora-{i}": row for i in range(20)}}, photos, 2, 1, icc)
    better = either = 0
    for _ in range(repeats):
        p = list(evidence.compared(table_of(equal, rng), range(21), FAMILIES, FAMILIES).values())
        shown = any(map(evidence.better, p))
        better += shown
        either += shown or any(map(evidence.worse, p))
    return better / repeats, either / repeats
