"""Workers that may crash, hang or be gone, and the loop that lets them do a job.

Hires them, hears them, replaces those that ended or fell silent, and gives up when none can be had. What is to be done,
and what a lost worker means for it, is the job's affair.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Protocol, Self

from whichlora import errors
from whichlora.errors import MachineError, WhichloraError
from whichlora.run.executor import Executor, Hand, Inbox, Setup
from whichlora.run.pace import Patience
from whichlora.run.wire import Head
from whichlora.store import Store

STRIKES = 3
"""Starts in a row that may end before the worker could begin."""
_LOOK_S = 0.25


@dataclass(eq=False)
class Place:
    """Room for one worker, and who fills it now."""

    number: int
    """0 to size − 1."""
    hand: Hand | None = None
    """Who works here; None when nobody does."""
    loaded: bool = False
    """The base is loaded."""
    strikes: int = 0
    """Starts in a row that ended before the worker could begin."""
    deadline: float = float("inf")
    """Monotonic time at which silence counts as hanging."""
    waited_s: float = 0.0
    """The silence allowed by that deadline."""
    begun: bool = False
    """This worker has done some work of the present job (an admission, or the canary)."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The present job's own notes about this worker; emptied with the worker."""


class Job(Protocol):
    """Something that a crew does together."""

    def wanted(self) -> int:
        """How many workers are of use now."""
        ...

    def finished(self) -> bool:
        """True when nothing is left."""
        ...

    def arrived(self, place: Place) -> None:
        """A worker has loaded the base and waits for commands."""
        ...

    def heard(self, place: Place, head: Head, body: bytes) -> None:
        """A worker replied."""
        ...

    def lost(self, place: Place, reason: str) -> None:
        """A worker ended; `place.facts` still tells what it was doing. Sets `place.begun` where that is to blame."""
        ...

    def give_up(self, reason: str) -> None:
        """No worker can be had any more."""
        ...


class Staff:
    """Workers of an executor, and the loop in which they do a job. Knows no kind of job."""

    def __init__(
        self, executor: Executor, setup: Setup, store: Store, *, patience: Patience | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Hire nobody yet.

        Args:
            executor: Where workers come from.
            setup: What they are built from.
            store: Where results go; this object is its only writer.
            patience: How long a worker may be silent.
            say: Told in a sentence what a user should know, such as that a worker was replaced.
        """
        self.executor, self.setup, self.store = executor, setup, store
        self.patience = patience or Patience()
        self.say = say
        self.restarts = 0
        """Workers that ended and were replaced."""
        self.places = [Place(number) for number in range(executor.size)]
        self._inbox: Inbox = SimpleQueue()
        self._job = 0
        """Number of the present job: replies to an earlier one, such as one that an error cut short, are ignored."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every worker."""
        for place in self.places:
            place.hand = None
        self.executor.close()

    # ------------------------------------------------------------------ for jobs

    def send(self, place: Place, command: dict[str, Any], allowed_s: float | None = None) -> None:
        """Give a worker a command; silence beyond `allowed_s` ends it (None leaves the deadline as it is)."""
        assert place.hand is not None
        if allowed_s is not None:
            self.allow(place, allowed_s)
        place.hand.send({**command, "job": self._job})

    def allow(self, place: Place, seconds: float) -> None:
        """A worker showed progress; it may be silent for so long from now."""
        place.deadline, place.waited_s = time.monotonic() + seconds, seconds

    def rest(self, place: Place) -> None:
        """A worker has nothing to do; it may be silent for ever."""
        place.deadline = float("inf")

    def renew(self, place: Place) -> None:
        """Replace a worker that did nothing wrong."""
        if place.hand is not None:
            place.hand.stop()
        self._vacate(place)

    # ------------------------------------------------------------------ the loop

    def work(self, job: Job) -> None:
        """Let the crew do a job.

        Raises:
            WhichloraError: A worker reported the user's mistake, or the machine cannot go on.
        """
        self._job += 1
        for place in self.places:
            place.begun, place.facts, place.strikes = False, {}, 0
            if place.hand is not None and place.loaded:
                job.arrived(place)
        while not job.finished():
            self._staff(job)
            try:
                hand, head, body = self._inbox.get(timeout=_LOOK_S)
            except Empty:
                self._look_for_hanging(job)
                continue
            place = next((place for place in self.places if place.hand is hand), None)
            if place is not None:
                self._hear(job, place, head, body)

    def _staff(self, job: Job) -> None:
        """Fill as many places as the job can use."""
        missing = job.wanted() - sum(1 for place in self.places if place.hand is not None)
        empty = [place for place in self.places if place.hand is None and place.strikes < STRIKES]
        for place in empty[: max(0, missing)]:
            place.hand = self.executor.hire(place.number, self._inbox)
            self.allow(place, self.patience.load_s)

    def _hear(self, job: Job, place: Place, head: Head, body: bytes) -> None:
        kind = head["is"]
        if kind == "ended":
            self._lose(job, place, str(head["reason"]))
        elif kind == "loaded":
            place.loaded = True
            self.rest(place)
            job.arrived(place)
        elif kind == "error" and head.get("job") in (None, self._job):
            raise _rebuilt(head)
        elif head.get("job") == self._job:
            job.heard(place, head, body)

    def _look_for_hanging(self, job: Job) -> None:
        now = time.monotonic()
        for place in self.places:
            if place.hand is not None and now > place.deadline:
                place.hand.stop()
                self._lose(job, place, f"no progress for {place.waited_s:.0f} s")

    def _lose(self, job: Job, place: Place, reason: str) -> None:
        """A worker is gone: tell the job, and see whether its place is worth filling again."""
        assert place.hand is not None
        name = place.hand.name
        self.restarts += 1
        job.lost(place, reason)
        place.strikes = 0 if place.begun else place.strikes + 1
        self.say(f"{name} ended and is replaced: {reason}" if place.strikes < STRIKES
                 else f"{name} is given up after {STRIKES} starts that failed: {reason}")
        self._vacate(place)
        if all(place.strikes >= STRIKES for place in self.places):
            job.give_up(reason)

    def _vacate(self, place: Place) -> None:
        place.hand, place.loaded, place.begun, place.facts = None, False, False, {}
        place.deadline = float("inf")


def _rebuilt(head: Head) -> WhichloraError:
    """An error that a worker reported, as the parent raises it."""
    kind = getattr(errors, str(head["type"]), None)
    message, fix = str(head["message"]), str(head.get("fix", ""))
    if kind is errors.UnknownNameError or not (isinstance(kind, type) and issubclass(kind, WhichloraError)):
        return errors.UserError(message, fix=fix)
    return kind(message, fix=fix)


def no_worker(reason: str) -> MachineError:
    """What the user is told when no worker can be had."""
    return MachineError(f"Workers end before they can begin; the last one: {reason}",
                        fix="Everything finished is kept. See 'whichlora doctor', then run the same command again.")
