"""Strengths from paired votes with ties and side bias (Davidson–Bradley–Terry), and which pair to show next.

Does: fit by penalised maximum likelihood, intervals clustered by photograph, probability of being best, top-two
pair probabilities, votes still needed. Does not: know who voted, about what, or any name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from scipy.stats import t as student

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEFT, RIGHT, TIE = 0, 1, 2
"""Codes of outcomes."""
PRIOR_SD = 2.0
"""Prior spread of strengths in logits: keeps a candidate that won every vote finite."""
SIDE_SD = 0.5
"""Prior spread of the side bias in logits."""
TIE_SD = 2.0
"""Prior spread of the logarithm of the tie parameter."""
ENOUGH_VOTES = 12
"""Votes before which nothing is said about how many more are needed."""
_STEPS = 60


@dataclass(frozen=True, slots=True)
class Contrast:
    """How far one item is above another, in logits (1 logit: preferred in 73 of 100 votes that are no tie)."""

    value: float
    """First minus second."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the same."""


@dataclass(frozen=True, slots=True)
class Strengths:
    """A fitted preference model."""

    theta: Floats
    """Strength per item in logits, mean 0; shape (M,)."""
    side: float
    """Advantage of the left side in logits."""
    tie: float
    """Davidson's ν: e^η; 0 means that ties do not happen."""
    model: Floats
    """Covariance of `theta` if votes were independent; shape (M, M)."""
    clustered: Floats
    """Covariance of `theta` with votes of one photograph taken as one; shape (M, M)."""
    votes: int
    """Votes behind it."""
    photos: int
    """Photographs behind it."""

    def contrast(self, first: int, second: int) -> Contrast:
        """Difference of two items with its interval: the wider of the clustered and the independent one."""
        pick = np.zeros(len(self.theta))
        pick[first], pick[second] = 1.0, -1.0
        return self._interval(pick, float(self.theta[first] - self.theta[second]))

    def against_mean(self, item: int) -> Contrast:
        """Strength of an item against the mean of all, with its interval."""
        pick = np.full(len(self.theta), -1.0 / len(self.theta))
        pick[item] += 1.0
        return self._interval(pick, float(self.theta[item]))

    def _interval(self, pick: Floats, value: float) -> Contrast:
        variance = max(float(pick @ self.clustered @ pick), float(pick @ self.model @ pick), 0.0)
        # A sandwich from few photographs is itself uncertain; Student's t with K − 1 says how much.
        quantile = float(student.ppf(0.975, max(self.photos - 1, 1)))
        half = quantile * float(np.sqrt(variance))
        return Contrast(value, value - half, value + half)

    def win_probability(self, first: int, second: int) -> float:
        """Chance that the first is preferred to the second in a vote that is no tie and has no side."""
        return float(1 / (1 + np.exp(-(self.theta[first] - self.theta[second]))))


def fit_strengths(
    items: int, left: ArrayLike, right: ArrayLike, outcome: ArrayLike, photo: ArrayLike,
    *, prior_sd: float | None = PRIOR_SD,
) -> Strengths:
    """Fit Davidson's extension of the Bradley–Terry model with a side bias.

    P(left) : P(right) : P(tie) = e^{s/2} : e^{−s/2} : ν with s = θ_left − θ_right + side. Source: Davidson (1970),
    JASA 65, 317–328; side term as in Davidson & Beaver (1977), Biometrics 33, 693–702; clustered covariance: Liang &
    Zeger (1986), with the factor K/(K−1).

    Args:
        items: Number of items M.
        left: Item shown left, per vote, 0 to M − 1.
        right: Item shown right.
        outcome: `LEFT`, `RIGHT` or `TIE`.
        photo: Code of the photograph behind each vote.
        prior_sd: Prior spread of strengths; None fits by plain maximum likelihood without side term (it needs every
            item to have won and lost), as other libraries do.
    """
    a, b, y, k = (np.asarray(item, dtype=np.int64).reshape(-1) for item in (left, right, outcome, photo))
    if not len(a) == len(b) == len(y) == len(k):
        raise ValueError(f"votes need equally long lists; got {len(a)}, {len(b)}, {len(y)} and {len(k)}")
    if len(a) and (min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= items or bool(np.any(a == b))):
        raise ValueError("each vote needs two different items between 0 and M − 1")
    design = np.zeros((len(a), items + 1))
    design[np.arange(len(a)), a] += 1.0
    design[np.arange(len(a)), b] -= 1.0
    design[:, items] = 0.0 if prior_sd is None else 1.0
    has_ties = bool(np.any(y == TIE)) or prior_sd is not None
    precision = _precision(items, prior_sd)
    beta = np.zeros(items + 2)
    beta[-1] = 0.0 if has_ties else -np.inf
    for _ in range(_STEPS):
        gradient, hessian = _slope(design, y, beta, precision)
        step = np.linalg.solve(hessian, gradient)
        if not has_ties:
            step[-1] = 0.0
        largest = float(np.abs(step).max(initial=0.0))
        beta = beta + step * min(1.0, 2.0 / max(largest, 1e-12))
        if largest < 1e-10:
            break
    return _finished(items, design, y, k, beta, precision)


def _precision(items: int, prior_sd: float | None) -> Floats:
    """Prior precision; a tiny ridge on what the likelihood does not determine (the mean) when there is no prior."""
    precision = np.zeros((items + 2, items + 2))
    if prior_sd is None:
        precision[:items, :items] = 1.0 / items  # fixes only the mean, which the likelihood leaves free
        precision[items, items] = precision[items + 1, items + 1] = 1e-12
        return precision
    precision[np.arange(items), np.arange(items)] = prior_sd**-2
    precision[items, items], precision[items + 1, items + 1] = SIDE_SD**-2, TIE_SD**-2
    return precision


def _chances(design: Floats, beta: Floats) -> Floats:
    """P(left), P(right), P(tie) per vote; shape (N, 3)."""
    s = design @ beta[:-1]
    utilities = np.stack([s / 2, -s / 2, np.full_like(s, beta[-1])], axis=1)
    utilities -= utilities.max(axis=1, keepdims=True)
    weights = np.exp(utilities)
    return weights / weights.sum(axis=1, keepdims=True)


def _vote_slopes(design: Floats, y: Ints, p: Floats) -> Floats:
    """Score of every single vote with respect to (θ, side, η); shape (N, M + 2)."""
    towards = ((y == LEFT).astype(float) - (y == RIGHT) - (p[:, 0] - p[:, 1])) / 2
    return np.column_stack([design * towards[:, None], (y == TIE) - p[:, 2]])


def _slope(design: Floats, y: Ints, beta: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """Gradient of the penalised log-likelihood and its negative second derivative."""
    p = _chances(design, beta)
    finite = np.where(np.isfinite(beta), beta, 0.0)
    gradient = _vote_slopes(design, y, p).sum(axis=0) - precision @ finite
    lean = p[:, 0] - p[:, 1]
    hessian = precision.copy()
    m = design.shape[1]
    hessian[:m, :m] += design.T @ (design * (0.25 * (p[:, 0] + p[:, 1] - lean**2))[:, None])
    cross = -0.5 * design.T @ (lean * p[:, 2])
    hessian[:m, m] += cross
    hessian[m, :m] += cross
    hessian[m, m] += float((p[:, 2] * (1 - p[:, 2])).sum())
    return gradient, hessian


def _finished(items: int, design: Floats, y: Ints, k: Ints, beta: Floats, precision: Floats) -> Strengths:
    """Centre the strengths and attach both covariances."""
    _, hessian = _slope(design, y, beta, precision)
    bread = np.linalg.inv(hessian)
    slopes = _vote_slopes(design, y, _chances(design, beta))
    photos, codes = np.unique(k, return_inverse=True)
    sums = np.zeros((len(photos), slopes.shape[1]))
    np.add.at(sums, codes, slopes)
    count = len(photos)
    meat = sums.T @ sums * (count / (count - 1) if count > 1 else 1.0)
    if prior_known := float(np.trace(precision[:items, :items])) > 1.0 + 1e-9:
        # The prior's share of the information stays in: without it, an item nobody voted on would seem certain.
        meat = meat + precision
    centre = np.eye(items) - 1.0 / items
    model = centre @ bread[:items, :items] @ centre
    clustered = centre @ (bread @ meat @ bread)[:items, :items] @ centre
    theta = centre @ beta[:items]
    tie = float(np.exp(beta[-1])) if prior_known or np.isfinite(beta[-1]) else 0.0
    return Strengths(theta, float(beta[items]), tie, model, clustered, len(y), count)


# --------------------------------------------------------------------------- choosing and stopping


def probability_best(
    strengths: Strengths, rng: np.random.Generator, draws: int = 2000, *, cautious: bool = False
) -> Floats:
    """Probability of each item to be the strongest, from draws around the fit; sums to 1, shape (M,).

    Args:
        strengths: The fit.
        rng: Source of chance.
        draws: How many.
        cautious: For telling people: the wider of both covariances, with the tails that few photographs deserve.
            Choosing pairs needs neither.
    """
    items = len(strengths.theta)
    if items == 1:
        return np.ones(1)
    wider = cautious and float(np.trace(strengths.clustered)) > float(np.trace(strengths.model))
    values, vectors = np.linalg.eigh(strengths.clustered if wider else strengths.model)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    noise = rng.standard_normal((draws, items)) @ root.T
    if cautious:
        freedom = max(strengths.photos - 1, 1)
        noise *= np.sqrt(freedom / rng.chisquare(freedom, (draws, 1)))
    drawn = strengths.theta + noise
    counts = np.bincount(drawn.argmax(axis=1), minlength=items).astype(float)
    return counts / draws


def top_two_pairs(best: ArrayLike) -> Floats:
    """Probability of each unordered pair under top-two sampling.

    A leader is drawn by its chance to be best, then a rival by the same chance among the others. Source: Russo (2020),
    Operations Research 68, 1625–1647, with β = ½ by symmetry.

    Args:
        best: Probability of each item to be the strongest, shape (M,), M ≥ 2.

    Returns:
        Upper triangular, sums to 1; shape (M, M).
    """
    p = np.asarray(best, dtype=float)
    # Never quite 0: where one item takes all draws, its rivals would otherwise be 0/0.
    p = (p + 1e-4 / len(p)) / (p + 1e-4 / len(p)).sum()
    one_way = p[:, None] * p[None, :] / (1 - p)[:, None]
    pairs = np.triu(one_way + one_way.T, k=1)
    return pairs / pairs.sum()


def votes_until_separate(
    strengths: Strengths, share: float = 0.7, confidence: float = 0.95
) -> tuple[int, int, int | None]:
    """The two leaders, and about how many more votes separate them if they stay as far apart as they look now.

    Args:
        strengths: The fit so far, at least two items.
        share: Part of the coming votes that the two leaders meet in.
        confidence: Two-sided confidence at which they count as separate.

    Returns:
        Leader, runner-up, votes (0: separate already; None: they look alike, no number of votes is in sight).
    """
    order = np.argsort(-strengths.theta, kind="stable")
    first, second = int(order[0]), int(order[1])
    gap = float(strengths.theta[first] - strengths.theta[second])
    contrast = strengths.contrast(first, second)
    if strengths.votes >= ENOUGH_VOTES and contrast.low > 0:
        return first, second, 0
    pick = np.zeros(len(strengths.theta))
    pick[first], pick[second] = 1.0, -1.0
    variance = max(float(pick @ strengths.clustered @ pick), float(pick @ strengths.model @ pick))
    if strengths.votes < ENOUGH_VOTES or gap < 0.05:
        return first, second, None
    quantile = float(norm.ppf(0.5 + confidence / 2))
    p = 1 / (1 + strengths.tie / (np.exp(gap / 2) + np.exp(-gap / 2))) if strengths.tie else 1.0
    chance = 1 / (1 + np.exp(-gap))
    information = p * chance * (1 - chance)
    more = max(quantile**2 / gap**2 - 1 / max(variance, 1e-9), 0.0) / information / share
    return first, second, (max(1, int(np.ceil(more))) if more < 1000 else None)


def simulate_votes(
    theta: Sequence[float], pairs: Sequence[tuple[int, int]], rng: np.random.Generator, tie: float = 0.3,
) -> list[int]:
    """Draw outcomes of a voter with the given strengths; the first of a pair is left."""
    out: list[int] = []
    for left, right in pairs:
        half = (theta[left] - theta[right]) / 2
        weights = np.array([np.exp(half), np.exp(-half), tie])
        out.append(int(rng.choice(3, p=weights / weights.sum())))
    return out
