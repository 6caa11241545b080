"""Where voters sit: hands out blind tasks, takes answers, stores each before it is acknowledged.

Safe for several threads and several voters at once. Does not know HTTP, image bytes or candidate names.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from whichlora.errors import UserError
from whichlora.review.board import Board, build_board
from whichlora.review.pairing import Outlook, Pair, choose_pair, counted, fit, outlook
from whichlora.review.votes import (
    QUESTIONS,
    Answer,
    Extremes,
    PairVote,
    Question,
    Rating,
    Standing,
    TakenBack,
    Vote,
    check,
    check_rater,
    from_row,
    new_id,
    now,
    standing,
    to_row,
)
from whichlora.store import Store
from whichlora.types import Generation, Plan

AHEAD = 2
"""Pairs that wait for each voter: the one shown and the one whose pictures load meanwhile."""
OVERLAP = 0.3
"""Part of single ratings that goes to a picture another voter has rated: without it nobody can be compared."""
LINE_UP = 12
"""Pictures shown at once when picking best and worst."""


@dataclass(frozen=True)
class Task:
    """Something to be judged."""

    id: str
    """Becomes the id of the vote, so that an answer sent twice counts once."""
    kind: Literal["pair", "rating", "extremes"]
    cells: tuple[str, ...]
    """What is shown, in order."""
    pair: Pair | None = None
    question: Question | None = None
    place: int = -1
    """Place on the board."""


@dataclass
class _Voter:
    """What one voter has on the table."""

    pairs: dict[Question, list[Task]] = field(default_factory=dict)
    rating: Task | None = None
    extremes: Task | None = None
    given: list[str] = field(default_factory=list)
    """Ids of votes given here, oldest first."""


class Desk:
    """All voting of one project."""

    def __init__(self, store: Store, plan: Plan, *, seed: int | None = None) -> None:
        """Read what was made and said so far.

        Args:
            store: An open store of its own; the desk is its only user.
            plan: What was compared on what.
            seed: For tests; None draws afresh.
        """
        self.plan = plan
        self._store = store
        self._lock = threading.RLock()
        self._rng = np.random.default_rng(seed)
        self._voters: dict[str, _Voter] = {}
        self._commits = -1
        self._fits: dict[Question, tuple[int, int, Outlook]] = {}
        self.board: Board = build_board(plan, {})
        self._votes: list[Vote] = []
        self._standing = Standing()
        self.refresh()

    def refresh(self) -> bool:
        """Take in what other processes wrote since (a run that goes on, an import). Returns True when anything was."""
        with self._lock:
            commits = self._store.foreign_commits()
            if commits == self._commits:
                return False
            self._commits = commits
            generations: dict[str, Generation] = self._store.generations()
            self.board = build_board(self.plan, generations)
            self._votes = [vote for row in self._store.votes() if (vote := from_row(row)) is not None]
            self._standing = standing(self._votes)
            return True

    # ------------------------------------------------------------------ reading

    @property
    def votes(self) -> Sequence[Vote]:
        """Everything said, oldest first."""
        return self._votes

    def standing(self) -> Standing:
        """What counts of it."""
        return self._standing

    def outlook(self, question: Question) -> Outlook:
        """How far a question is from settled; remembered until the votes or the pictures change."""
        with self._lock:
            key = (len(self._votes), len(self.board.where))
            known = self._fits.get(question)
            if known is None or known[:2] != key:
                usable = counted(self.board, self._standing.pairs, question)
                known = (*key, outlook(fit(self.board, usable)))
                self._fits[question] = known
            return known[2]

    # ------------------------------------------------------------------ pairs

    def pairs(self, rater: str, question: Question) -> list[Task]:
        """The pairs on a voter's table, the one to judge first; empty when nothing is left to compare."""
        check_rater(rater)
        if question not in QUESTIONS:
            raise UserError(f"'{str(question)[:40]}' is no question.", fix=f"Known: {', '.join(QUESTIONS)}.")
        with self._lock:
            table = self._voter(rater).pairs.setdefault(question, [])
            while len(table) < AHEAD:
                pending = {frozenset(task.cells) for task in table}
                pair = choose_pair(self.board, self._standing.pairs, question, rater, self._rng, pending=pending)
                if pair is None:
                    break
                place = self.board.where[pair.left][1]
                table.append(Task(new_id(), "pair", (pair.left, pair.right), pair, question, place))
            return list(table)

    def answer(
        self, rater: str, task_id: str, answer: Answer, seconds: float = 0.0, *, flipped: bool = False
    ) -> bool:
        """Store the answer to a pair.

        Args:
            rater: Who answers.
            task_id: The task.
            answer: In terms of what was seen when answering.
            seconds: Time it took.
            flipped: True when the voter had exchanged the two pictures; the vote records the sides as last seen.

        Returns:
            False when this task was answered already or is no longer on the table (the page should ask anew).
        """
        with self._lock:
            voter = self._voter(rater)
            for question, table in voter.pairs.items():
                task = next((item for item in table if item.id == task_id), None)
                if task is None or task.pair is None:
                    continue
                left, right = reversed(task.cells) if flipped else task.cells
                vote = PairVote(
                    task.id, check_rater(rater), now(), question, left, right, answer, task.pair.why,
                    round(task.pair.chance, 6), task.pair.repeats, round(float(np.clip(seconds, 0, 3600)), 2),
                )
                self._keep(vote)
                table.remove(task)
                voter.given.append(vote.id)
                return True
            return False

    def undo(self, rater: str, kind: str) -> bool:
        """Take back the voter's last vote of a kind (a question, 'rating' or 'extremes'); its task comes back.

        Returns:
            False when there is none.
        """
        with self._lock:
            last = self._last(rater, kind)
            if last is None:
                return False
            self._keep(TakenBack(new_id(), check_rater(rater), now(), last.id))
            voter = self._voter(rater)
            if isinstance(last, PairVote):
                pair = Pair(last.left, last.right, last.why, last.chance, last.repeats)
                if last.left in self.board.where and last.right in self.board.where:
                    task = Task(new_id(), "pair", (last.left, last.right), pair, last.question,
                                self.board.where[last.left][1])
                    table = voter.pairs.setdefault(last.question, [])
                    table.insert(0, task)
                    # What was chosen before may be the same two pictures, and would now come twice.
                    table[1:] = [item for item in table[1:] if frozenset(item.cells) != frozenset(task.cells)]
            elif isinstance(last, Rating):
                voter.rating = self._rating_task(last.cell)
            elif isinstance(last, Extremes):
                voter.extremes = self._line_up(last.cells)
            return True

    def _last(self, rater: str, kind: str) -> PairVote | Rating | Extremes | None:
        standing_now = self._standing
        mine: Sequence[PairVote | Rating | Extremes]
        if kind == "rating":
            mine = standing_now.ratings
        elif kind == "extremes":
            mine = standing_now.extremes
        else:
            mine = [vote for vote in standing_now.pairs if vote.question == kind]
        own = [vote for vote in mine if vote.rater == rater]
        return own[-1] if own else None

    # ------------------------------------------------------------------ single pictures

    def rating_task(self, rater: str) -> Task | None:
        """The next picture to be judged alone, or None when the voter has judged them all."""
        check_rater(rater)
        with self._lock:
            voter = self._voter(rater)
            if voter.rating is None:
                voter.rating = self._draw_rating(rater)
            return voter.rating

    def _draw_rating(self, rater: str) -> Task | None:
        """At random; every contestant and photograph alike, and some pictures that others have rated."""
        mine = {vote.cell for vote in self._standing.ratings if vote.rater == rater}
        left = [cell for cell in self.board.where if cell not in mine]
        if not left:
            return None
        shared = [vote.cell for vote in self._standing.ratings if vote.rater != rater and vote.cell not in mine
                  and vote.cell in self.board.where and vote.drawn]
        if shared and self._rng.random() < OVERLAP:
            return self._rating_task(shared[int(self._rng.integers(len(shared)))])
        rows = np.zeros(len(self.board.contestants), dtype=int)
        photos: dict[tuple[int, int], int] = {}
        for cell in mine & self.board.where.keys():
            row, place = self.board.where[cell]
            rows[row] += 1
            photos[row, int(self.board.photos[place])] = photos.get((row, int(self.board.photos[place])), 0) + 1

        def burden(cell: str) -> tuple[int, int]:
            row, place = self.board.where[cell]
            return int(rows[row]), photos.get((row, int(self.board.photos[place])), 0)

        burdens = [burden(cell) for cell in left]
        least = min(burdens)
        lightest = [cell for cell, weight in zip(left, burdens, strict=True) if weight == least]
        return self._rating_task(lightest[int(self._rng.integers(len(lightest)))])

    def _rating_task(self, cell: str) -> Task:
        return Task(new_id(), "rating", (cell,), place=self.board.where[cell][1])

    def rate(self, rater: str, task_id: str, rating: Rating) -> bool:
        """Store a rating of the picture on the voter's table; `rating` carries the judgement, the desk the rest."""
        with self._lock:
            voter = self._voter(rater)
            task = voter.rating
            if task is None or task.id != task_id:
                return False
            self._keep(replace(rating, id=task.id, rater=check_rater(rater), at=now(), cell=task.cells[0], drawn=True))
            voter.rating = None
            return True

    def pass_over(self, rater: str, task_id: str) -> bool:
        """Put the picture on the table aside; another is drawn, and this one may come again later."""
        with self._lock:
            voter = self._voter(rater)
            if voter.rating is not None and voter.rating.id == task_id:
                voter.rating = self._draw_rating(rater)
                return True
            if voter.extremes is not None and voter.extremes.id == task_id:
                voter.extremes = self._draw_line_up(rater)
                return True
            return False

    # ------------------------------------------------------------------ best and worst

    def extremes_task(self, rater: str) -> Task | None:
        """Pictures of one case and seed side by side, or None when the voter has seen them all."""
        check_rater(rater)
        with self._lock:
            voter = self._voter(rater)
            if voter.extremes is None:
                voter.extremes = self._draw_line_up(rater)
            return voter.extremes

    def _draw_line_up(self, rater: str) -> Task | None:
        mine = {frozenset(vote.cells) for vote in self._standing.extremes if vote.rater == rater}
        seen = {self.board.where[cell][1] for cells in mine for cell in cells if cell in self.board.where}
        counts = self.board.present.sum(axis=0)
        open_places = [place for place in range(len(self.board.places)) if counts[place] >= 2 and place not in seen]
        if not open_places:
            return None
        place = open_places[int(self._rng.integers(len(open_places)))]
        cells = [str(cell) for cell in self.board.cells[:, place] if cell]
        order = self._rng.permutation(len(cells))[:LINE_UP]
        return self._line_up(tuple(cells[int(i)] for i in order))

    def _line_up(self, cells: tuple[str, ...]) -> Task:
        known = [cell for cell in cells if cell in self.board.where]
        return Task(new_id(), "extremes", tuple(known), place=self.board.where[known[0]][1] if known else -1)

    def pick(self, rater: str, task_id: str, best: int | None, worst: int | None) -> bool:
        """Store best and worst of the line-up on the voter's table, as positions in it."""
        with self._lock:
            voter = self._voter(rater)
            task = voter.extremes
            if task is None or task.id != task_id:
                return False
            names = ["" if at is None else task.cells[at] for at in (best, worst)]
            self._keep(Extremes(task.id, check_rater(rater), now(), task.cells, names[0], names[1]))
            voter.extremes = None
            return True

    # ------------------------------------------------------------------ inner

    def _voter(self, rater: str) -> _Voter:
        return self._voters.setdefault(rater, _Voter())

    def _keep(self, vote: Vote) -> None:
        """Durable first, remembered second."""
        check(vote)
        self._store.add_votes([to_row(vote)])
        self._votes.append(vote)
        self._standing = standing(self._votes)
