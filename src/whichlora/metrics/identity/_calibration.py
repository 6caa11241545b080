"""Turning a raw similarity into "how alike her own photographs are", with an impostor floor. Pure numpy/scipy.

A raw cosine means nothing on its own: the same recogniser gives 0.3 for one person's photographs and 0.6 for
another's. So every picture is placed on a scale of this subject: 0 = as alike as a typical stranger is,
100 = as alike as the subject's own photographs are to one another. The threshold is the similarity that at most
1 % of strangers reach. A recogniser that sees every trait (figures: hair, clothes, hat) is held to more: a picture
must be as alike as 99 % of own photographs are, or a character in somebody else's jumper would pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNDECIDED = "not measured: as alike as own photographs are, and so is somebody among the impostors"
"""Reason of a similarity in the band of `Scale.verdict` that stays open."""
FALSE_MATCH = 0.01
"""Share of strangers that may pass."""
MARGIN = 1e-6
"""A known stranger's own similarity plus this does not pass."""
ENOUGH_FOR_QUANTILE = 100
"""Impostors from which on the empirical quantile is used; below, a normal prediction bound."""
MIN_IMPOSTORS = 5
MIN_OWN = 3
MIN_OWN_FOR_BOUND = 5
"""Own photographs from which on their own spread bounds the threshold."""
MUST_PASS = 0.8
"""Share of own photographs that must reach the threshold; else strangers who look as alike leave a band open."""


@dataclass(frozen=True)
class Defaults:
    """What is assumed of a recogniser when a subject brings too few photographs."""

    own_median: float
    """Similarity of two photographs of one subject."""
    impostor_median: float
    """Similarity of two subjects."""
    threshold: float
    """Similarity from which on two pictures count as one subject."""
    never_below: float | None = None
    """A calibrated threshold is never laxer than this."""
    sees_every_trait: bool = False
    """Whether a picture must be as alike as own photographs are, not only more alike than strangers."""


@dataclass(frozen=True)
class Scale:
    """A calibrated scale. Similarities grow with likeness, whatever their unit."""

    threshold: float
    """Similarity that passes."""
    fails_below: float
    """Similarity below which a picture fails. Lower than the threshold where strangers among the impostors look as
    alike as own photographs do: between the two nothing can be told."""
    own_median: float
    """Typical similarity among the subject's own photographs."""
    impostor_median: float
    """Typical similarity to a stranger."""
    own: tuple[float, ...]
    """Each own photograph's similarity to the nearest other one, sorted."""
    impostors: tuple[float, ...]
    """Each impostor's similarity to the nearest own photograph, sorted."""
    calibration: str
    """'calibrated', 'partly calibrated' or 'uncalibrated'."""
    notes: tuple[str, ...] = ()
    """What a reader must know."""

    def verdict(self, similarity: float) -> bool | None:
        """Passed, failed, or None where known strangers are as alike as own photographs."""
        if similarity >= self.threshold:
            return True
        return False if similarity < self.fails_below else None

    def percent(self, similarity: float) -> float:
        """0 = a typical stranger, 100 = as alike as own photographs; 0 at the least, may exceed 100."""
        span = max(self.own_median - self.impostor_median, 1e-6)
        return max(0.0, 100 * (similarity - self.impostor_median) / span)

    def facts(self, similarity: float) -> dict[str, Any]:
        """Plain data for a measurement's detail."""
        below_own = float(np.mean([value <= similarity for value in self.own])) if self.own else None
        above = float(np.mean([value >= similarity for value in self.impostors])) if self.impostors else None
        return {
            "similarity": similarity,
            "threshold": self.threshold,
            "threshold_percent": self.percent(self.threshold),
            "fails_below": self.fails_below,
            "percentile_of_own": None if below_own is None else 100 * below_own,
            "impostors_at_least_as_alike_percent": None if above is None else 100 * above,
            "calibration": self.calibration,
            "own_photographs": len(self.own),
            "impostors": len(self.impostors),
            "notes": list(self.notes),
        }


def nearest(similarities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per row, the similarity to the nearest other: rows of a square matrix leave themselves out."""
    values = similarities.copy()
    np.fill_diagonal(values, -np.inf)
    return values.max(axis=1)


def calibrate(own: Sequence[float], impostors: Sequence[float], defaults: Defaults) -> Scale:
    """Build the scale of a subject.

    Args:
        own: Each own photograph's similarity to the nearest other own one.
        impostors: Each impostor's similarity to the nearest own photograph.
        defaults: The recogniser's values for what cannot be estimated.
    """
    notes: list[str] = []
    own_known = len(own) >= MIN_OWN
    own_median = float(np.median(own)) if own_known else defaults.own_median
    if not own_known:
        notes.append(f"only {len(own)} comparable own photographs; {MIN_OWN} are needed to calibrate")
    strangers = [value for value in impostors if not own_known or value < own_median]
    if len(strangers) < len(impostors):
        notes.append(
            f"{len(impostors) - len(strangers)} impostor(s) look as alike as own photographs and were left out: "
            "check that they show somebody else",
        )
    strangers_known = len(strangers) >= MIN_IMPOSTORS
    impostor_median = float(np.median(strangers)) if strangers_known else defaults.impostor_median
    threshold = _pass_from(own, strangers, defaults)
    doubles = _doubles(own, strangers)
    fails_below = threshold
    if doubles and float(np.mean([value >= threshold for value in own])) < MUST_PASS:
        fails_below = min(threshold, _pass_from(own, [value for value in strangers if value not in doubles], defaults))
    if not strangers_known:
        notes.append(f"only {len(strangers)} usable impostors; {MIN_IMPOSTORS} are needed for a floor")
    if own_median <= impostor_median:
        notes.append("strangers look as alike as own photographs: this recogniser cannot tell this subject")
        own_median = impostor_median + max(abs(defaults.own_median - defaults.impostor_median), 1e-3)
    if own_known and float(np.mean([value >= threshold for value in own])) < MUST_PASS:
        notes.append("more than a fifth of the own photographs would fail this threshold"
                     + (f"; {len(doubles)} impostor(s) look as alike as they do, so that much stays open"
                        if fails_below < threshold else ""))
    words = {2: "calibrated", 1: "partly calibrated", 0: "uncalibrated"}
    return Scale(
        threshold, fails_below, own_median, impostor_median, tuple(sorted(map(float, own))),
        tuple(sorted(map(float, strangers))), words[int(own_known) + int(strangers_known)], tuple(notes),
    )


def _pass_from(own: Sequence[float], strangers: Sequence[float], defaults: Defaults) -> float:
    """Similarity that passes, by what is known of own photographs and strangers."""
    strangers_known = len(strangers) >= MIN_IMPOSTORS
    threshold = _threshold(strangers) if strangers_known else defaults.threshold
    own_low = -_upper_bound([-value for value in own]) if len(own) >= MIN_OWN_FOR_BOUND else None
    line = None if own_low is None else _line(own_low, strangers, defaults)
    if MIN_IMPOSTORS <= len(strangers) < ENOUGH_FOR_QUANTILE:
        # Look-alikes among few strangers widen their bound beyond reason; then own photographs draw the line, or,
        # where they are too few as well, the recogniser's default does.
        threshold = max(max(strangers) + MARGIN, min(threshold, defaults.threshold if line is None else line))
    if line is not None and defaults.sees_every_trait:
        threshold = max(threshold, line) if strangers_known else line
    return threshold if defaults.never_below is None else max(threshold, defaults.never_below)


def _doubles(own: Sequence[float], strangers: Sequence[float]) -> list[float]:
    """Strangers who are as alike as own photographs are: beyond the least alike fifth of those."""
    if len(own) < MIN_OWN_FOR_BOUND:
        return []
    low = float(np.quantile(np.asarray(own, dtype=np.float64), 1 - MUST_PASS))
    return [value for value in strangers if value > low]


def _line(own_low: float, strangers: Sequence[float], defaults: Defaults) -> float:
    """Similarity that own photographs draw: their 1 % bound, or half-way to the most alike of the look-alikes.

    Own photographs show the character unedited, so edited ones may lie beyond their bound. Strangers who differ in
    everything say nothing of how alike one changed trait looks; look-alikes do, and then half-way leaves room on both
    sides. Where too few are known, the recogniser's default stands for the most alike one.
    """
    if not defaults.sees_every_trait:
        return own_low
    alike = [value for value in strangers if value > (defaults.threshold + defaults.impostor_median) / 2]
    nearest_one = max(alike, default=defaults.threshold)
    if len(alike) < MIN_IMPOSTORS:
        nearest_one = max(nearest_one, defaults.threshold)
    return (own_low + nearest_one) / 2 if nearest_one < own_low else own_low


def _threshold(strangers: Sequence[float]) -> float:
    """Similarity that 1 % of strangers reach: a quantile of many, a prediction bound of few.

    Of few strangers none that is known passes, whatever the bound says.
    """
    if len(strangers) >= ENOUGH_FOR_QUANTILE:
        return float(np.quantile(np.asarray(strangers, dtype=np.float64), 1 - FALSE_MATCH, method="higher"))
    return max(max(strangers) + MARGIN, _upper_bound(strangers))


def _upper_bound(values: Sequence[float]) -> float:
    """Value that the next draw exceeds with 1 %: the normal prediction bound (Student's t)."""
    from scipy import stats

    array = np.asarray(values, dtype=np.float64)
    spread = float(array.std(ddof=1)) * float(np.sqrt(1 + 1 / array.size))
    return float(array.mean()) + float(stats.t.ppf(1 - FALSE_MATCH, array.size - 1)) * spread
