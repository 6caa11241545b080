"""What people see while looking on: the live badge, and few labels beside a judge."""

from __future__ import annotations

import numpy as np

from lab.figures import TARGET, Figure, at_least, at_most
from whichlora.stats.ppi import powered_rate
from whichlora.stats.sequence import shown_above


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
