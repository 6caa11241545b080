"""A confidence sequence: an interval that stays true however often one looks.

Does: bound a rate after every new cell for a live badge. Does not: know of photographs; feed it one value per
photograph when the claim is about new photographs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln

Floats = NDArray[np.float64]


def log_evidence(successes: ArrayLike, trials: ArrayLike, rate: ArrayLike, a: float = 1.0, b: float = 1.0) -> Floats:
    """Log of the beta-binomial mixture's likelihood ratio against one rate.

    A non-negative martingale when `rate` is true, so it exceeds log(1/level) ever with probability ≤ level
    (Ville 1939; Robbins 1970).

    Args:
        successes: Passed cells so far.
        trials: Cells so far.
        rate: Rate(s) under test, strictly between 0 and 1.
        a: First parameter of the mixing beta distribution.
        b: Second parameter.
    """
    x, n, p = (np.asarray(item, dtype=float) for item in (successes, trials, rate))
    return betaln(a + x, b + n - x) - betaln(a, b) - x * np.log(p) - (n - x) * np.log1p(-p)


def confidence_sequence(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a rate that covers at all times together with probability `level`.

    Args:
        successes: Passed trials, 0 to `trials`.
        trials: Independent trials.
        level: Joint confidence.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must lie between 0 and trials, got {successes} of {trials}")
    if trials == 0:
        return 0.0, 1.0
    bar = -np.log(1 - level)
    guess = min(max(successes / trials, 1e-12), 1 - 1e-12)
    low, high = 0.0, 1.0
    if successes > 0 and log_evidence(successes, trials, 1e-12) > bar:
        low = _edge(successes, trials, bar, 1e-12, guess)
    if successes < trials and log_evidence(successes, trials, 1 - 1e-12) > bar:
        high = _edge(successes, trials, bar, 1 - 1e-12, guess)
    return low, high


def _edge(successes: int, trials: int, bar: float, outside: float, inside: float) -> float:
    """Bisect between a refuted and an unrefuted rate; returns the refuted side."""
    for _ in range(80):
        middle = (outside + inside) / 2
        if float(log_evidence(successes, trials, middle)) > bar:
            outside = middle
        else:
            inside = middle
    return outside


def shown_above(successes: int, trials: int, target: float, level: float = 0.95) -> bool:
    """May a live badge say 'passed'? One-sided, valid under continuous looking."""
    if trials == 0 or successes <= target * trials:
        return False
    return bool(log_evidence(successes, trials, target) > -np.log(1 - level))
