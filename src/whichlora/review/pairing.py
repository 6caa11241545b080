"""Which two pictures to show next, and how far the question is from settled. Pure functions of board and votes.

Of the pairs a fifth is uniformly random and a tenth repeats one of the voter's own with sides swapped; the rest is
drawn by top-two sampling, so that votes go where they can still change who leads.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whichlora.review.board import Board
from whichlora.review.votes import PairVote, Question, Why
from whichlora.stats.pairwise import (
    LEFT,
    RIGHT,
    TIE,
    Strengths,
    fit_strengths,
    probability_best,
    top_two_pairs,
    votes_until_separate,
)

RANDOM_SHARE = 0.2
"""Part of the fresh pairs that is drawn uniformly: keeps the fit checkable against adaptive choice."""
REPEAT_SHARE = 0.1
"""Part of all pairs that repeats one of the voter's own."""
REPEAT_AFTER = 5
"""Votes between a pair and its repetition, so that it is not answered from memory."""
VOTE_PRIOR_SD = 1.0
"""Prior spread of strengths while choosing, in logits."""
_CODES = {"left": LEFT, "right": RIGHT, "tie": TIE, "both-bad": TIE}


@dataclass(frozen=True)
class Pair:
    """Two pictures to be shown."""

    left: str
    """Cell."""
    right: str
    """Cell."""
    why: Why
    chance: float
    """Probability of this pair of contestants."""
    repeats: str = ""
    """Vote that it repeats."""


@dataclass(frozen=True)
class Outlook:
    """How far a question is from settled."""

    votes: int
    """Votes that count."""
    separated: bool
    """True when the interval between the two leaders excludes 'no difference'."""
    left: int | None
    """About how many votes are left until then; None when no number is in sight."""


def counted(board: Board, votes: Sequence[PairVote], question: Question) -> list[PairVote]:
    """Votes on a question that compare two contestants of the board; skipped ones are left out."""
    return [
        vote for vote in votes
        if vote.question == question and vote.answer in _CODES
        and vote.left in board.where and vote.right in board.where
        and board.where[vote.left][0] != board.where[vote.right][0]
    ]


def fit(board: Board, votes: Sequence[PairVote], *, prior_sd: float | None = VOTE_PRIOR_SD) -> Strengths:
    """Fit the preference model to votes from `counted`."""
    left = [board.where[vote.left][0] for vote in votes]
    right = [board.where[vote.right][0] for vote in votes]
    photo = [int(board.photos[board.where[vote.left][1]]) for vote in votes]
    return fit_strengths(
        len(board.contestants), left, right, [_CODES[vote.answer] for vote in votes], photo, prior_sd=prior_sd
    )


def outlook(strengths: Strengths) -> Outlook:
    """How far the two leaders are from separate."""
    if len(strengths.theta) < 2:
        return Outlook(strengths.votes, True, 0)
    _, _, left = votes_until_separate(strengths)
    return Outlook(strengths.votes, left == 0, left)


def choose_pair(
    board: Board, votes: Sequence[PairVote], question: Question, rater: str, rng: np.random.Generator,
    *, pending: Collection[frozenset[str]] = (),
) -> Pair | None:
    """Choose the next pair of a voter, or None when nothing is left to compare.

    Args:
        board: What can be shown.
        votes: All standing pair votes.
        question: The pass.
        rater: Who will see it.
        rng: Source of chance.
        pending: Pairs of cells that wait for this voter's answer already.
    """
    mine = [vote for vote in votes if vote.rater == rater and vote.question == question]
    again = _repetition(board, mine, pending)
    if again and rng.random() < REPEAT_SHARE / (1 - REPEAT_SHARE / 2):
        vote = again[int(rng.integers(len(again)))]
        return Pair(vote.right, vote.left, "repeat", vote.chance, vote.id)
    seen = {frozenset((vote.left, vote.right)) for vote in mine} | set(pending)
    open_pairs = _open_pairs(board, seen)
    if not open_pairs.any():
        return None
    uniform = open_pairs / open_pairs.sum()
    usable = counted(board, votes, question)
    active = top_two_pairs(probability_best(fit(board, usable), rng, 800)) * open_pairs
    active = active / active.sum() if active.sum() > 0 else uniform
    why: Why = "random" if rng.random() < RANDOM_SHARE else "active"
    table = uniform if why == "random" else active
    first, second = divmod(int(rng.choice(table.size, p=table.ravel())), table.shape[1])
    chance = RANDOM_SHARE * uniform[first, second] + (1 - RANDOM_SHARE) * active[first, second]
    place = _choose_place(board, usable, (first, second), seen, rng)
    sides = (first, second) if rng.random() < 0.5 else (second, first)
    return Pair(board.cells[sides[0], place], board.cells[sides[1], place], why, float(chance))


def _repetition(board: Board, mine: Sequence[PairVote], pending: Collection[frozenset[str]]) -> list[PairVote]:
    """Votes of a person that can be asked again: not too recent, answered, repeated never before."""
    done = {vote.repeats for vote in mine if vote.repeats}
    return [
        vote for vote in mine[: max(0, len(mine) - REPEAT_AFTER)]
        if not vote.repeats and vote.id not in done and vote.answer in _CODES
        and vote.left in board.where and vote.right in board.where
        and frozenset((vote.left, vote.right)) not in pending
    ]


def _open_pairs(board: Board, seen: Collection[frozenset[str]]) -> NDArray[np.float64]:
    """1 for every pair of contestants with a place the voter has not judged, upper triangular."""
    count = len(board.contestants)
    used = np.zeros((count, count))
    for pair in seen:
        at = [board.where[cell][0] for cell in pair if cell in board.where]
        if len(at) == 2:
            used[min(at), max(at)] += 1
    return np.triu(board.shared > used, k=1).astype(float)


def _choose_place(
    board: Board, votes: Sequence[PairVote], pair: tuple[int, int], seen: Collection[frozenset[str]],
    rng: np.random.Generator,
) -> int:
    """A place for a pair of contestants: on the photograph that this pair was judged on least, then at random."""
    tally: dict[int, int] = {}
    for vote in votes:
        if {board.where[vote.left][0], board.where[vote.right][0]} == set(pair):
            photo = int(board.photos[board.where[vote.left][1]])
            tally[photo] = tally.get(photo, 0) + 1
    places = [
        int(place) for place in board.comparable(*pair)
        if frozenset((board.cells[pair[0], place], board.cells[pair[1], place])) not in seen
    ]
    least = min(tally.get(int(board.photos[place]), 0) for place in places)
    best = [place for place in places if tally.get(int(board.photos[place]), 0) == least]
    return best[int(rng.integers(len(best)))]
