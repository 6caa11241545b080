"""An index over a `ReportInput`: what stands where. Looks things up and orders them; measures nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

from whichlora.findings import CandidateFacts, Findings
from whichlora.report.model import ReportInput, capabilities, finite
from whichlora.report.pictures import PictureBook
from whichlora.types import Cell, EditCase, Generation, Plan, Score, SourceImage

GATES = ("valid", "edit", "identity", "artefact")
"""Conditions of the consistency rate, in the order in which they are shown."""

_GATE_FAILURES = {
    "valid": "not a usable picture", "edit": "edit not done", "identity": "identity lost", "artefact": "defects",
}


class Page:
    """What every section renders from."""

    def __init__(self, given: ReportInput, pictures: PictureBook) -> None:
        self.given = replace(given, findings=finite(given.findings))
        self.pictures = pictures

    @property
    def findings(self) -> Findings:
        """What was concluded."""
        return self.given.findings

    @property
    def plan(self) -> Plan:
        """What was compared."""
        return self.given.plan

    # ------------------------------------------------------------------ look-ups

    @cached_property
    def facts(self) -> dict[str, CandidateFacts]:
        """Facts by candidate name, in the order of the matrix."""
        return {row.name: row for row in self.findings.candidates}

    @cached_property
    def cases(self) -> dict[str, EditCase]:
        """Cases by id."""
        return {case.id: case for case in self.plan.cases}

    @cached_property
    def sources(self) -> dict[str, SourceImage]:
        """Source photographs by id."""
        return {source.id: source for source in self.plan.sources}

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """Cells by id."""
        return {cell.id: cell for cell in self.plan.cells}

    @cached_property
    def cell_numbers(self) -> dict[str, int]:
        """Cell id → its place in the plan, by which the page's script knows it."""
        return {cell.id: number for number, cell in enumerate(self.plan.cells)}

    @cached_property
    def by_place(self) -> dict[tuple[str, str, int], Cell]:
        """Cells by (candidate, case, seed)."""
        return {(cell.candidate, cell.case, cell.seed): cell for cell in self.plan.cells}

    @cached_property
    def capabilities(self) -> list[str]:
        """Columns of the matrix: must-haves first, in the user's order, then the others."""
        return capabilities(self.findings)

    @cached_property
    def base(self) -> CandidateFacts | None:
        """The base's row."""
        return next((row for row in self.findings.candidates if row.role == "base"), None)

    @cached_property
    def rivals(self) -> list[CandidateFacts]:
        """Rows that could be recommended as a LoRA, in the order of the findings."""
        return [row for row in self.findings.candidates if row.role == "candidate"]

    @cached_property
    def order(self) -> list[str]:
        """Names as pictures are shown side by side: rows of the matrix, then anything only the plan knows."""
        planned = [candidate.name for candidate in self.plan.candidates]
        return list(dict.fromkeys([*(n for n in self.facts if n in planned), *planned]))

    # ------------------------------------------------------------------ the recommendation

    @cached_property
    def recommended(self) -> list[str]:
        """Rows that the recommendation names: one, or several for routes; empty when it names none."""
        chosen = self.findings.recommendation
        if chosen.candidate in self.facts:
            return [chosen.candidate]
        parts = [part.strip() for part in chosen.candidate.split(" + ")]
        named = [*chosen.routes.values(), *parts]
        return list(dict.fromkeys(name for name in named if name in self.facts))

    def winner_for(self, case: EditCase) -> str:
        """Row that the recommendation would use for a case; '' when there is none."""
        routed = self.findings.recommendation.routes.get(case.family, "")
        if routed in self.facts:
            return routed
        if self.recommended:
            return self.recommended[0]
        return self.rivals[0].name if self.rivals else ""

    @cached_property
    def runner_up(self) -> str:
        """The best remaining candidate by the order of the findings; '' when there is none."""
        taken = set(self.recommended) or {row.name for row in self.rivals[:1]}
        return next((row.name for row in self.rivals if row.name not in taken), "")

    # ------------------------------------------------------------------ one picture

    def generation(self, cell: str) -> Generation | None:
        """What became of a cell; None when it was not made."""
        return self.given.generations.get(cell)

    def scores(self, cell: str) -> tuple[Score, ...]:
        """Scores of a cell."""
        return self.given.scores.get(cell, ())

    def gates(self, cell: str) -> dict[str, bool | None]:
        """Stored verdicts of machines by gate: False when any metric said no, None when none had a say."""
        verdicts: dict[str, bool | None] = {}
        for score in self.scores(cell):
            if score.gate is not None and score.passed is not None and not score.rater:
                verdicts[score.gate] = score.passed and verdicts.get(score.gate) is not False
        return {gate: verdicts.get(gate) for gate in GATES}

    def verdict(self, cell: str) -> tuple[str, str]:
        """Say of one picture: ('good' | 'bad' | 'none', a few words)."""
        made = self.generation(cell)
        if made is None:
            return "none", "not made"
        if made.status == "failed":
            return "bad", "failed"
        gates = self.gates(cell)
        said_no = [_GATE_FAILURES[gate] for gate in GATES if gates[gate] is False]
        if said_no:
            return "bad", ", ".join(said_no)
        if gates["edit"] is None or gates["identity"] is None:
            return "none", "not fully measured"
        return "good", "edit done, identity kept"

    def known(self, cells: Iterable[str]) -> list[str]:
        """Those cell ids that the plan contains, in order and once each."""
        return [cell for cell in dict.fromkeys(cells) if cell in self.cells]

    def caption(self, cell: str) -> str:
        """Name a picture in words: candidate, case and seed."""
        found = self.cells[cell]
        return f"{found.candidate} · {found.case} · seed {found.seed}"
