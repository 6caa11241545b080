"""Do promises hold: the power of a plan, and what a purchase of photographs settles?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lab.decisions import random_world
from lab.figures import FAMILIES, TARGET, Figure, at_most
from whichlora.analysis import evidence, robust
from whichlora.analysis.decide import decide
from whichlora.analysis.settings import Settings
from whichlora.analysis.simulate import World, table_of
from whichlora.stats.power import detectable_points


def promises(quick: bool) -> list[Figure]:
    """A gain of the promised size, shown how often?"""
    rng = np.random.default_rng(6)
    repeats = 250 if quick else 4_000
    gaps = []
    plans = ((10, 8), (20, 8), (40, 12))
    for photos, count in plans if quick else ((8, 4), *plans, (12, 8), (20, 20)):
        gain = (detectable_points(photos, 8, 0.2, count) or 0.0) / 100
        # Correlation of a normal variable that gives this correlation of its 0/1 cut at the median.
        latent = float(np.sin(np.pi / 2 * 0.2))
        rows = {"base": {"x": 0.5}, "good": {"x": 0.5 + gain}, **{f"lora-{i}": {"x": 0.5} for i in range(count - 1)}}
        world = World(rows, photos, 8, 1, latent)
        shown = sum(
            evidence.better(evidence.compared(table_of(world, rng), range(count + 1), ("x",), ("x",))[1, "x"])
            for _ in range(repeats)
        )
        gaps.append(shown / repeats - 0.8)
    return [at_most("promised power, largest miss in points", 100 * max(map(abs, gaps)), 3.0,
                    300 * np.sqrt(0.16 / repeats) if quick else 150 * np.sqrt(0.16 / repeats))]


def purchases(quick: bool) -> list[Figure]:
    """'N more photographs settle it with probability P': mean promise against what then happens."""
    rng = np.random.default_rng(13)
    settings, said, came = Settings(), [], []
    tries = 0
    while len(said) < (8 if quick else 400) and tries < 4_000:
        tries += 1
        world = random_world(rng, 10, tries % 2 == 0)
        table = table_of(world, rng)
        found = evidence.contenders(table, FAMILIES, settings, {})
        if decide(found, FAMILIES, TARGET).firm:
            continue
        bought = robust.next_purchase(table, found, FAMILIES, TARGET, {}, seed=tries)
        if bought is None:
            continue
        more = table_of(replace(world, photos=bought.photos), rng)
        joined = replace(
            table, photos=tuple(f"p{i}" for i in range(10 + bought.photos)),
            **{name: np.concatenate([getattr(table, name), getattr(more, name)], axis=2)
               for name in ("passed", "scored", "unscored", "whole_passed", "whole_scored", "whole_unscored")},
        )
        said.append(bought.probability)
        came.append(decide(evidence.contenders(joined, FAMILIES, settings, {}), FAMILIES, TARGET).firm)
    over = float(np.mean(said)) - float(np.mean(came))
    return [
        Figure("next purchase, mean promised probability", round(float(np.mean(said)), 3), "printed", True),
        Figure("next purchase, share settled by it", round(float(np.mean(came)), 3), "printed", True),
        at_most("next purchase, promise off what came", abs(over), 0.03,
                2 * float(np.sqrt(0.25 / len(said))) if quick else 0.0),
    ]
