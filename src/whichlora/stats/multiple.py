"""Many comparisons at once: Holm, and step-down max-t by sign flips of whole photographs.

Does: adjust p-values so that the chance of any false claim stays at the level. Does not: estimate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whichlora.stats.paired import sign_patterns

Floats = NDArray[np.float64]


def holm(p_values: ArrayLike) -> Floats:
    """Holm's step-down adjusted p-values, same order. Source: Holm (1979), Scand. J. Stat. 6, 65–70."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    stepped = np.maximum.accumulate(p[order] * factors)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def max_t(differences: ArrayLike, absent: int = 0) -> Floats:
    """Two-sided adjusted p-values of many paired comparisons over the same photographs.

    The sign of a whole photograph is flipped for all comparisons together, which keeps whatever they have in
    common (the base, the photograph) and so costs far less than Holm when there are many. Each column is divided
    by the root of its sum of squares, which no flip changes.

    Args:
        differences: Shape (K photographs, C comparisons); NaN where a photograph lacks the comparison.
        absent: Further comparisons that would have been made, had their candidates not been dropped on the way.
            Each is stood in for by a present comparison with half of its photographs shuffled and their signs drawn,
            so that whoever is picked for being ahead is compared as if all had been measured to the end.

    Returns:
        Shape (C,); 1.0 for a column without any difference. Source: Westfall & Young (1993), step-down max-T.
    """
    d = np.asarray(differences, dtype=float)
    if d.ndim != 2:
        raise ValueError(f"max_t needs photographs × comparisons, got shape {d.shape}")
    filled = np.where(np.isnan(d), 0.0, d)
    scale = np.sqrt((filled**2).sum(axis=0))
    live = np.flatnonzero(scale > 0)
    adjusted = np.ones(d.shape[1])
    if len(live) == 0 or d.shape[0] < 2:
        return adjusted
    statistics = np.abs(sign_patterns(d.shape[0]) @ (filled[:, live] / scale[live]))
    observed = statistics[0].copy()
    order = np.argsort(observed, kind="stable")
    if absent:
        others = np.abs(sign_patterns(d.shape[0]) @ stand_ins(filled[:, live] / scale[live], absent)).max(axis=1)
        statistics = np.maximum(statistics, others[:, None])
    running = np.maximum.accumulate(statistics[:, order], axis=1)
    stepped = (running >= observed[order][None, :] - 1e-9).mean(axis=0)
    adjusted[live[order]] = np.maximum.accumulate(stepped[::-1])[::-1]
    return adjusted


def stand_ins(columns: Floats, count: int) -> Floats:
    """Comparisons like the given ones, shape (…, K, count).

    Half of the photographs, drawn for each, stay as they are, the others change places and signs: so a stand-in
    correlates with what it was made from by a half, as comparisons do that share their base.

    Args:
        columns: Comparisons that were made, shape (…, K, C). What is drawn is the same for all leading indices.
        count: Comparisons to stand in for.
    """
    rng = np.random.default_rng(0)
    photos = columns.shape[-2]
    found = np.empty((*columns.shape[:-1], count), columns.dtype)
    for i in range(count):
        column = columns[..., i % columns.shape[-1]].copy()
        moved = np.flatnonzero(rng.random(photos) < 0.5)
        signs = rng.choice((-1.0, 1.0), len(moved))
        column[..., moved] = signs * column[..., rng.permutation(moved)]
        found[..., i] = column
    return found
