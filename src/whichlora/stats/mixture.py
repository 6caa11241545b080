"""What many rates may truly be, when nothing is supposed about how they are spread.

Does: an empirical-Bayes prior on a grid, estimated from all rates together, and draws from what each may then be. Does
not: rank candidates (`shrinkage.py` does, and is careful with the best of many) or decide.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

GRID = np.linspace(0.01, 0.99, 50)
"""Rates that are told apart."""
FLAT = 2.0
"""Rates' worth of an even prior over the grid, so that a place where none was measured is not thought impossible."""
ROUNDS = 60
"""Steps of expectation and maximisation."""


def mixture_draws(rates: ArrayLike, sizes: ArrayLike, draws: int, rng: np.random.Generator) -> Floats:
    """Draws of the true rates behind measured ones, under a prior whose shape the rates themselves tell.

    Capabilities are often done by a candidate or not done at all; a normal prior would fill the gap between. Source:
    Laird (1978), JASA 73, 805–811 (nonparametric maximum likelihood of a mixing distribution), with an even part added.

    Args:
        rates: Measured rates, 0 to 1, any shape.
        sizes: Independent cells that each is worth, > 0, same shape.
        draws: Number of draws.
        rng: Where luck comes from.

    Returns:
        Shape (draws, *shape of rates), on the grid.
    """
    steps = _posterior(rates, sizes).cumsum(axis=1)
    at = np.array([np.searchsorted(row, rng.random(draws)) for row in steps]).T
    return GRID[np.minimum(at, len(GRID) - 1)].reshape(draws, *np.shape(rates))


def mixture_means(rates: ArrayLike, sizes: ArrayLike) -> Floats:
    """Best single guesses of the true rates under the same prior, on the scale and of the shape of `rates`."""
    return (_posterior(rates, sizes) @ GRID).reshape(np.shape(rates))


def _posterior(rates: ArrayLike, sizes: ArrayLike) -> Floats:
    """Weight of every grid point for every rate, shape (rates, grid)."""
    p, n = np.asarray(rates, dtype=float), np.asarray(sizes, dtype=float)
    x = (p * n)[..., None]
    log = x * np.log(GRID) + (n[..., None] - x) * np.log(1 - GRID)
    likelihood = np.exp(log - log.max(axis=-1, keepdims=True)).reshape(-1, len(GRID))
    prior = np.full(len(GRID), 1 / len(GRID))
    for _ in range(ROUNDS):
        post = likelihood * prior
        post /= post.sum(axis=1, keepdims=True)
        prior = (post.sum(axis=0) + FLAT / len(GRID)) / (len(post) + FLAT)
    post = likelihood * prior
    return post / post.sum(axis=1, keepdims=True)
