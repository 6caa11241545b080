"""What every part shares: a graded figure, beta-binomial photographs, the capabilities and the target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
