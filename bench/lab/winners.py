"""Is the rate of a picked winner right after correction?"""

from __future__ import annotations

import numpy as np

from lab.figures import Figure, at_most, photo_means
from whichlora.stats.winner import corrected_rate


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
        at_most("best of 12 that differ, bias in points", abs(100 * float(np.mean(spread))), 1.0),
    ]
