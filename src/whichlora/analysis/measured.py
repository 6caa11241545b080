"""From a project's store to verdicts and tables, for the analyses that look beyond one report. Opens no file itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from whichlora.analysis.cells import Verdict, judge
from whichlora.analysis.stage import newest
from whichlora.analysis.table import Table, tabulate
from whichlora.store import Store
from whichlora.types import Plan

Floats = NDArray[np.float64]


def verdicts_of(store: Store, plan: Plan, *, context: str, distrusted: Collection[str] = ()) -> list[Verdict]:
    """Verdicts of all attempted cells of a plan, by the newest scores; the ground truth is never among them.

    Args:
        store: The project's rows.
        plan: Whose cells count.
        context: Scoring context.
        distrusted: Metrics that people's votes contradict: they inform and decide nothing.
    """
    cells = {cell.id for cell in plan.cells}
    scores = [
        replace(score, gate=None, passed=None) if score.metric in distrusted else score
        for score in newest(store.scores(context=context))
        if score.cell in cells and not score.metric.startswith("truth/")
    ]
    return judge(plan.cells, {case.id: case for case in plan.cases}, store.generations(), scores)


def table_of(store: Store, plan: Plan, *, context: str, distrusted: Collection[str] = ()) -> Table:
    """The table of a plan; see `verdicts_of`."""
    return tabulate(plan, verdicts_of(store, plan, context=context, distrusted=distrusted))


def rates_of(table: Table, row: str, photos: Collection[str] = ()) -> tuple[Floats, Floats]:
    """Pass rates (NaN without a scored cell) and scored cells of a row, shape (families, photographs).

    Args:
        table: The measured rows.
        row: Name.
        photos: Source ids that count; all when empty.
    """
    at = [i for i, photo in enumerate(table.photos) if not photos or photo in photos]
    rates, scored = table.rates(table.index(row))
    return rates[:, at], scored[:, at]


def gate_rates(verdicts: Collection[Verdict], row: str) -> tuple[float, float, float, int]:
    """Consistent, edit done, identity kept (each 0 to 1, families weighing the same) and scored cells of a row.

    Consistency is None-safe: cells that nobody could score count nowhere; without any, all are NaN.
    """
    mine = [verdict for verdict in verdicts if verdict.cell.candidate == row]
    families = sorted({verdict.case.family for verdict in mine})

    def mean(answers: list[list[bool]]) -> float:
        known = [float(np.mean(group)) for group in answers if group]
        return float(np.mean(known)) if known else float("nan")

    passed = [[v.passed for v in mine if v.case.family == f and v.passed is not None] for f in families]
    gates = [
        [[bool(v.gates[gate]) for v in mine if v.case.family == f and v.gates[gate] is not None] for f in families]
        for gate in ("edit", "identity")
    ]
    return mean(passed), mean(gates[0]), mean(gates[1]), sum(len(group) for group in passed)
