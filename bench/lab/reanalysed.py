"""Flip cards of the recorded worlds, checked by analysing each changed project anew, from its stored rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lab.figures import Figure, at_least, at_most
from lab.planted import FOLDER
from lab.recorded import load, plan_of, rows_of
from whichlora.analysis import analyse as module
from whichlora.analysis.table import Table
from whichlora.findings import Findings
from whichlora.types import Plan

DRAWS = 50
"""Joint draws: they inform the reader and decide nothing."""
FEW = ("03", "08", "12", "15", "19")
"""Worlds of the quick version."""

Choice = tuple[str, str, bool]


def recorded_flips(quick: bool) -> list[Figure]:
    """Every stated change of every recorded world, applied to the project, through the whole analysis."""
    said = {"target": 0, "rate": 0, "left out": 0}
    came, early = dict(said), dict(said)
    for path in sorted(FOLDER.glob("*.json")):
        if quick and path.name[:2] not in FEW:
            continue
        for kind, full, ninth in checked(path):
            said[kind] += 1
            came[kind] += full
            early[kind] += ninth
    return [
        figure for kind, count in said.items() if count for figure in (
            Figure(f"recorded worlds, changes stated: {kind}", float(count), "printed", True),
            at_least("  flip the answer as said when the project is analysed anew", came[kind] / count, 1.0),
            *([] if kind == "left out" else [at_most("  nine tenths of it flips it", early[kind] / count, 0.0)]),
        )
    ]


def checked(path: Path) -> list[tuple[str, bool, bool]]:
    """Per stated change of a world: kind, does it flip to what is said, do nine tenths of it flip anything."""
    world = load(path)
    wishes = {"max_memory_gib" if name == "max_vram_gib" else name: value for name, value in world["wishes"].items()}
    plan = plan_of(world)
    rows = rows_of(world, plan)

    def analysed(
        plan: Plan, change: Callable[[Table], Table] | None = None, without: str = "", *, card: bool = False,
    ) -> Findings:
        scores = [score for score in rows[1] if score.metric != without]
        cells = {cell.id for cell in plan.cells}
        with _tables(change, card):
            return module.analyse(plan, [g for g in rows[0] if g.cell in cells], scores,
                                  settings={"draws": DRAWS, **wishes})

    first = analysed(plan, card=True)
    now = _choice(first)
    found = []
    for flip in first.manifest["analysis"]["flips"]:
        then = (flip["strategy"], flip["choice"], flip["firm"])
        if flip["kind"] == "target":
            full, ninth = (_choice(analysed(replace(plan, target=plan.target + share * flip["change"])))
                           for share in (1.0, 0.9))
        elif flip["kind"] == "rate":
            full, ninth = (_choice(analysed(plan, _moved(flip, share))) for share in (1.0, 0.9))
        elif flip["kind"] == "metric":
            full, ninth = _choice(analysed(plan, without=flip["what"])), now
        else:
            full, ninth = _choice(analysed(_without(plan, flip))), now
        kind = flip["kind"] if flip["kind"] in ("target", "rate") else "left out"
        found.append((kind, full == then and full != now, ninth != now))
    return found


def _choice(found: Findings) -> Choice:
    verdict = found.recommendation
    return verdict.provisional or verdict.decision, verdict.candidate, verdict.firm


def _moved(flip: dict[str, Any], share: float) -> Callable[[Table], Table]:
    """The same share of failures turned into passes (or passes into failures) on every photograph."""
    def change(table: Table) -> Table:
        row, at = table.index(flip["candidate"]), table.families.index(flip["what"])
        passed = table.passed.copy()
        rates = passed[row, at] / table.scored[row, at]
        aim = rates.mean() + share * flip["change"]
        ends = (rates, np.ones_like(rates)) if flip["change"] > 0 else (np.zeros_like(rates), rates)
        weight = (aim - ends[0].mean()) / (ends[1].mean() - ends[0].mean())
        passed[row, at] = ((1 - weight) * ends[0] + weight * ends[1]) * table.scored[row, at]
        assert np.isclose((passed[row, at] / table.scored[row, at]).mean(), aim)
        return replace(table, passed=passed)

    return change


def _without(plan: Plan, flip: dict[str, Any]) -> Plan:
    """The plan as if a photograph or an instruction had never been part of it."""
    key = "source" if flip["kind"] == "photo" else "edit"
    cases = tuple(case for case in plan.cases if getattr(case, key) != flip["what"])
    names = {case.id for case in cases}
    return replace(plan, cases=cases, cells=tuple(cell for cell in plan.cells if cell.case in names),
                   sources=tuple(s for s in plan.sources if flip["kind"] != "photo" or s.id != flip["what"]))


@contextmanager
def _tables(change: Callable[[Table], Table] | None, card: bool) -> Iterator[None]:
    """Tables of an analysis are changed as soon as they are made from the rows; its own flip card is left out."""
    plain = module.tabulate, module._card
    if change is not None:
        module.tabulate = lambda *given: change(plain[0](*given))
    if not card:
        module._card = lambda *_: []
    try:
        yield
    finally:
        module.tabulate, module._card = plain
