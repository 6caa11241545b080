"""Joint uncertainty of all candidates: shrunken rates, draws, probability of being best.

Does: an empirical-Bayes model, one group per capability, with the correlation that shared photographs cause. Does not:
decide, and is no plain bootstrap of photographs (which covers 83 % at five).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whichlora.stats.rates import effective_size

Floats = NDArray[np.float64]

CORRELATION_KEEP = 0.5
"""Share of the estimated correlation between candidates that is kept; the rest is noise with few photographs."""

EQUAL_PRIOR = 0.75
"""Prior probability that the candidates of a group do not differ at all. A flat prior leaves the best of 12 equal
candidates 3 points too high; this leaves under 1, and costs less than 1 where they truly differ."""
SPREAD_SCALE = 0.12
"""Scale of the Maxwell prior on the standard deviation between candidates that do differ (rates, 0 to 1): it gives no
weight to differences next to none, which the data could not tell from none."""


@dataclass(frozen=True, slots=True)
class Shrunken:
    """Shrunken rates of several candidates at one capability."""

    mean: Floats
    """Posterior mean on the logit scale, shape (C,)."""
    cholesky: Floats
    """Lower Cholesky factor of the posterior covariance, shape (C, C)."""
    weight: Floats
    """Share of each candidate's own evidence in its mean, 0 to 1."""

    def rates(self) -> Floats:
        """Shrunken rates, 0 to 1."""
        return expit(self.mean)


def expit(x: ArrayLike) -> Floats:
    """Logistic function."""
    return 1.0 / (1.0 + np.exp(-np.asarray(x, dtype=float)))


def logit(p: ArrayLike) -> Floats:
    """Inverse of the logistic function."""
    q = np.asarray(p, dtype=float)
    return np.log(q / (1 - q))


def shrink(values: ArrayLike, cells_per_photo: float) -> Shrunken:
    """Shrink candidates' rates towards each other as far as their spread looks like noise.

    Works on rates: the true spread between candidates is weighed against the noise of their paired contrasts, so that
    a photograph that is hard for all counts neither as spread nor as noise. The spread is not estimated but averaged
    over (spike at none, Maxwell beyond), as an estimate of it is what flatters the best of many. The posterior is
    then taken to the logit scale, where draws stay between 0 and 1. Source: Gelman et al., Bayesian Data Analysis,
    3rd ed., section 5.4 (normal hierarchical model on a grid of the spread).

    Args:
        values: Mean per candidate and photograph, shape (C, K), without NaN.
        cells_per_photo: Cells behind each mean.
    """
    y = np.asarray(values, dtype=float)
    count, photos = y.shape
    size = _pooled_size(y, cells_per_photo) if photos >= 2 else np.ones(count)
    padded = (size * np.clip(y.mean(axis=1), 0.0, 1.0) + 0.5) / (size + 1)
    variance = padded * (1 - padded) / (size + 1)
    own, mean = np.ones(count), padded
    if count > 1:
        mean, own, variance = _averaged(padded, variance, _contrast_share(y, variance) * variance)
    mean = np.clip(mean, 0.5 / (size + 1), 1 - 0.5 / (size + 1))
    root = np.sqrt(variance) / (mean * (1 - mean))
    covariance = _correlation(y) * root[:, None] * root[None, :] + 1e-8 * np.eye(count)
    cholesky: Floats = np.linalg.cholesky(covariance).astype(np.float64)
    return Shrunken(logit(mean), cholesky, own)


def _averaged(value: Floats, variance: Floats, apart: Floats) -> tuple[Floats, Floats, Floats]:
    """Posterior mean, weight of the own evidence and variance, averaged over the spread between candidates.

    Args:
        value: Rates, shape (C,).
        variance: Noise variance of the rates.
        apart: Noise variance of their differences, halved; what the spread competes with.
    """
    spread = np.linspace(0.0, 5 * SPREAD_SCALE, 61)[:, None]
    prior = spread[:, 0] ** 2 * np.exp(-0.5 * (spread[:, 0] / SPREAD_SCALE) ** 2)
    prior *= (1 - EQUAL_PRIOR) / prior.sum()
    prior[0] = EQUAL_PRIOR
    total = spread**2 + apart
    pull = (1 / total).sum(axis=1)
    centre = ((value / total).sum(axis=1) / pull)[:, None]
    likelihood = -0.5 * (np.log(total).sum(axis=1) + ((value - centre) ** 2 / total).sum(axis=1) + np.log(pull))
    weight = prior * np.exp(likelihood - likelihood.max())
    weight = (weight / weight.sum())[:, None]
    own = spread**2 / total
    means = own * value + (1 - own) * centre
    mean = (weight * means).sum(axis=0)
    within = own * variance + (1 - own) * variance.mean() / len(value)
    return mean, (weight * own).sum(axis=0), (weight * (within + (means - mean) ** 2)).sum(axis=0)


def _contrast_share(y: Floats, variance: Floats) -> float:
    """Noise of the candidates' differences over that of their rates; below 1 when photographs are hard for all."""
    count, photos = y.shape
    if photos < 3:
        return 1.0
    rest = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0, keepdims=True) + y.mean()
    noise = float((rest**2).sum()) / ((count - 1) * (photos - 1)) / photos
    return float(np.clip(noise / variance.mean(), 0.25, 1.0))


def _pooled_size(y: Floats, cells_per_photo: float) -> Floats:
    """Effective cells of each candidate, the photographs' effect estimated from all candidates together."""
    photos, cells = y.shape[1], max(cells_per_photo, 1.0)
    own, _ = effective_size(y, cells_per_photo)
    padded = np.clip((photos * y.mean(axis=1) + 0.5) / (photos + 1), 0.0, 1.0)
    noise = float((padded * (1 - padded)).mean()) / cells
    design = float(np.clip(y.var(axis=1, ddof=1).mean() / noise, 1.0, cells))
    pooled = np.full(len(y), photos * cells / design)
    # Few candidates pool little: lean on the pooled figure as far as there are photographs behind it.
    trust = len(y) * (photos - 1) / (len(y) * (photos - 1) + 10)
    return trust * pooled + (1 - trust) * own


def _correlation(y: Floats) -> Floats:
    """Correlation of candidates over photographs, pulled halfway to none."""
    count, photos = y.shape
    if photos < 3 or count == 1:
        return np.eye(count)
    centred = y - y.mean(axis=1, keepdims=True)
    scale = np.sqrt((centred**2).sum(axis=1))
    safe = np.where(scale > 0, scale, 1.0)
    unit = centred / safe[:, None]
    corr = CORRELATION_KEEP * (unit @ unit.T)
    np.fill_diagonal(corr, 1.0)
    return corr


def draw(posterior: Shrunken, draws: int, rng: np.random.Generator) -> Floats:
    """Joint draws of the rates, shape (draws, C), 0 to 1."""
    noise = rng.standard_normal((draws, len(posterior.mean)))
    return expit(posterior.mean + noise @ posterior.cholesky.T)


def probability_best(draws: ArrayLike) -> Floats:
    """Share of draws in which each column is largest; ties are shared. Shape (C,), sums to 1."""
    d = np.asarray(draws, dtype=float)
    top = d >= d.max(axis=1, keepdims=True) - 1e-12
    return (top / top.sum(axis=1, keepdims=True)).mean(axis=0)
