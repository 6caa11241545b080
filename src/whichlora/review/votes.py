"""What people say, as frozen facts, and which of it still stands. Writes nothing itself.

Everything is appended: a rating given anew replaces the older one, `TakenBack` removes a vote, and both rows stay.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from whichlora.errors import UserError
from whichlora.store import VoteRow

Question = Literal["identity", "edit", "defect"]
Answer = Literal["left", "right", "tie", "both-bad", "skip"]
Why = Literal["active", "random", "repeat"]

QUESTIONS: dict[Question, str] = {
    "identity": "Which one is more clearly the same character?",
    "edit": "Which one did the asked edit better?",
    "defect": "Which one has fewer visible defects?",
}
"""One question a pass: people who are asked everything at once reward beauty."""
ANSWERS: tuple[Answer, ...] = ("left", "right", "tie", "both-bad", "skip")
MAX_NOTE = 2000
MAX_MARKS = 50


@dataclass(frozen=True, slots=True)
class Said:
    """What every vote carries."""

    id: str
    """Random, unique everywhere."""
    rater: str
    """Name of the person."""
    at: str
    """UTC, ISO 8601."""


@dataclass(frozen=True, slots=True)
class PairVote(Said):
    """An answer to 'which of these two'."""

    question: Question
    left: str
    """Cell shown left."""
    right: str
    """Cell shown right."""
    answer: Answer
    why: Why
    """How the pair was chosen."""
    chance: float
    """Probability with which this pair of candidates was chosen, so that a fit can be checked against it."""
    repeats: str = ""
    """Id of the vote that this one repeats with sides swapped; '' for none."""
    seconds: float = 0.0
    """Time until the answer."""


@dataclass(frozen=True, slots=True)
class Rating(Said):
    """A picture judged alone."""

    cell: str
    identity: int | None
    """1 (somebody else) to 5 (unmistakably the same); None when left out."""
    edit: int | None
    """1 (not done) to 5 (exactly as asked); None when left out."""
    marks: tuple[tuple[float, float], ...] = ()
    """Where artefacts are: (x, y) as shares of width and height, 0 to 1."""
    note: str = ""
    drawn: bool = True
    """True when the queue drew the picture at random; only those may stand for all pictures."""


@dataclass(frozen=True, slots=True)
class Extremes(Said):
    """Best and worst of all candidates' pictures of one case and seed."""

    cells: tuple[str, ...]
    """What was shown."""
    best: str
    """Cell, or '' when none was worth naming."""
    worst: str
    """Cell, or ''."""


@dataclass(frozen=True, slots=True)
class TakenBack(Said):
    """Removes an earlier vote of the same person."""

    undoes: str
    """Id of the vote."""


Vote = PairVote | Rating | Extremes | TakenBack
_KINDS: dict[str, type[PairVote] | type[Rating] | type[Extremes] | type[TakenBack]] = {
    "pair": PairVote, "rating": Rating, "extremes": Extremes, "undo": TakenBack,
}


def new_id() -> str:
    """A fresh id for a vote."""
    return secrets.token_hex(12)


def now() -> str:
    """The present time as votes carry it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def to_row(vote: Vote) -> VoteRow:
    """A vote as the store keeps it."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(vote, cls))
    body = {name: getattr(vote, name) for name in type(vote).__dataclass_fields__ if name not in ("id", "rater", "at")}
    return VoteRow(vote.id, vote.rater, vote.at, kind, body)


def from_row(row: VoteRow) -> Vote | None:
    """A stored vote, checked; None for kinds that a newer whichlora may have written."""
    if row.kind not in _KINDS:
        return None
    body = dict(row.body)
    if row.kind == "rating":
        body["marks"] = tuple((float(x), float(y)) for x, y in body.get("marks", ()))
    if row.kind == "extremes":
        body["cells"] = tuple(body.get("cells", ()))
    vote = _KINDS[row.kind](id=row.id, rater=row.rater, at=row.at, **body)
    check(vote)
    return vote


def check(vote: Vote) -> None:
    """Refuse a vote that cannot have been given on the page.

    Raises:
        UserError: Names the field and the value.
    """
    check_rater(vote.rater)
    if isinstance(vote, PairVote):
        _one_of("question", vote.question, QUESTIONS)
        _one_of("answer", vote.answer, ANSWERS)
        _one_of("why", vote.why, ("active", "random", "repeat"))
        if vote.left == vote.right:
            raise UserError("A pair needs two different pictures.", fix="")
        if not 0 <= vote.chance <= 1:
            raise UserError(f"A chance lies between 0 and 1, not {vote.chance!r}.")
    elif isinstance(vote, Rating):
        for name, value in (("identity", vote.identity), ("edit", vote.edit)):
            if value is not None and (isinstance(value, bool) or value not in (1, 2, 3, 4, 5)):
                raise UserError(f"The rating '{name}' goes from 1 to 5, not {value!r}.")
        if len(vote.note) > MAX_NOTE:
            raise UserError(f"A note has at most {MAX_NOTE} characters; this one has {len(vote.note)}.")
        if len(vote.marks) > MAX_MARKS:
            raise UserError(f"At most {MAX_MARKS} artefacts are marked in a picture, not {len(vote.marks)}.")
        if not all(math.isfinite(x) and math.isfinite(y) and 0 <= x <= 1 and 0 <= y <= 1 for x, y in vote.marks):
            raise UserError("A mark lies outside its picture.")
    elif isinstance(vote, Extremes):
        strangers = {vote.best, vote.worst} - {""} - set(vote.cells)
        if strangers or (vote.best and vote.best == vote.worst):
            raise UserError("Best and worst are two different pictures among those shown.")


def check_rater(name: str) -> str:
    """The name itself, if it can be one.

    Raises:
        UserError: Empty, too long or with invisible characters.
    """
    if not isinstance(name, str) or not name.strip() or len(name) > 40 or not name.isprintable():
        raise UserError(f"'{str(name)[:60]}' cannot be a voter's name.", fix="Use 1 to 40 printable characters.")
    return name.strip()


def _one_of(field_name: str, value: object, known: Iterable[str]) -> None:
    names = list(known)
    if value not in names:
        raise UserError(f"'{str(value)[:60]}' is no {field_name}.", fix=f"Known: {', '.join(names)}.")


# --------------------------------------------------------------------------- what stands


@dataclass(frozen=True)
class Standing:
    """Votes that count: nothing taken back, of each person's ratings of a picture the newest."""

    pairs: tuple[PairVote, ...] = ()
    ratings: tuple[Rating, ...] = ()
    extremes: tuple[Extremes, ...] = ()
    raters: tuple[str, ...] = ()
    """Everybody with a vote that stands, in order of appearance."""
    taken_back: frozenset[str] = field(default_factory=frozenset)
    """Ids that no longer count."""


def standing(votes: Iterable[Vote]) -> Standing:
    """Sort out what counts."""
    everything = list(votes)
    owner = {vote.id: vote.rater for vote in everything}
    gone = frozenset(
        vote.undoes for vote in everything if isinstance(vote, TakenBack) and owner.get(vote.undoes) == vote.rater
    )
    kept = [vote for vote in everything if vote.id not in gone and not isinstance(vote, TakenBack)]
    ratings: dict[tuple[str, str], Rating] = {}
    extremes: dict[tuple[str, frozenset[str]], Extremes] = {}
    for vote in kept:
        if isinstance(vote, Rating):
            ratings.pop((vote.rater, vote.cell), None)
            ratings[vote.rater, vote.cell] = vote
        elif isinstance(vote, Extremes):
            extremes.pop((vote.rater, frozenset(vote.cells)), None)
            extremes[vote.rater, frozenset(vote.cells)] = vote
    return Standing(
        tuple(vote for vote in kept if isinstance(vote, PairVote)), tuple(ratings.values()), tuple(extremes.values()),
        tuple(dict.fromkeys(vote.rater for vote in kept)), gone,
    )
