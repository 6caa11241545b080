"""Chains: one edit, then another on its result. What is lost at each step?

Does: compare the first edit before and after the second, and the second on a photograph with the second on an edited
picture, photograph by photograph. Does not: make pictures or word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichlora.stats.paired import Difference, paired_difference
from whichlora.stats.rates import RateInterval, clustered_rate

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Link:
    """One chained pair of edits on one photograph. None where nobody could tell."""

    photo: str
    """Source photograph."""
    first: bool | None
    """The first edit alone: done, and the character kept."""
    survived: bool | None
    """After the second edit: the first still there, and the character kept."""
    second: bool | None
    """The second edit on the result: done, and the character kept."""
    direct: bool | None
    """The second edit on the photograph itself, by the same row: done, and the character kept."""

    @property
    def whole(self) -> bool | None:
        """Both edits are in the last picture and the character is kept."""
        if self.survived is False or self.second is False:
            return False
        return None if self.survived is None or self.second is None else True


@dataclass(frozen=True, slots=True)
class ChainResult:
    """What became of a chain."""

    first: RateInterval
    """First edit alone."""
    survived: RateInterval
    """First edit after the second."""
    direct: RateInterval
    """Second edit on the photograph."""
    second: RateInterval
    """Second edit on the first one's result."""
    whole: RateInterval
    """Both in one picture."""
    loss_of_first: Difference
    """Survived minus first: what the second step takes from the first edit."""
    loss_of_second: Difference
    """Second minus direct: what it costs the second edit to begin from an edited picture."""
    links: int
    """Chained pairs."""


def conclude(links: Sequence[Link]) -> ChainResult | None:
    """Rates and losses of a chain; None when one of them has no answer at all."""
    # Before and after are of the same pictures, so that what is lost is the difference of the two rates.
    rates = {name: _rate(_both(links, *pair), name)
             for pair in (("first", "survived"), ("direct", "second")) for name in pair}
    rates["whole"] = _rate(links, "whole")
    lost_first, lost_second = _difference(links, "survived", "first"), _difference(links, "second", "direct")
    if any(rate is None for rate in rates.values()) or lost_first is None or lost_second is None:
        return None
    known = {name: rate for name, rate in rates.items() if rate is not None}
    return ChainResult(**known, loss_of_first=lost_first, loss_of_second=lost_second, links=len(links))


def _by_photo(links: Sequence[Link], name: str) -> tuple[Floats, Floats]:
    """Passed and answered links per photograph."""
    photos = list(dict.fromkeys(link.photo for link in links))
    answers = [[getattr(link, name) for link in links if link.photo == photo] for photo in photos]
    known = [[answer for answer in group if answer is not None] for group in answers]
    return np.array([sum(group) for group in known], float), np.array([len(group) for group in known], float)


def _rate(links: Sequence[Link], name: str) -> RateInterval | None:
    passed, answered = _by_photo(links, name)
    return clustered_rate(passed, answered) if answered.sum() else None


def _both(links: Sequence[Link], one: str, other: str) -> list[Link]:
    """Links with both answers."""
    return [link for link in links if getattr(link, one) is not None and getattr(link, other) is not None]


def _difference(links: Sequence[Link], after: str, before: str) -> Difference | None:
    both = _both(links, after, before)
    if not both:
        return None
    (a, n), (b, _) = _by_photo(both, after), _by_photo(both, before)
    return paired_difference(a / n, b / n, float(len(n) / np.sum(1 / n)))


def pairs(
    first: Mapping[str, Sequence[str]], second: Mapping[str, Sequence[str]]
) -> list[tuple[str, str, str]]:
    """Which edits are chained: every edit of either kind at least once on every photograph, never all combinations.

    Args:
        first: Photograph → cases of the first kind on it.
        second: Photograph → cases of the second kind on it.

    Returns:
        (photograph, first case, second case).
    """
    found: list[tuple[str, str, str]] = []
    for number, photo in enumerate(first):
        ones, others = list(first[photo]), list(second.get(photo, ()))
        if not ones or not others:
            continue
        # Photographs begin at different places, so that all combinations occur over the photographs.
        found += [(photo, ones[place % len(ones)], others[(place + number) % len(others)])
                  for place in range(max(len(ones), len(others)))]
    return found
