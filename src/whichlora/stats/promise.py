"""How often a plan shows a true gain over base: the report's own test, simulated, screening included.

Does: draw studies of one good candidate among equals of base, drop candidates as a screened run does, and count how
often the good one is measured to the end and shown to be better. Does not: choose a plan or search for a gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from whichlora.stats.multiple import stand_ins
from whichlora.stats.paired import sign_patterns
from whichlora.stats.screening import Round, chosen_on, in_turns

STUDIES = 2_000
"""Simulated studies behind a promise: a standard error of 0.9 points of power."""
LEVEL = 0.05
"""Family-wise level of the test."""
_FLIPS = 1_000
_BLOCK = 100

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated."""

    photos: int
    """Photographs."""
    cells: int
    """Cells of one candidate per photograph."""
    candidates: int
    """Candidates compared with base, the good one included."""
    icc: float
    """Intraclass correlation of 0/1 cells of a photograph at a rate of one half, 0 to 1."""
    rate: float = 0.5
    """Rate of base and of the other candidates."""
    rounds: tuple[Round, ...] = ()
    """Screening schedule; empty where everybody is measured in full."""
    families: tuple[str, ...] = ()
    """Capability of each instruction; one for all when empty."""

    def columns(self) -> list[str]:
        """Capability of every cell of a photograph; instructions by seeds, as many as there are cells."""
        names = self.families or ("",)
        return [names[i % len(names)] for i in range(self.cells)]

    def fresh(self) -> NDArray[np.bool_]:
        """Cells that count for those who are measured to the end, shape (photos, cells)."""
        counts = np.ones(self.photos * self.cells, dtype=bool)
        if self.rounds:
            order = _order(self)
            counts[order[: chosen_on(self.candidates, self.rounds)]] = False
            counts[order[self.rounds[-1].steps :]] = False
        return counts.reshape(self.photos, self.cells)

    def fresh_per_photo(self) -> float:
        """Cells per photograph behind a finalist's figures, on average."""
        return float(self.fresh().sum() / self.photos)


def simulated_power(gains: Floats, plan: Plan, studies: int = STUDIES) -> Floats:
    """Probability of showing each gain over base with max-t by sign flips, one good candidate among equals of base.

    A cell passes when a normal variable lies below the quantile of its rate; half of a photograph's effect is shared
    by all candidates. The same draws serve all gains, so that the curve is smooth. The first step of the step-down
    test is simulated; later steps only matter when another candidate is better still. Of a screening everything is
    simulated but the places that specialists of one capability may take.

    Args:
        gains: True gains of the good candidate, shape (G,).
        plan: What is measured.
        studies: Simulated studies.

    Returns:
        Shape (G,), 0 to 1.
    """
    rng = np.random.default_rng(20_250_101)
    latent = math.sin(math.pi / 2 * plan.icc)  # exact for cells that pass half of the time
    flips, weights = _flips(plan.photos), _equal_weights(plan)
    shown = np.zeros(len(gains))
    shape = (plan.candidates + 1, plan.photos)
    for start in range(0, studies, _BLOCK):
        size = min(_BLOCK, studies - start)
        effect = rng.standard_normal((size, 1, plan.photos, 1)) + rng.standard_normal((size, *shape, 1))
        noise = rng.standard_normal((size, *shape, plan.cells))
        cell = math.sqrt(latent / 2) * effect + math.sqrt(1 - latent) * noise
        plain = cell[:, 1:] < norm.ppf(plan.rate)
        means = (plain * weights).sum(axis=3)
        base, rivals = means[:, 0], means[:, 1:] - means[:, :1]
        scores = _scores(plain[:, 1:], plan)
        luck = 1e-7 * rng.random((size, plan.candidates, 1))  # of equals, who stays is a matter of the suite's order
        whole = None if plan.rounds else _flipped(rivals, flips).max(axis=1, initial=0.0)
        for at, gain in enumerate(gains):
            passed = cell[:, :1] < norm.ppf(plan.rate + gain)
            delta = (passed[:, 0] * weights).sum(axis=2) - base
            if whole is not None:
                kept, others = np.arange(size), whole
            else:
                alive = _alive(np.concatenate([_scores(passed, plan), scores], axis=1) + luck, plan)
                kept = np.flatnonzero(alive[:, 0])
                others = _others(delta[kept], rivals[kept], alive[kept, 1:], plan, flips)
            mine = _flipped(delta[kept, None], flips)[:, 0]
            p = (np.maximum(mine, others) >= mine[:, :1] - 1e-5).mean(axis=1)
            shown[at] += ((p <= LEVEL) & (delta[kept].mean(axis=1) > 0)).sum()
    return shown / studies


@lru_cache(maxsize=8)
def _order(plan: Plan) -> NDArray[np.intp]:
    """Cells in the order in which a screening measures them, as photograph × cells + cell. Do not write into it."""
    names, each = plan.columns(), len(plan.families) or plan.cells
    found: list[int] = []
    # Every instruction once before any gets its second seed, as in `plan.screening.shared_steps`.
    for start in range(0, plan.cells, each):
        mine = [k * plan.cells + c for k in range(plan.photos) for c in range(start, min(start + each, plan.cells))]
        turns = in_turns([str(i // plan.cells) for i in mine], [names[i % plan.cells] for i in mine])
        found += [mine[i] for i in turns]
    return np.array(found)


def _flips(photos: int) -> Singles:
    """Sign patterns, the observed one first; a random thousand where there are more."""
    every = sign_patterns(photos)
    if len(every) > _FLIPS:
        drawn = np.random.default_rng(0).choice(np.arange(1, len(every)), _FLIPS - 1, replace=False)
        every = every[np.concatenate([[0], drawn])]
    return every.astype(np.float32)


def _equal_weights(plan: Plan) -> Floats:
    """Weight of every cell in its photograph's mean, capabilities weighing the same; shape (photos, cells)."""
    names, fresh = np.array(plan.columns()), plan.fresh()
    weights = np.zeros(fresh.shape)
    for name in dict.fromkeys(names.tolist()):
        mine = fresh & (names == name)
        weights += mine / np.maximum(mine.sum(axis=1, keepdims=True), 1)
    return weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)


def _scores(passed: NDArray[np.bool_], plan: Plan) -> Floats:
    """Standing after every round that cuts, capabilities weighing the same; shape (studies, rows, rounds)."""
    order, names = _order(plan), np.array(plan.columns())
    flat = passed.reshape(*passed.shape[:2], -1)[:, :, order].astype(np.float32)
    found = []
    for stage in plan.rounds:
        asked = names[order[: stage.steps] % plan.cells]
        _, code, count = np.unique(asked, return_inverse=True, return_counts=True)
        found.append(flat[:, :, : stage.steps] @ (1 / count[code] / len(count)))
    return np.stack(found, axis=2) if found else np.zeros((*passed.shape[:2], 0))


def _alive(scores: Floats, plan: Plan) -> NDArray[np.bool_]:
    """Who is measured to the end, shape (studies, candidates)."""
    alive = np.ones(scores.shape[:2], dtype=bool)
    for number, stage in enumerate(plan.rounds[:-1]):
        order = np.argsort(-np.where(alive, scores[:, :, number], -np.inf), axis=1)[:, : stage.keep]
        alive = np.zeros_like(alive)
        np.put_along_axis(alive, order, True, axis=1)
    return alive


def _others(delta: Floats, rivals: Floats, alive: NDArray[np.bool_], plan: Plan, flips: Singles) -> Singles:
    """Largest |sum| of the rival finalists and of those who stand in for the dropped, (studies, patterns)."""
    count = int(alive[0].sum()) if len(alive) else 0
    first = np.argsort(~alive, axis=1, kind="stable")[:, :count, None]
    there = np.take_along_axis(rivals, first, axis=1)
    every = np.concatenate([delta[:, None], there], axis=1)
    scale = np.sqrt((every**2).sum(axis=2, keepdims=True))
    unit = every / np.where(scale > 0, scale, 1.0)
    gone = stand_ins(unit.transpose(0, 2, 1), plan.candidates - 1 - count).transpose(0, 2, 1)
    sums = np.abs(np.concatenate([unit[:, 1:], gone], axis=1).astype(np.float32) @ flips.T)
    return sums.max(axis=1, initial=0.0)


def _flipped(differences: Floats, flips: Singles) -> Singles:
    """|Standardised sums| under every sign pattern, shape (studies, comparisons, patterns)."""
    scale = np.sqrt((differences**2).sum(axis=2, keepdims=True))
    unit = (differences / np.where(scale > 0, scale, 1.0)).astype(np.float32)
    return np.abs(unit @ flips.T)
