"""The planted worlds: what is true in each, and the seeded recording of their matrices.

    python bench/worlds.py --record     draws them anew into tests/data/worlds (the files in the repository are these)

A world says true rates per row and capability, how its failures look, and what its user set. A cell passes when a
normal variable, shared in part by all cells of a photograph, lies below the quantile of its rate (see
`whichlora.analysis.simulate`). The right answer follows from the true rates, never from what was drawn.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lab.figures import FAMILIES, TARGET
from whichlora.analysis.decide import strategy_of
from whichlora.analysis.simulate import World, passes

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "data" / "worlds"
KINDS = "eniamf?"
"""How a cell fails: edit not done, nothing changed, identity lost, artefact, face missing, generation failed,
could not be scored."""


@dataclass(frozen=True)
class Planted:
    """One world."""

    name: str
    story: str
    rates: Mapping[str, tuple[float, ...]]
    """Row → true rate per capability. 'base' first; 'a+b' is a stack; 'control:<name>' a control."""
    photos: int = 20
    seeds: int = 1
    icc: float = 0.1
    must: tuple[str, ...] = FAMILIES
    wishes: Mapping[str, Any] = field(default_factory=dict)
    """Entries of the suite: thresholds, weights, max_seconds, max_vram_gib, target."""
    costs: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Row → seconds and GiB, where not 30 s and 20 GiB."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Row → kinds of its failures, drawn evenly; 'ei' where nothing is said."""
    silent: Mapping[str, float] = field(default_factory=dict)
    """Row → share of its cells that cannot be scored, whatever they would have been."""
    answer: tuple[str, tuple[str, ...]] | None = None
    """Right strategy and set-ups where it does not follow from the true rates: too little, or not to be trusted."""


LOW, NONE = (0.3, 0.3, 0.3, 0.3), (0.001,) * 4
CONTROLS = {"control:do-nothing": NONE, "control:other-person": NONE}

WORLDS = (
    Planted("base-suffices", "The base does everything; LoRAs add nothing.", {
        "base": (0.96, 0.95, 0.97, 0.95), "angles": (0.93, 0.94, 0.95, 0.92), "style": (0.5, 0.4, 0.6, 0.4)}),
    Planted("base-beside-copies", "The base does everything and so do all LoRAs: none is needed.", {
        "base": (0.95,) * 4, "one": (0.95,) * 4, "two": (0.95,) * 4, "three": (0.95,) * 4}, icc=0.2),
    Planted("one-existing", "One LoRA does everything, the base does not.", {
        "base": (0.5, 0.6, 0.5, 0.4), "angles": (0.96, 0.95, 0.96, 0.95), "style": (0.6, 0.5, 0.6, 0.4),
        "noise": (0.2, 0.1, 0.2, 0.3)}),
    Planted("best-too-slow", "The best LoRA is beyond the limit of time; another one passes.", {
        "base": LOW, "slow": (0.98,) * 4, "quick": (0.94,) * 4, "style": (0.4,) * 4},
        wishes={"max_seconds": 60.0}, costs={"slow": (140.0, 20.0), "quick": (35.0, 20.0)}),
    Planted("best-too-large", "The best LoRA does not fit the card; nothing that fits passes anything.", {
        "base": LOW, "large": (0.97,) * 4, "small": (0.35, 0.3, 0.4, 0.3)},
        wishes={"max_vram_gib": 24.0}, costs={"large": (40.0, 41.0)}),
    Planted("stack", "Two LoRAs complete each other, and their stack keeps what each can.", {
        "base": LOW, "angles": (0.97, 0.3, 0.96, 0.35), "relight": (0.25, 0.97, 0.3, 0.96),
        "angles+relight": (0.95, 0.96, 0.95, 0.95)}),
    Planted("routes", "Two LoRAs complete each other, but their stack ruins both: route.", {
        "base": LOW, "angles": (0.97, 0.3, 0.96, 0.35), "relight": (0.25, 0.97, 0.3, 0.96),
        "angles+relight": (0.4, 0.45, 0.4, 0.4)}),
    Planted("routes-through-base", "The base does light and background; one LoRA only the rest.", {
        "base": (0.3, 0.96, 0.97, 0.3), "angles": (0.97, 0.35, 0.4, 0.96), "style": (0.4, 0.4, 0.5, 0.3)}),
    Planted("hybrid-one-gap", "One LoRA does three kinds of edit; nobody does expressions.", {
        "base": LOW, "angles": (0.97, 0.96, 0.95, 0.2), "style": (0.2, 0.3, 0.3, 0.25)}),
    Planted("hybrid-two-gaps", "Half of what is needed is done by two LoRAs, half by nobody.", {
        "base": LOW, "angles": (0.97, 0.3, 0.3, 0.3), "relight": (0.3, 0.97, 0.35, 0.3),
        "style": (0.3, 0.3, 0.4, 0.4)}),
    Planted("custom-all-fail", "Nobody does anything well enough.", {
        "base": LOW, "angles": (0.4, 0.35, 0.3, 0.2), "style": (0.2, 0.3, 0.3, 0.25), "noise": (0.1,) * 4}),
    Planted("custom-three-gaps", "Backgrounds work, the other three kinds of edit do not.", {
        "base": (0.3, 0.3, 0.95, 0.3), "angles": (0.45, 0.4, 0.95, 0.3), "style": (0.3, 0.4, 0.6, 0.35)}),
    Planted("custom-other-faces", "Every edit is done, and every face becomes another person's.", {
        "base": (0.35,) * 4, "strong": (0.3,) * 4, "stronger": (0.2,) * 4},
        failures={"base": "i", "strong": "i", "stronger": "im"}),
    Planted("custom-do-nothings", "LoRAs that return the source: the person is kept, nothing is done.", {
        "base": (0.4,) * 4, "keeper": (0.05,) * 4, "saver": (0.02,) * 4}, failures={"keeper": "n", "saver": "n"}),
    Planted("few-needed", "Only camera and background are needed; one LoRA does these and nothing else.", {
        "base": LOW, "angles": (0.97, 0.3, 0.96, 0.3), "style": (0.4,) * 4}, must=("camera", "background")),
    Planted("crashes", "The LoRA that looks best fails to make two pictures of five; a plainer one passes.", {
        "base": LOW, "fragile": (0.58,) * 4, "plain": (0.93,) * 4}, failures={"fragile": "f"}),
    Planted("half-silent", "A third of one LoRA's pictures cannot be scored; another one passes openly.", {
        "base": (0.4,) * 4, "silent": (0.96,) * 4, "open": (0.95,) * 4}, silent={"silent": 0.35}),
    Planted("artefacts", "The stack does everything but leaves a mesh in most pictures; one member lacks light only.", {
        "base": LOW, "angles": (0.96, 0.3, 0.95, 0.95), "relight": (0.3, 0.5, 0.3, 0.3),
        "angles+relight": (0.35, 0.3, 0.35, 0.3)}, failures={"angles+relight": "a"}),
    Planted("few-photographs", "A LoRA at 85 %, but only four photographs.", {
        "base": (0.5,) * 4, "angles": (0.85,) * 4, "style": (0.6,) * 4}, photos=4, seeds=2,
        answer=("undecided", ())),
    Planted("broken-metric", "A picture of another person passes: nothing that is measured can be believed.", {
        "base": (0.5,) * 4, "angles": (0.96,) * 4, "control:other-person": (0.9,) * 4}, answer=("undecided", ())),
)


def right_answer(world: Planted) -> tuple[str, tuple[str, ...]]:
    """Strategy, and the set-ups that a right recommendation may name (any, when empty)."""
    if world.answer:
        return world.answer
    at = [FAMILIES.index(name) for name in world.must]
    most = world.wishes.get("max_seconds"), world.wishes.get("max_vram_gib")

    def within(name: str) -> bool:
        costs = world.costs.get(name, (30.0, 20.0))
        return all(limit is None or cost <= limit for cost, limit in zip(costs, most, strict=True))

    rows = {name: [rates[i] >= TARGET and within(name) for i in at] for name, rates in world.rates.items()
            if not name.startswith("control:")}
    kinds = ["base" if name == "base" else "stack" if "+" in name else "single" for name in rows]
    strategy = strategy_of(kinds, list(rows.values()), world.must)
    whole = [name for name, row in rows.items() if all(row)]
    if strategy == "existing":
        # One that cannot be scored for a third of its pictures may be as good; the open one is the right pick.
        able = [name for name in whole if "+" not in name and name not in world.silent]
        return strategy, ("base",) if "base" in able else tuple(able)
    if strategy == "multi":
        return strategy, tuple(name for name in whole if "+" in name)
    return strategy, ()


def record(world: Planted) -> dict[str, Any]:
    """Draw a world's matrix: one letter a cell, rows by capability, photographs × edits × seeds in order."""
    rates = {**world.rates, **{name: row for name, row in CONTROLS.items() if name not in world.rates}}
    rng = np.random.default_rng(zlib.crc32(world.name.encode()))
    drawn = passes(World({name: dict(zip(FAMILIES, row, strict=True)) for name, row in rates.items()},
                         world.photos, 2, world.seeds, world.icc), rng)
    strategy, candidates = right_answer(world)
    cells = {}
    for row, name in enumerate(rates):
        kinds = world.failures.get(name, "n" if name.startswith("control:do") else "ei")
        letters = np.where(drawn[row], "p", rng.choice(list(kinds), drawn[row].shape))
        letters = np.where(rng.random(letters.shape) < world.silent.get(name, 0.0), "?", letters)
        cells[name] = ["".join(letters[family].reshape(-1)) for family in range(len(FAMILIES))]
    return {
        "schema": "whichlora.world/1", "name": world.name, "story": world.story,
        "truth": {"decision": strategy, "candidates": list(candidates),
                  "rates": {name: list(row) for name, row in rates.items()}},
        "photos": world.photos, "edits": 2, "seeds": world.seeds, "families": list(FAMILIES),
        "must_have": list(world.must), "wishes": dict(world.wishes),
        "costs": {name: list(cost) for name, cost in world.costs.items()}, "cells": cells,
    }


def record_all(folder: Path = FOLDER) -> list[Path]:
    """Write every world."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, world in enumerate(WORLDS, 1):
        path = folder / f"{number:02d}-{world.name}.json"
        path.write_text(json.dumps(record(world), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written
