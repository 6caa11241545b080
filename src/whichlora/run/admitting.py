"""The crew's job of letting rows through the load gate, each row in whichever worker is free.

A file that ends the worker twice is refused: whatever it does to the libraries, it must not end the run. What was
admitted or refused is remembered in the store by everything that the answer depends on, so that a resumed run loads no
base only to learn it again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import whichlora
from whichlora.errors import RefusedError
from whichlora.findings import build
from whichlora.run.admit import AdmitReport
from whichlora.run.staff import Place, Staff, no_worker
from whichlora.types import Candidate, fingerprint

if TYPE_CHECKING:
    from whichlora.run.executor import Setup
    from whichlora.run.wire import Head
    from whichlora.store import Store

DOCUMENT = "admissions"
_TRIES = 2


class AdmitJob:
    """See `crew.Job`."""

    def __init__(self, crew: Staff, rows: Sequence[Candidate], seen: Callable[[AdmitReport], None]) -> None:
        self._crew, self._rows, self._seen = crew, rows, seen
        self._book = AdmissionBook(crew.setup, crew.store)
        self._answers: dict[int, str] = {}
        """Row number → '' or the reason why it is refused."""
        self._tries = dict.fromkeys(range(len(rows)), 0)
        for number, row in enumerate(rows):
            if not needs_check(row):
                self._answers[number] = ""
            elif (known := self._book.known(row)) is not None:
                self._settle(number, known.get("report"), str(known["reason"]))
        self._todo = deque(number for number in range(len(rows)) if number not in self._answers)

    def wanted(self) -> int:
        """Everyone: whoever is not needed here loads the base for what comes next."""
        return 0 if self.finished() else len(self._crew.places)

    def finished(self) -> bool:
        """True when every row has an answer."""
        return len(self._answers) == len(self._rows)

    def arrived(self, place: Place) -> None:
        """Give it a row."""
        if self._todo:
            number = self._todo.popleft()
            place.facts["row"] = number
            row = asdict(self._rows[number])
            self._crew.send(place, {"do": "admit", "row": row}, self._crew.patience.load_s)
        else:
            self._crew.rest(place)

    def heard(self, place: Place, head: Head, body: bytes) -> None:
        """Note the answer."""
        if head["is"] == "began":
            place.begun = True
            self._tries[place.facts["row"]] += 1
            self._crew.allow(place, self._crew.patience.load_s)
        if head["is"] != "admitted":
            return
        number = place.facts.pop("row")
        report, reason = head.get("report"), str(head["reason"])
        row = self._rows[number]
        if not reason or all(Path(use.path).is_file() for use in (*row.applied, *row.sampler.adapters)):
            self._book.note(row, report, reason)
        self._settle(number, report, reason)
        self.arrived(place)

    def lost(self, place: Place, reason: str) -> None:
        """Try the row once more, then refuse it."""
        number = place.facts.get("row")
        if number is None:
            return
        if self._tries[number] < _TRIES:
            self._todo.appendleft(number)
        else:
            self._settle(number, None, f"Checking it ended the worker twice: {reason}")

    def give_up(self, reason: str) -> None:
        """Nobody is left to check the rows."""
        raise no_worker(reason)

    def result(self) -> tuple[list[Candidate], list[dict[str, str]]]:
        """Admitted rows and refused ones, in the order of the rows."""
        admitted = [row for number, row in enumerate(self._rows) if not self._answers[number]]
        refused = [
            {"name": row.name, "reason": self._answers[number]}
            for number, row in enumerate(self._rows) if self._answers[number]
        ]
        return admitted, refused

    def _settle(self, number: int, report: Mapping[str, Any] | None, reason: str) -> None:
        if reason and self._rows[number].role == "base":
            raise RefusedError(reason)
        self._answers[number] = reason
        if report is not None:
            self._seen(build(AdmitReport, report))


def needs_check(row: Candidate) -> bool:
    """False for rows without adapters, and for control rows."""
    return bool(row.adapters or row.sampler.adapters) and row.role != "control"


class AdmissionBook:
    """Answers of the gate that this project has had before."""

    def __init__(self, setup: Setup, store: Store) -> None:
        self._store = store
        self._setup = setup
        self._rows: dict[str, Any] = dict((store.document(DOCUMENT) or {}).get("rows", {}))

    def known(self, row: Candidate) -> Mapping[str, Any] | None:
        """{'report', 'reason'} of a row, or None."""
        return self._rows.get(self._key(row))

    def note(self, row: Candidate, report: Mapping[str, Any] | None, reason: str) -> None:
        """Remember an answer."""
        self._rows[self._key(row)] = {"report": dict(report) if report else None, "reason": reason}
        self._store.add_document(DOCUMENT, {"rows": self._rows})

    def _key(self, row: Candidate) -> str:
        """Everything that the answer depends on: base, files, weights, libraries, the gate itself, the name in it."""
        base = self._setup.base
        return fingerprint([
            whichlora.__version__, base.family, base.fingerprint, dict(base.options), row.fingerprint(), row.name,
            dict(self._setup.libraries),
        ])
