"""Generated reports: does anything in them say more than was stored?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lab.decisions import random_world
from lab.figures import Figure, at_most
from whichlora.analysis.analyse import analyse
from whichlora.analysis.lint import lint_all
from whichlora.analysis.prose import texts
from whichlora.analysis.settings import Settings
from whichlora.analysis.simulate import project_of


def prose(quick: bool) -> list[Figure]:
    """Generated reports: unbound numbers and over-strong words."""
    rng = np.random.default_rng(11)
    count = 8 if quick else 1_000
    problems = 0
    for i in range(count):
        world = replace(random_world(rng, int(rng.choice((3, 5, 8, 12))), bool(i % 2)), seeds=1)
        plan, generations, scores = project_of(world, rng)
        found = analyse(plan, generations, scores, settings=Settings(draws=300))
        problems += len(lint_all(texts(found), found))
    return [at_most(f"unbound numbers and over-strong words in {count} reports", problems, 0)]
