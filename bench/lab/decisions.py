"""Firm strategies against the truth of random projects."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from scipy.stats import norm

from lab.figures import FAMILIES, TARGET, Figure, at_most
from whichlora.analysis import evidence
from whichlora.analysis.decide import Contender, decide, strategy_of
from whichlora.analysis.settings import Settings
from whichlora.analysis.simulate import World, table_of
from whichlora.analysis.table import Table
from whichlora.stats.rates import pooled_icc, t_quantile, wilson

RATES = np.arange(1, 200) / 200


def random_world(rng: np.random.Generator, photos: int, hard: bool) -> World:
    """A project of base, five LoRAs and a stack; `hard` draws rates anywhere from 0.4 to 0.98."""
    def rate(good: float) -> float:
        if hard:
            return float(rng.uniform(0.4, 0.98))
        return float(rng.uniform(0.86, 0.98)) if rng.random() < good else float(rng.uniform(0.15, 0.52))

    skill = {f"lora-{i}": float(rng.choice((0.1, 0.5, 0.9))) for i in range(5)}
    rows = {"base": {name: rate(0.2) for name in FAMILIES}}
    # What nobody can do, nobody can do: whole capabilities are out of reach in some projects.
    reach = {name: rng.random() < 0.75 for name in FAMILIES}
    rows |= {name: {f: rate(good if reach[f] else 0.0) for f in FAMILIES} for name, good in skill.items()}
    rows["lora-0+lora-1"] = {f: rate(0.6 if reach[f] else 0.0) for f in FAMILIES}
    if not hard:
        rows["base"] = {f: v if reach[f] else min(v, 0.5) for f, v in rows["base"].items()}
    return World(rows, photos, 2, 2, float(rng.choice((0.0, 0.1, 0.2))))


@lru_cache(maxsize=8)
def _correlations(latent: float) -> np.ndarray:
    """Intraclass correlation of passes at rates 0.005, 0.01, …, 0.995, for a latent correlation."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    cut = norm.ppf(RATES)[:, None]
    given = norm.cdf((cut - np.sqrt(latent) * nodes) / np.sqrt(1 - latent))
    return ((given**2 @ weights) / weights.sum() - RATES**2) / (RATES * (1 - RATES))


def knowing(world: World, table: Table, found: list[Contender], *, all_variances: bool) -> list[Contender]:
    """The same contenders with bounds of the same nominal error by somebody who knows more of the photographs.

    With `all_variances` the true correlation of every rate: a yardstick, since no rule can know it. Otherwise one
    correlation per capability, estimated from all rows and taken as true; its coverage is nowhere vouched for.
    """
    cells, known = world.edits * world.seeds, []
    rows = [table.index(contender.name) for contender in found]
    pooled = np.array([pooled_icc([table.counts(row, name) for row in rows]) for name in FAMILIES])
    for row, contender in zip(rows, found, strict=True):
        truth = np.array([world.rates[contender.name][name] for name in FAMILIES])
        counts = [table.counts(row, name) for name in FAMILIES]
        value = np.array([(passed / scored).mean() for passed, scored in counts])
        icc = pooled
        if all_variances:
            icc = np.interp(truth, RATES, _correlations(world.icc)) if world.icc else np.zeros(len(truth))
        quantile = norm.ppf(0.95) if all_variances else t_quantile(0.95, world.photos - 1)
        low, high = wilson(value, world.photos * cells / (1 + (cells - 1) * icc), quantile)
        known.append(replace(contender, low=tuple(low.tolist()), high=tuple(high.tolist())))
    return known


def decisions(quick: bool) -> list[Figure]:
    """Firm strategies against the truth, in random projects."""
    rng = np.random.default_rng(4)
    settings = Settings()
    repeats = 60 if quick else 3_400
    wrong = firm = total = undecided = many = hard_open = hard_many = leaning = 0
    others = {(kind, every): [0, 0] for kind in (False, True) for every in (True, False)}
    worst: dict[str, float] = {}
    for hard in (False, True):
        misses = 0
        for photos in (8, 12, 20):
            for _ in range(repeats if not hard or not quick else repeats // 2):
                world = random_world(rng, photos, hard)
                table = table_of(world, rng)
                found = evidence.contenders(table, FAMILIES, settings, {})
                row = decide(found, FAMILIES, TARGET)
                good = [[value >= TARGET for value in rates.values()] for rates in world.rates.values()]
                kinds = [evidence.kind_of(c) for c in table.candidates]
                truth = strategy_of(kinds, good, FAMILIES)
                right = row.decision == truth
                if row.decision == "existing":
                    right = all(value >= TARGET for value in world.rates[row.candidate].values())
                total += 1
                firm += row.firm
                wrong += row.firm and not right
                misses += row.firm and not right
                if photos == 20:
                    for every in (True, False):
                        other = decide(knowing(world, table, found, all_variances=every), FAMILIES, TARGET)
                        others[hard, every][0] += not other.firm
                        others[hard, every][1] += other.firm and other.decision != truth
                if photos == 20 and not hard:
                    many += 1
                    undecided += not row.firm
                if photos == 20 and hard:
                    hard_many += 1
                    hard_open += not row.firm
                leaning += not row.firm and row.strategy == truth
        worst["hard" if hard else "clear"] = misses
    slack = 3 * np.sqrt(0.01 * 0.99 / total)
    return [
        at_most("firm and wrong, share of projects", wrong / total, 0.01, slack if quick else 0.0),
        at_most("undecided at 20 photographs, rates apart from the target", undecided / many, 0.20,
                0.08 if quick else 0.0),
        *_yardsticks(others, False, many),
        Figure("undecided at 20 photographs, rates anywhere (not graded)", round(hard_open / hard_many, 3), "printed",
               True),
        *_yardsticks(others, True, hard_many),
        Figure("leanings of undecided projects that are right, share", round(leaning / max(1, total - firm), 3),
               "printed", True),
        Figure("firm, share of all projects", round(firm / total, 3), "printed", True),
        Figure("firm and wrong among hard projects, count", float(worst["hard"]), "printed", True),
        Figure("projects", float(total), "printed", True),
    ]


def _yardsticks(others: dict[tuple[bool, bool], list[int]], hard: bool, count: int) -> list[Figure]:
    found = []
    for every, what in ((True, "a rule that knows every variance"), (False, "one correlation a capability (not used)")):
        undecided, wrong = others[hard, every]
        found += [Figure(f"  the same by {what}", round(undecided / count, 3), "printed", True),
                  Figure(f"  firm and wrong by {what}", round(wrong / count, 4), "printed", True)]
    return found
