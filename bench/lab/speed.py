"""Seconds from stored rows to findings."""

from __future__ import annotations

import time

import numpy as np

from lab.figures import FAMILIES, Figure, at_most
from whichlora.analysis.analyse import analyse
from whichlora.analysis.settings import Settings
from whichlora.analysis.simulate import World, project_of


def speed(quick: bool) -> list[Figure]:
    """10,000 cells with 10,000 draws, from stored rows to findings."""
    del quick
    rng = np.random.default_rng(12)
    rows = {"base": dict.fromkeys(FAMILIES, 0.5)}
    rows |= {f"lora-{i}": {f: float(rng.uniform(0.3, 0.95)) for f in FAMILIES} for i in range(19)}
    plan, generations, scores = project_of(World(rows, 25, 5, 1, 0.1), rng)
    start, busy = time.perf_counter(), time.process_time()
    analyse(plan, generations, scores, settings=Settings(draws=10_000))
    wall, busy = time.perf_counter() - start, time.process_time() - busy
    return [
        Figure("cells analysed", float(len(plan.cells)), "printed", True),
        at_most("seconds for 10,000 cells and 10,000 draws, by the clock on the wall", wall, 10.0),
        Figure("the same in processor seconds", round(busy, 2), "printed", True),
    ]
