"""Does the change that a flip card states flip the choice, and does nine tenths of it not?"""

from __future__ import annotations

from typing import Any

import numpy as np

from lab.figures import TARGET, Figure, at_least, at_most
from lab.reanalysed import recorded_flips
from whichlora.analysis.decide import Contender, decide
from whichlora.analysis.flip import choice, flips


def flip_cards(quick: bool) -> list[Figure]:
    """The stated change flips the choice; nine tenths of it do not."""
    rng = np.random.default_rng(8)
    cases = 100 if quick else 1_000
    flipped = early = said = 0
    for _ in range(cases):
        found = []
        for i in range(int(rng.integers(2, 6))):
            lean = rng.uniform(0.3, 1.0, 3)
            half = rng.uniform(0.02, 0.2, 3)
            kind = "base" if i == 0 else "stack" if rng.random() < 0.3 else "single"
            better = bool(rng.random() < 0.3)
            found.append(Contender(f"c{i}", kind, tuple(lean - half), tuple(lean + half), tuple(lean), better))
        must = ("x", "y", "z")
        now = decide(found, must, TARGET)
        for flip in flips(found, must, TARGET, {}):
            said += 1
            flipped += choice(_after(found, must, flip, 1.0)) != choice(now)
            early += choice(_after(found, must, flip, 0.9)) != choice(now)
    return [
        at_least("stated changes that flip the choice", flipped / said, 1.0),
        at_most("nine tenths of a stated change that flip it", early / said, 0.0),
        Figure("stated changes tried", float(said), "printed", True),
        *recorded_flips(quick),
    ]


def _after(found: list[Contender], must: tuple[str, ...], flip: Any, share: float) -> Any:
    if flip.kind == "target":
        return decide(found, must, TARGET + share * flip.change)
    at = must.index(flip.what)
    return decide([c.shifted(at, share * flip.change) if c.name == flip.candidate else c for c in found], must, TARGET)
