"""Do promises hold: the power of a plan, and what a purchase of photographs settles?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lab.decisions import random_world
from lab.figures import FAMILIES, TARGET, Figure, at_most
from lab.screened import dealt, table_screened
from whichlora.analysis import evidence
from whichlora.analysis.decide import decide
from whichlora.analysis.purchase import next_purchase
from whichlora.analysis.settings import Settings
from whichlora.analysis.simulate import World, passes, table_of
from whichlora.analysis.table import Table
from whichlora.stats.power import detectable_points
from whichlora.stats.screening import schedule

PLANS = ((8, 4), (10, 8), (12, 8), (20, 8), (20, 20), (40, 12))
"""Photographs and candidates of plans that measure everybody, 8 pictures a photograph."""
SCREENED = ((8, 8, 24, 0.35), (12, 8, 8, 0.35), (12, 12, 8, 0.35), (20, 8, 8, 0.35), (20, 20, 8, 0.35))
"""Photographs, candidates, pictures a photograph and share of the matrix of plans that screen."""
EDITS = tuple(name for name in FAMILIES for _ in range(2))


def promises(quick: bool) -> list[Figure]:
    """A gain of the promised size, shown how often? With a screening, being dropped counts as not shown."""
    rng = np.random.default_rng(6)
    repeats = 250 if quick else 2_000
    slack = (300 if quick else 150) * np.sqrt(0.16 / repeats)
    gaps = [_kept(rng, (photos, count, 8, 1.0), repeats) for photos, count in (PLANS[1:4] if quick else PLANS)]
    rows = [at_most("promised power, largest miss in points", 100 * max(map(abs, gaps)), 3.0, slack)]
    for plan in SCREENED[1:4:2] if quick else SCREENED:
        miss = _kept(rng, plan, repeats)
        what = f"screened, {plan[0]} photographs x {plan[2]}, {plan[1]} candidates, {plan[3]:.0%} of the matrix"
        rows.append(at_most(f"promised power off what came, points, {what}", 100 * abs(miss), 3.0, slack))
    none = detectable_points(5, 24, 0.2, 8, rounds=schedule(8, 120, 0.35), families=EDITS)
    rows.append(Figure("promised with 5 photographs, points (nothing can be shown)", none or 0.0, "none", none is None))
    return rows


def _kept(rng: np.random.Generator, plan: tuple[int, int, int, float], repeats: int) -> float:
    """Share of studies in which the promised gain is shown, less the promised 0.8."""
    photos, count, cells, share = plan
    rounds = schedule(count, photos * cells, share) if share < 1 else ()
    gain = (detectable_points(photos, cells, 0.2, count, rounds=rounds, families=EDITS if rounds else ()) or 0.0) / 100
    # Correlation of a normal variable that gives this correlation of its 0/1 cut at the median.
    latent = float(np.sin(np.pi / 2 * 0.2))
    rows = {"base": {"x": 0.5}, "good": {"x": 0.5 + gain}, **{f"lora-{i}": {"x": 0.5} for i in range(count - 1)}}
    world, shown = World(rows, photos, 2, cells // 8, latent), 0
    if not rounds:
        world = World(rows, photos, cells, 1, latent)
    for _ in range(repeats):
        if rounds:
            won = dealt(passes(replace(world, edits=8), rng))
            table, families = table_screened(world, won, rounds), FAMILIES
        else:
            table, families = table_of(world, rng), ("x",)
        found = evidence.compared(table, evidence.in_play(table), ("overall",), families)
        shown += evidence.better(found.get((1, "overall")))
    return shown / repeats - 0.8


def purchases(quick: bool) -> list[Figure]:
    """'N more photographs settle it with probability P': mean promise against what then happens."""
    found = []
    for screen in (False, True):
        for photos in (12,) if quick else (5, 8, 12, 20):
            pairs = _bought(np.random.default_rng(13 + photos), photos, screen, 8 if quick else 200)
            said, came = pairs.mean(axis=0)
            error = float((pairs[:, 0] - pairs[:, 1]).std() / np.sqrt(len(pairs)))
            what = f"{'screened, ' if screen else ''}{photos} photographs"
            found += [
                Figure(f"next purchase, mean promised probability, {what}", round(float(said), 3), "printed", True),
                Figure(f"next purchase, share settled by it, {what}", round(float(came), 3), "printed", True),
                at_most(f"next purchase, promise off what came, {what}", abs(said - came), 0.03,
                        (3 if quick else 1) * error),
            ]
    return found


def _bought(rng: np.random.Generator, photos: int, screen: bool, wanted: int) -> np.ndarray:
    """Promised probability and whether it was kept, (undecided projects, 2); every second project is hard."""
    settings, found, tries = Settings(), [], 0
    while len(found) < wanted and tries < 10 * wanted:
        tries += 1
        world = random_world(rng, photos, tries % 2 == 0)
        won = passes(world, rng)
        rounds = schedule(len(world.rates) - 1, photos * won.shape[1] * won.shape[3], 0.5) if screen else ()
        table = table_screened(world, won, rounds)
        able = evidence.contenders(table, FAMILIES, settings, {})
        if decide(able, FAMILIES, TARGET).firm:
            continue
        bought = next_purchase(table, able, FAMILIES, TARGET, {}, seed=tries)
        if bought is None:
            continue
        fresh = passes(replace(world, photos=max(1, bought.photos)), rng)[:, :, : bought.photos]
        if bought.full:
            # Everybody on all photographs, and all pictures count again.
            after = table_screened(world, np.concatenate([won, fresh], axis=2), ())
        else:
            after = _joined(table, table_screened(world, fresh, ()))
        again = decide(evidence.contenders(after, FAMILIES, settings, {}), FAMILIES, TARGET)
        found.append((bought.probability, float(again.firm)))
    return np.array(found)


def _joined(table: Table, more: Table) -> Table:
    """A table with more photographs, of which those who were dropped have no pictures."""
    gone = [table.index(name) for name in table.screening.out]
    both = {}
    for name in ("passed", "scored", "unscored", "whole_passed", "whole_scored", "whole_unscored"):
        new = getattr(more, name).copy()
        new[gone] = 0
        both[name] = np.concatenate([getattr(table, name), new], axis=2)
    return replace(table, photos=tuple(f"p{i}" for i in range(both["passed"].shape[2])), **both)
