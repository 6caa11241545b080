"""Projects with known truths: for the truth lab and for tests. Never part of a user's analysis.

Does: draw passes with a photograph effect shared by all candidates and one of their own, as tables or as full rows
(plan, generations, scores). Does not: make pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from whichlora.analysis.table import Table
from whichlora.types import (
    AdapterUse,
    BaseModel,
    Candidate,
    Cell,
    EditCase,
    Generation,
    Plan,
    Score,
    SourceImage,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class World:
    """What is true in a simulated project."""

    rates: Mapping[str, Mapping[str, float]]
    """Candidate → family → true rate over all photographs of this kind. 'base' first; stacks as 'a+b'."""
    photos: int = 12
    """Photographs."""
    edits: int = 2
    """Instructions per family."""
    seeds: int = 1
    """Seeds per case."""
    icc: float = 0.1
    """Correlation, on the latent scale, of two cells of one photograph and candidate."""
    shared: float = 0.5
    """Share of that which all candidates have in common."""

    @property
    def families(self) -> tuple[str, ...]:
        """Families in order."""
        return tuple(next(iter(self.rates.values())))


def passes(world: World, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which cells pass, shape (candidates, families, photos, edits × seeds).

    A cell passes when a normal variable lies below the quantile of its rate; a photograph moves all of its cells,
    so that the rate over photographs is exact and cells of one photograph go together.
    """
    target = np.array([list(row.values()) for row in world.rates.values()])
    rows, columns = target.shape
    shape = (rows, columns, world.photos, world.edits * world.seeds)
    common = rng.standard_normal((1, columns, world.photos, 1))
    own = rng.standard_normal((rows, columns, world.photos, 1))
    noise = rng.standard_normal(shape)
    together = np.sqrt(world.icc * world.shared) * common + np.sqrt(world.icc * (1 - world.shared)) * own
    latent = together + np.sqrt(1 - world.icc) * noise
    return latent < norm.ppf(target)[:, :, None, None]


def candidates(names: Sequence[str]) -> tuple[Candidate, ...]:
    """Rows by name: 'base', names with '+' as stacks, names that begin with 'control:' as controls."""
    def build(name: str) -> Candidate:
        if name == "base":
            return Candidate("base", role="base")
        if name.startswith("control:"):
            return Candidate(name.removeprefix("control:"), role="control", control=name.removeprefix("control:"))
        parts = name.split("+")
        return Candidate(name, tuple(AdapterUse(f"{part}.safetensors", "", f"sha-{part}") for part in parts))

    return tuple(build(name) for name in names)


def table_of(world: World, rng: np.random.Generator) -> Table:
    """The table of a simulated project, without rows; quick."""
    won = passes(world, rng)
    passed = won.sum(axis=3).astype(float)
    scored = np.full(passed.shape, float(won.shape[3]))
    whole = passed.sum(axis=1, keepdims=True).repeat(2, axis=1)
    whole_scored = scored.sum(axis=1, keepdims=True).repeat(2, axis=1)
    rows = candidates(list(world.rates))
    cells = int(scored[0].sum())
    photos = tuple(f"photo-{i:02d}" for i in range(world.photos))
    return Table(rows, world.families, photos, passed, scored, np.zeros(passed.shape), whole, whole_scored,
                 np.zeros(whole.shape), {}, {row.name: cells for row in rows})


def project_of(
    world: World, rng: np.random.Generator, *, must_have: tuple[str, ...] = (), target: float = 0.7,
    seconds: float = 30.0,
) -> tuple[Plan, list[Generation], list[Score]]:
    """Full stored rows of a simulated project: a failed cell fails its edit or its identity, by turns."""
    won = passes(world, rng)
    rows = candidates(list(world.rates))
    photos = tuple(SourceImage(f"photo-{i:02d}", f"refs/{i:02d}.png", f"sha{i}", 512, 512) for i in range(world.photos))
    cases = [
        EditCase(f"{photo.id}/{family}-{e}", photo.id, f"{family}-{e}", family, f"do {family} {e}", {})
        for family in world.families for photo in photos for e in range(world.edits)
    ]
    cells, generations, scores = [], [], []
    for r, row in enumerate(rows):
        at = 0
        for f in range(len(world.families)):
            for p in range(world.photos):
                for e in range(world.edits):
                    case = cases[(f * world.photos + p) * world.edits + e]
                    for s in range(world.seeds):
                        cell = Cell(f"c1-{row.name}-{at:05d}", row.name, case.id, s)
                        cells.append(cell)
                        good = bool(won[r, f, p, e * world.seeds + s])
                        generations.append(Generation(cell.id, "done", f"img{at}", {"total": seconds}, 20 * 1024**3))
                        scores += scores_of(cell.id, good, at % 2 == 0)
                        at += 1
    plan = Plan(
        "simulated", BaseModel("Qwen/Qwen-Image-Edit-2509", "simulated", "", "fp"), rows, photos, (), (),
        tuple(cases), tuple(cells), (), "photograph", must_have or world.families, target, {"whichlora": "0"},
    )
    return plan, generations, scores


def scores_of(cell: str, good: bool, by_edit: bool) -> list[Score]:
    """Scores of one picture that passes, or fails by its edit or by its identity."""
    edit, identity = good or not by_edit, good or by_edit
    return [
        Score(cell, "following/edit", 1, 1.0 if edit else 0.0, passed=edit, gate="edit"),
        Score(cell, "identity/figure", 1, 0.9 if identity else 0.3, passed=identity, gate="identity"),
        Score(cell, "artifacts/grid", 1, 0.1, passed=True, gate="artefact"),
        Score(cell, "following/unchanged", 1, 0.5, detail={"no_op": False}),
        Score(cell, "drift/zoom", 1, 1.01),
    ]
