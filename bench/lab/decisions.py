"""Firm strategies against the truth of random projects."""

from __future__ import annotations

import numpy as np

from lab.figures import FAMILIES, TARGET, Figure, at_most
from whichlora.analysis import evidence
from whichlora.analysis.decide import decide, strategy_of
from whichlora.analysis.settings import Settings
from whichlora.analysis.simulate import World, table_of


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


def decisions(quick: bool) -> list[Figure]:
    """Firm strategies against the truth, in random projects."""
    rng = np.random.default_rng(4)
    settings = Settings()
    repeats = 60 if quick else 3_400
    wrong = firm = total = undecided = many = hard_open = hard_many = leaning = 0
    worst: dict[str, float] = {}
    for hard in (False, True):
        misses = 0
        for photos in (8, 12, 20):
            for _ in range(repeats if not hard or not quick else repeats // 2):
                world = random_world(rng, photos, hard)
                table = table_of(world, rng)
                row = decide(evidence.contenders(table, FAMILIES, settings, {}), FAMILIES, TARGET)
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
        Figure("undecided at 20 photographs, rates anywhere", round(hard_open / hard_many, 3), "printed", True),
        Figure("leanings of undecided projects that are right, share", round(leaning / max(1, total - firm), 3),
               "printed", True),
        Figure("firm, share of all projects", round(firm / total, 3), "printed", True),
        Figure("firm and wrong among hard projects, count", float(worst["hard"]), "printed", True),
        Figure("projects", float(total), "printed", True),
    ]
