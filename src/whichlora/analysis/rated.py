"""The flips of single rates, exact: what the whole decision does when a measured rate is another.

An interval gets narrower towards 0 and 1, guesses are shrunken together, and comparisons with base change too; so the
shortcut of `flip` (everything known of a rate moves alike) says roughly where a flip is, and this module finds it.
Does: change a measured rate in the table, decide anew, bisect. Does not: propose or word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from whichlora.analysis.decide import Row
from whichlora.analysis.flip import LARGEST, Flip, choice
from whichlora.analysis.table import WHOLE, Table

Again = Callable[[str, str, float], Row | None]
"""(row, must-have, change of its measured rate) → the decision; None where no rate can change so."""
EXACT = 4
"""Flips of rates that are made exact: as many as the report shows."""
TRIED = 6
"""Nearest proposals among which they are looked for."""
STEP = 1.12
"""Growth of a change that does not flip yet."""
WITHIN = 0.04
"""Share of a change to which its smallest size is found; below the tenth by which a flip is checked."""


def changed(table: Table, row: int, capability: str, change: float) -> Table | None:
    """The table as if a row's measured rate at a capability were another, on all photographs alike.

    The same share of failed pictures passes (or of passed ones fails) on every photograph, so that the mean over
    photographs moves by exactly `change` and each stays between 0 and 1.

    Args:
        table: As measured.
        row: Row of the table.
        capability: A family, or one of those that run through all edits.
        change: Signed, 0 to 1 scale.

    Returns:
        None where the rate would leave 0 to 1, or nothing is measured.
    """
    passed, scored = table.counts(row, capability)
    has = scored > 0
    if not has.any():
        return None
    mean = float((passed[has] / scored[has]).mean())
    if not 0 <= mean + change <= 1:
        return None
    share = change / (1 - mean) if change > 0 else -change / mean if mean > 0 else 0.0
    moved = passed + share * (scored - passed) if change > 0 else passed * (1 - share)
    name = "whole_passed" if capability in WHOLE else "passed"
    every = getattr(table, name).copy()
    every[row, WHOLE.index(capability) if capability in WHOLE else table.families.index(capability)] = moved
    return replace(table, **{name: every})


def exact(proposed: Iterable[Flip], now: Row, again: Again) -> list[Flip]:
    """The nearest flips of rates, each at its smallest change.

    Args:
        proposed: Flips of rates by the shortcut, nearest first.
        now: The choice as it is.
        again: Decides anew.

    Returns:
        At most `EXACT`, nearest first; proposals that do not flip within `LARGEST` are left out.
    """
    found = [flip for flip in (_smallest(flip, now, again) for flip in list(proposed)[:TRIED]) if flip]
    return sorted(found, key=lambda flip: abs(flip.change))[:EXACT]


def _smallest(flip: Flip, now: Row, again: Again) -> Flip | None:
    """A proposal at the smallest change in its direction that flips the choice."""
    sign = float(np.sign(flip.change))

    def flipped(size: float) -> Row | None:
        row = again(flip.candidate, flip.what, sign * size)
        return row if row is not None and choice(row) != choice(now) else None

    low, high = 0.0, max(abs(flip.change), 1e-4)
    row = flipped(high)
    while row is None:
        low, high = high, max(STEP * high, high + 0.005)
        if high > LARGEST:
            return None
        row = flipped(high)
    # Halve towards 0 first, lest a nearer flip is jumped over.
    while high - low > WITHIN * high:
        middle = (low + high) / 2
        nearer = flipped(middle)
        low, high, row = (low, middle, nearer) if nearer else (middle, high, row)
    return replace(flip, change=sign * high, to=flip.to - flip.change + sign * high, row=row)
