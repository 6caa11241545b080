"""Merges, sweeps, proposals and routes where the truth is planted; no model, no picture."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from lab.figures import Figure, at_least, at_most
from safetensors.numpy import save_file

from whichlora.analysis import combining, sweeping
from whichlora.analysis.routing import route
from whichlora.analysis.simulate import World, table_of
from whichlora.lora.delta import load_canonical
from whichlora.lora.merge import METHODS, Recipe
from whichlora.lora.merged import merge_files
from whichlora.types import AdapterUse

FAMILIES = ("camera", "lighting", "background", "expression")


def merges(quick: bool) -> list[Figure]:
    """Every method on LoRAs of ranks 4, 8 and 6 against torch's own arithmetic in double precision."""
    rng = np.random.default_rng(0)
    worst = 0.0
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        drawn = [_drawn(folder / f"{i}.safetensors", rng, rank, 2 if quick else 6) for i, rank in enumerate((4, 8, 6))]
        uses = [AdapterUse(str(i), str(path), "", weight)
                for i, ((path, _), weight) in enumerate(zip(drawn, (1.0, -0.5, 0.8), strict=True))]
        for method in METHODS:
            recipe = Recipe(method, 0.5, seed=3, rank=8 if method.endswith("svd") else None)
            report = merge_files(uses, recipe, folder / "merged.safetensors")
            with load_canonical(report.path) as found:
                for module in found:
                    want = _reference(module.name, [pairs for _, pairs in drawn], (1.0, -0.5, 0.8), recipe)
                    off = np.abs(module.delta() - want).max() / np.abs(want).max()
                    worst = max(worst, float(off))
    return [Figure("largest error of a merged change, all methods, unequal ranks", float(f"{worst:.1e}"), "<= 1e-05",
                   worst <= 1e-5)]


def _drawn(path: Path, rng: np.random.Generator, rank: int, layers: int) -> tuple[Path, dict]:
    pairs = {
        f"transformer_blocks.{layer}.{name}": (rng.normal(size=(48, rank)) * 0.1, rng.normal(size=(rank, 48)))
        for layer in range(layers) for name in ("attn.to_q", "attn.to_v")
    }
    tensors = {}
    for name, (up, down) in pairs.items():
        tensors[f"transformer.{name}.lora_A.weight"] = down.astype(np.float32)
        tensors[f"transformer.{name}.lora_B.weight"] = up.astype(np.float32)
    save_file(tensors, path)
    return path, {name: (up.astype(np.float32).astype(float), down.astype(np.float32).astype(float))
                  for name, (up, down) in pairs.items()}


def _reference(name: str, drawn: list[dict], weights: tuple[float, ...], recipe: Recipe) -> np.ndarray:
    """One merged change by PEFT's own functions on torch tensors in double precision."""
    import torch
    from peft.utils import merge_utils

    from whichlora.lora.merge import drawn as mask_of

    parts = [pairs[name] for pairs in drawn]
    if recipe.method == "cat":
        return sum(w * up @ down for w, (up, down) in zip(weights, parts, strict=True))
    rank = max(down.shape[0] for _, down in parts)
    method = recipe.method.removesuffix("_svd")

    def combined(arrays: list[np.ndarray], factors: list[float], side: str) -> np.ndarray:
        kept = []
        for index, array in enumerate(arrays):
            tensor = torch.tensor(array)
            if method.startswith("dare"):
                mask = mask_of(array.shape, recipe.density, recipe.seed, f"{name}|{index}|{side}")
                tensor = tensor * torch.tensor(mask) / recipe.density
            elif method in ("ties", "magnitude_prune"):
                tensor = merge_utils.prune(tensor, recipe.density, "magnitude")
            shape = tuple(max(other.shape[axis] for other in arrays) for axis in (0, 1))
            padded = torch.zeros(shape, dtype=torch.float64)
            padded[: tensor.shape[0], : tensor.shape[1]] = tensor
            kept.append(padded)
        scale = torch.tensor(factors, dtype=torch.float64)
        if method.endswith("ties"):
            stacked = torch.stack(kept)
            elected = merge_utils.calculate_majority_sign_mask(stacked)
            return merge_utils.disjoint_merge(stacked * scale[:, None, None], elected).numpy()
        return merge_utils.task_arithmetic(kept, scale).numpy()

    if recipe.method.endswith("svd"):
        whole = combined([up @ down for up, down in parts], list(weights), "change")
        left, values, right = np.linalg.svd(whole)
        return left[:, : recipe.rank] * values[: recipe.rank] @ right[: recipe.rank]
    roots = [abs(w) ** 0.5 for w in weights]
    up = combined([up for up, _ in parts], roots, "up")
    signed = [float(np.copysign(root, weight)) for root, weight in zip(roots, weights, strict=True)]
    down = combined([down for _, down in parts], signed, "down")
    assert up.shape[1] == rank
    return up @ down


def sweeps(quick: bool) -> list[Figure]:
    """A LoRA whose edit needs weight and whose person suffers from it, at six photographs for picking."""
    rng = np.random.default_rng(1)
    near, used, flattered, spent = [], [], [], []
    for _ in range(60 if quick else 1_000):
        best = float(rng.uniform(0.6, 1.25))
        points, found = sweeping.search(lambda weights, b=best: [_point(rng, w, b, 24) for w in weights])
        near.append(abs(found.weight - best) <= 0.1 + 1e-9)
        spent.append(len(points))
        held = {name: _cells(rng, weight, best) for name, weight in
                (("pick", found.weight), ("own", 1.0), ("base", 0.0))}
        result = sweeping.conclude(points, found, held, (1.0, 1.0))
        used.append(result.use == "pick" and _chance(found.weight, best) < _chance(1.0, best) - 0.02)
        flattered.append(result.held_out.value - _chance(found.weight, best))
    return [
        at_least("sweep within 0.1 of the planted optimum, share", float(np.mean(near)), 0.9, 0.05 if quick else 0.0),
        at_most("a worse weight recommended, share", float(np.mean(used)), 0.05),
        at_most("bias of the picked weight's held-out rate, points", abs(100 * float(np.mean(flattered))),
                3.0 if quick else 1.0),
        Figure("weights measured, mean", round(float(np.mean(spent)), 1), "printed", True),
    ]


def _curves(weight: float, best: float) -> tuple[float, float]:
    width = 0.18
    edit = 1 / (1 + np.exp(-(weight - (best - 1.6 * width)) / (0.3 * width)))
    return float(edit), float(1 / (1 + np.exp((weight - (best + 1.6 * width)) / (0.3 * width))))


def _chance(weight: float, best: float) -> float:
    edit, identity = _curves(weight, best)
    return edit * identity


def _point(rng: np.random.Generator, weight: float, best: float, cells: int) -> sweeping.Point:
    edit, identity = (rng.random(cells) < chance for chance in _curves(weight, best))
    return sweeping.Point(weight, float((edit & identity).mean()), float(edit.mean()), float(identity.mean()), cells)


def _cells(rng: np.random.Generator, weight: float, best: float) -> tuple[np.ndarray, np.ndarray]:
    return rng.binomial(2, _chance(weight, best), (2, 6)) / 2, np.full((2, 6), 2.0)


def routes(quick: bool) -> list[Figure]:
    """Twenty planted projects: routing is chosen exactly where it is truly better by at least fifteen points."""
    rng = np.random.default_rng(2)
    right, chosen, better, cost = 0, 0, 0, 0.0
    for number in range(20):
        rows, truly = _planted(rng, routed=number % 2 == 0)
        table = table_of(World(rows, 16, 2, 2, 0.05), rng)
        found = route(table, FAMILIES)
        assert found is not None
        right += found.chosen == truly
        chosen += found.chosen
        better += truly
        cost = max(cost, abs(found.rate.value - _true_rate(rows, found)))
    del quick
    return [
        at_least("routing chosen exactly when truly best, of 20 planted worlds", right, 20),
        Figure("worlds in which routing is truly best", float(better), "printed", True),
        Figure("worlds in which it was chosen", float(chosen), "printed", True),
        at_most("largest error of the routed option's rate, points", 100 * cost, 10.0),
    ]


def _planted(rng: np.random.Generator, routed: bool) -> tuple[dict, bool]:
    """Rates of a world in which specialists complement each other, or in which one row is as good as any everywhere."""
    def high() -> float:
        return float(rng.uniform(0.86, 0.97))

    def low() -> float:
        return float(rng.uniform(0.2, 0.5))

    rows = {"base": {name: low() for name in FAMILIES}}
    skilled = [set(rng.permutation(FAMILIES)[:2])]
    skilled.append(set(FAMILIES) - skilled[0])
    for number, skill in enumerate(skilled):
        rows[f"specialist-{number}"] = {name: high() if name in skill else low() for name in FAMILIES}
    rows["weak"] = {name: low() for name in FAMILIES}
    if not routed:
        rows["all-round"] = dict.fromkeys(FAMILIES, 0.95)
    best_single = max(np.mean(list(rates.values())) for rates in rows.values())
    best_routed = np.mean([max(rates[name] for rates in rows.values()) for name in FAMILIES])
    return rows, bool(best_routed - best_single >= 0.15)


def _true_rate(rows: dict, found: object) -> float:
    return float(np.mean([rows[name][family] for family, name in found.routes.items()]))  # type: ignore[attr-defined]


def stacks(quick: bool) -> list[Figure]:
    """Pairs that hold both capabilities and pairs that interfere, judged with twelve photographs."""
    rng = np.random.default_rng(3)
    repeats = 30 if quick else 400
    kept = rejected = wrong = proposed = spurious = 0
    for _ in range(repeats):
        base = dict.fromkeys(FAMILIES, 0.3)
        rows = {"base": base, "angles": {**base, "camera": 0.93}, "relight": {**base, "lighting": 0.93}}
        holds = {**rows, "angles+relight": {**base, "camera": 0.92, "lighting": 0.92}}
        harms = {**rows, "angles+relight": {**base, "camera": 0.45, "lighting": 0.92}}
        good = table_of(World(holds, 12, 2, 2, 0.1), rng)
        kept += combining.compare(good, "angles+relight", FAMILIES, among=3).verdict == "better"
        bad = combining.compare(table_of(World(harms, 12, 2, 2, 0.1), rng), "angles+relight", FAMILIES, among=3)
        rejected += bad.verdict == "worse"
        wrong += bad.verdict == "better"
        found = combining.propose(table_of(World(rows, 12, 2, 2, 0.1), rng), FAMILIES)
        proposed += bool(found) and set(found[0].parts) == {"angles", "relight"}
        equal = {name: dict.fromkeys(FAMILIES, 0.6) for name in ("base", *(f"l{i}" for i in range(6)))}
        spurious += bool(combining.propose(table_of(World(equal, 12, 2, 2, 0.1), rng), FAMILIES))
    return [
        at_least("complementary pair proposed first, share", proposed / repeats, 0.95),
        at_least("complementary pair kept, share", kept / repeats, 0.85),
        at_least("interfering pair rejected, share", rejected / repeats, 0.85),
        at_most("interfering pair called better, share", wrong / repeats, 0.01),
        at_most("stacks proposed among equals, share", spurious / repeats, 0.10),
    ]
