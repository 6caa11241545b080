"""Do masks that a LoRA drew make a measure tell right from wrong better than the default masks, on the same pictures?

Does: compare areas under the curve (AUC) of both, paired and by photograph. Does not: measure or word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from whichlora.stats.agreement import auc

LEAST = 8
"""Pictures of each kind that a comparison needs to be shown."""
MOST_LOST = 0.05
"""Share of the pictures that drawn masks may fail at: masks that serve where it is easy replace nothing."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One picture with both values of a measure."""

    photo: str
    """Source photograph: the independent unit."""
    right: bool
    """Whether the person was kept, by whoever labels."""
    drawn: float
    """Value under the drawn mask."""
    default: float
    """Value under the default mask."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many pictures there are masks and values for."""

    pictures: int
    """Pictures that were looked at."""
    drawn: int
    """Of those, pictures whose drawing is a mask."""
    default: int
    """Of those, pictures with a default mask."""
    lost: Mapping[str, int]
    """Measure → pictures that only the default masks let it read."""


@dataclass(frozen=True, slots=True)
class MaskResult:
    """One measure under both masks."""

    measure: str
    """'identity' or 'subject'."""
    drawn: float
    """AUC under the drawn masks: the chance that a right picture is rated above a wrong one."""
    default: float
    """AUC under the default masks."""
    gain: float
    """Drawn minus default."""
    low: float | None
    """Lower end of the gain's 95 % interval for new photographs; None where there are too few."""
    high: float | None
    """Upper end."""
    pictures: int
    """Pictures that have both values."""
    note: str = ""
    """Why there is no interval."""
    lost: int = 0
    """Pictures whose value only the default masks give: the drawing was no mask, or missed what is read."""

    @property
    def helps(self) -> bool:
        """Whether the drawn masks are shown to tell right from wrong better, and not on a choice of pictures only."""
        return self.low is not None and self.low > 0 and self.lost <= MOST_LOST * (self.pictures + self.lost)


def compare(measure: str, rows: Sequence[Labelled], lost: int = 0) -> MaskResult | None:
    """Compare both masks by one measure; None when the labels are all alike.

    Args:
        measure: 'identity' or 'subject'.
        rows: Pictures that have both values.
        lost: Pictures that have a value under the default mask only.

    The gain's interval is a jackknife over photographs, which keeps the two AUCs' dependence.
    """
    right = [row.right for row in rows]
    drawn = auc([row.drawn for row in rows], right)
    default = auc([row.default for row in rows], right)
    if drawn is None or default is None:
        return None
    photos = list(dict.fromkeys(row.photo for row in rows))
    gain, count = drawn - default, len(rows)
    few = min(sum(right), count - sum(right))
    if len(photos) < 4 or few < LEAST:
        return MaskResult(measure, drawn, default, gain, None, None, count, "too few pictures to show a difference",
                          lost)
    left: list[float] = []
    for photo in photos:
        kept = [row for row in rows if row.photo != photo]
        answers = [row.right for row in kept]
        one, other = auc([row.drawn for row in kept], answers), auc([row.default for row in kept], answers)
        if one is None or other is None:
            return MaskResult(measure, drawn, default, gain, None, None, count, "one photograph carries it alone",
                              lost)
        left.append(one - other)
    spread = np.array(left)
    k = len(photos)
    error = float(np.sqrt((k - 1) / k * ((spread - spread.mean()) ** 2).sum()))
    half = float(student.ppf(0.975, k - 1)) * error
    # Two perfect scores that never differ have no spread, and no gain either.
    return MaskResult(measure, drawn, default, gain, max(-1.0, gain - half), min(1.0, gain + half), count, "", lost)
