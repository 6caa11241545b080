"""How often is anything falsely called better or worse than base?"""

from __future__ import annotations

from itertools import product

import numpy as np

from lab.figures import FAMILIES, Figure, at_most
from whichlora.analysis import evidence
from whichlora.analysis.simulate import World, table_of


def family_wise(quick: bool) -> list[Figure]:
    """Any false 'better' or 'worse than base' in a matrix of 20 candidates and 4 capabilities."""
    rng = np.random.default_rng(3)
    repeats = 60 if quick else 2_000
    found = []
    for photos, rate in product((8, 12, 20), (0.6, 0.9)):
        row = dict.fromkeys(FAMILIES, rate)
        world = World({"base": row, **{f"lora-{i}": row for i in range(20)}}, photos, 2, 1, 0.3)
        false = 0
        for _ in range(repeats):
            p = evidence.compared(table_of(world, rng), range(21), FAMILIES, FAMILIES)
            false += any(evidence.better(v) or evidence.worse(v) for v in p.values())
        found.append(false / repeats)
    slack = 3 * np.sqrt(0.05 * 0.95 / repeats)
    return [
        at_most("false 'better or worse than base', 20 candidates, highest of 6 worlds", max(found), 0.06, slack),
        at_most("the same, mean", float(np.mean(found)), 0.06),
    ]
