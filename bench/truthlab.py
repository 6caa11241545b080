"""Grades the statistics and the decision in simulated projects whose truth is known.

    python bench/truthlab.py            every count at full length (minutes)
    python bench/truthlab.py --quick    the same questions with fewer repeats (under a minute on 2 cores)
    python bench/truthlab.py --json     one JSON document on stdout

Each figure carries its target. Where a figure is the worst of many simulated cells, `ok` allows for three standard
errors of the simulation; the figure itself is printed as it is. Exit status 1 if a figure misses its target.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from whichlora.analysis import evidence, robust
from whichlora.analysis.analyse import analyse
from whichlora.analysis.decide import Contender, decide, strategy_of
from whichlora.analysis.flip import choice, flips
from whichlora.analysis.lint import lint
from whichlora.analysis.prose import texts
from whichlora.analysis.settings import Settings
from whichlora.analysis.simulate import World, passes, project_of, table_of
from whichlora.stats.paired import difference_bounds
from whichlora.stats.power import detectable_points
from whichlora.stats.ppi import powered_rate
from whichlora.stats.rates import new_photo_bounds, wilson
from whichlora.stats.screening import run, schedule
from whichlora.stats.sequence import shown_above
from whichlora.stats.winner import corrected_rate

FAMILIES = ("camera", "lighting", "background", "expression")
TARGET = 0.7


@dataclass(frozen=True)
class Figure:
    """One graded figure."""

    name: str
    value: float
    target: str
    ok: bool


def at_least(name: str, value: float, target: float, slack: float = 0.0) -> Figure:
    return Figure(name, round(float(value), 4), f">= {target}", bool(value + slack >= target))


def at_most(name: str, value: float, target: float, slack: float = 0.0) -> Figure:
    return Figure(name, round(float(value), 4), f"<= {target}", bool(value - slack <= target))


def photo_means(
    rng: np.random.Generator, repeats: int, photos: int, cells: int, icc: float, rate: float,
) -> np.ndarray:
    """Beta-binomial photograph means, shape (repeats, photos); the intraclass correlation is exact."""
    if icc == 0:
        return rng.binomial(cells, rate, (repeats, photos)) / cells
    own = rng.beta(rate * (1 / icc - 1), (1 - rate) * (1 / icc - 1), (repeats, photos))
    return rng.binomial(cells, own) / cells


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
    wrong = firm = total = undecided = many = 0
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
                right = row.decision == strategy_of(kinds, good, FAMILIES)
                if row.decision == "existing":
                    right = all(value >= TARGET for value in world.rates[row.candidate].values())
                total += 1
                firm += row.firm
                wrong += row.firm and not right
                misses += row.firm and not right
                if photos == 20 and not hard:
                    many += 1
                    undecided += not row.firm
        worst["hard" if hard else "clear"] = misses
    slack = 3 * np.sqrt(0.01 * 0.99 / total)
    return [
        at_most("firm and wrong, share of projects", wrong / total, 0.01, slack if quick else 0.0),
        at_most("undecided at 20 photographs, rates apart from the target", undecided / many, 0.20,
                0.08 if quick else 0.0),
        Figure("firm, share of all projects", round(firm / total, 3), "printed", True),
        Figure("firm and wrong among hard projects, count", float(worst["hard"]), "printed", True),
        Figure("projects", float(total), "printed", True),
    ]


def winners(quick: bool) -> list[Figure]:
    """Bias of the picked candidate's corrected rate: 12 equal ones, and 12 that truly differ."""
    rng = np.random.default_rng(5)
    repeats = 1_500 if quick else 10_000
    raw, equal, spread = [], [], []
    for _ in range(repeats):
        same = photo_means(rng, 12, 10, 8, 0.1, 0.65)
        pick = int(same.mean(axis=1).argmax())
        raw.append(same[pick].mean() - 0.65)
        equal.append(corrected_rate(same, 8, pick) - 0.65)
        truth = np.clip(rng.normal(0.6, 0.12, 12), 0.1, 0.95)
        differ = np.stack([photo_means(rng, 1, 10, 8, 0.1, p)[0] for p in truth])
        pick = int(differ.mean(axis=1).argmax())
        spread.append(corrected_rate(differ, 8, pick) - truth[pick])
    return [
        Figure("best of 12 equals, uncorrected bias in points", round(100 * float(np.mean(raw)), 2), "printed", True),
        at_most("best of 12 equals, bias in points", abs(100 * float(np.mean(equal))), 1.0),
        at_most("best of 12 that differ, bias in points", abs(100 * float(np.mean(spread))), 1.5),
    ]


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


def flip_cards(quick: bool) -> list[Figure]:
    """The stated change flips the choice; nine tenths of it do not."""
    rng = np.random.default_rng(8)
    cases = 100 if quick else 1_000
    flipped = early = said = 0
    for _ in range(cases):
        found = []
        for i in range(int(rng.integers(2, 6))):
            lean = rng.uniform(0.3, 1.0, 3)
            half = rng.uniform(0.02, 0.2, 3)
            kind = "base" if i == 0 else "stack" if rng.random() < 0.3 else "single"
            better = bool(rng.random() < 0.3)
            found.append(Contender(f"c{i}", kind, tuple(lean - half), tuple(lean + half), tuple(lean), better))
        must = ("x", "y", "z")
        now = decide(found, must, TARGET)
        for flip in flips(found, must, TARGET, {}):
            said += 1
            flipped += choice(_after(found, must, flip, 1.0)) != choice(now)
            early += choice(_after(found, must, flip, 0.9)) != choice(now)
    return [
        at_least("stated changes that flip the choice", flipped / said, 1.0),
        at_most("nine tenths of a stated change that flip it", early / said, 0.0),
        Figure("stated changes tried", float(said), "printed", True),
    ]


def _after(found: list[Contender], must: tuple[str, ...], flip: Any, share: float) -> Any:
    if flip.kind == "target":
        return decide(found, must, TARGET + share * flip.change)
    at = must.index(flip.what)
    return decide([c.shifted(at, share * flip.change) if c.name == flip.candidate else c for c in found], must, TARGET)


def badge(quick: bool) -> list[Figure]:
    """A live 'passed' badge looked at after every photograph, at a rate just below the target."""
    rng = np.random.default_rng(9)
    repeats, steps = (400, 300) if quick else (4_000, 1_000)
    false = 0
    for _ in range(repeats):
        wins = np.cumsum(rng.random(steps) < TARGET - 0.001)
        checks = range(1, steps, 3)
        false += any(shown_above(int(wins[n - 1]), n, TARGET) for n in checks)
    return [at_most("live badge, false passes under continuous looking", false / repeats, 0.05)]


def labels(quick: bool) -> list[Figure]:
    """Sixty labels with a good judge, and with one that is wrong as often as right."""
    rng = np.random.default_rng(10)
    repeats = 500 if quick else 5_000
    result = []
    for name, skill in (("good", 2.5), ("useless", 0.0), ("adversarial", -2.0)):
        hit, width, alone = 0, [], []
        for _ in range(repeats):
            photo = np.repeat(np.arange(20), 30)
            own = np.clip(0.7 + rng.normal(0, 0.1, 20), 0.05, 0.95)
            y = (rng.random(600) < own[photo]).astype(float)
            judge = 1 / (1 + np.exp(-(skill * (2 * y - 1) / 2 + rng.normal(0, 0.6, 600))))
            asked = np.zeros(600, bool)
            for k in range(20):
                asked[k * 30 + rng.choice(30, 3, replace=False)] = True
            found = powered_rate(y[asked], judge[asked], judge[~asked], photo[asked], photo[~asked])
            only = powered_rate(y[asked], judge[asked], [], photo[asked], [])
            hit += found.low <= 0.7 <= found.high
            width.append(found.high - found.low)
            alone.append(only.high - only.low)
        ratio = float(np.mean(width) / np.mean(alone))
        slack = 3 * np.sqrt(0.07 * 0.93 / repeats)
        result.append(at_least(f"coverage with 60 labels and a {name} judge", hit / repeats, 0.93, slack))
        result.append(at_most(f"width over labels alone, {name} judge", ratio, 0.75 if name == "good" else 1.05))
    return result


def prose(quick: bool) -> list[Figure]:
    """Generated reports: unbound numbers and over-strong words."""
    rng = np.random.default_rng(11)
    count = 8 if quick else 1_000
    problems = 0
    for i in range(count):
        world = replace(random_world(rng, int(rng.choice((3, 5, 8, 12))), bool(i % 2)), seeds=1)
        plan, generations, scores = project_of(world, rng)
        found = analyse(plan, generations, scores, settings=Settings(draws=300))
        problems += sum(len(lint(text, found)) for text in texts(found))
    return [at_most(f"unbound numbers and over-strong words in {count} reports", problems, 0)]


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
        at_most("processor seconds for 10,000 cells and 10,000 draws", busy, 10.0),
        Figure("the same by the clock on the wall", round(wall, 2), "printed", True),
    ]


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
        at_most("next purchase, promised beyond what came", over, 0.05),
    ]


PARTS: dict[str, Callable[[bool], list[Figure]]] = {
    "coverage": coverage, "family": family_wise, "decisions": decisions, "winners": winners, "promises": promises,
    "screening": screening, "flips": flip_cards, "badge": badge, "labels": labels, "prose": prose, "speed": speed,
    "purchases": purchases,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="only this part (may be repeated)")
    given = parser.parse_args()
    figures: list[Figure] = []
    seconds = {}
    for name, part in PARTS.items():
        if given.only and name not in given.only:
            continue
        start = time.perf_counter()
        figures += part(given.quick)
        seconds[name] = round(time.perf_counter() - start, 1)
        print(f"{name}: {seconds[name]} s", file=sys.stderr)
    if given.json:
        run_facts = {"what": "simulated projects with known truth", "quick": given.quick, "seconds": seconds}
        print(json.dumps({"figures": [asdict(figure) for figure in figures], "run": run_facts}, indent=1))
    else:
        for figure in figures:
            print(f"{'ok  ' if figure.ok else 'MISS'} {figure.name}: {figure.value} ({figure.target})")
    return 0 if all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
