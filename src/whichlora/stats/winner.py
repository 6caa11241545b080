"""The winner's curse: the best of many looks better than it is.

Does: the shrunken rate of a picked candidate, and the half-and-half rule as a check. Does not: pick.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from whichlora.stats.shrinkage import shrink


def corrected_rate(values: ArrayLike, cells_per_photo: float, picked: int) -> float:
    """Rate of a picked candidate, shrunken towards the group it was picked from.

    Args:
        values: Mean per candidate and photograph, shape (C, K).
        cells_per_photo: Cells behind each mean.
        picked: Row that was picked for being the best.
    """
    y = np.asarray(values, dtype=float)
    return float(shrink(y, cells_per_photo).rates()[picked])


def split_rate(values: ArrayLike, rng: np.random.Generator, repeats: int = 200) -> float:
    """Rate of 'the best', picked on half of the photographs and read on the other half; averaged over splits.

    Unbiased for the rate of a pick made with half of the evidence. Needs at least two photographs.
    """
    y = np.asarray(values, dtype=float)
    photos = y.shape[1]
    if photos < 2:
        raise ValueError("a split needs at least two photographs")
    total = 0.0
    for _ in range(repeats):
        order = rng.permutation(photos)
        first, second = order[: photos // 2], order[photos // 2 :]
        total += float(y[int(y[:, first].mean(axis=1).argmax()), second].mean())
    return total / repeats
