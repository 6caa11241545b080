"""The decision as if one photograph, instruction, metric or rater had never been there.

Does: name what can be left out and decide anew without it. Does not: word or rank what follows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from whichlora.analysis.cells import NO_SAY, Verdict, judge
from whichlora.analysis.decide import Row
from whichlora.analysis.table import Table, tabulate
from whichlora.plan.screening import Screening
from whichlora.types import Generation, Plan, Score

Decide = Callable[[Table], Row]
LeftOut = tuple[str, str]
"""Kind ('photo', 'edit', 'metric' or 'rater') and name."""


def leave_outs(
    plan: Plan, generations: Mapping[str, Generation], scores: Sequence[Score], verdicts: Sequence[Verdict],
    table: Table, decide: Decide,
) -> dict[LeftOut, Callable[[], Row]]:
    """Everything whose absence is worth trying, with the function that decides anew without it.

    A photograph is left out where at least two remain, an instruction where its kind of edit keeps another. A metric is
    left out where another one answers the same condition of every picture that it answers; without a picture's only
    answer nothing would be decided, which tells nothing of the metric.

    Args:
        plan: The plan.
        generations: What became of the cells.
        scores: Scores of the plan's cells.
        verdicts: What they say together.
        table: The same as arrays.
        decide: Decides from a table.
    """
    found: dict[LeftOut, Callable[[], Row]] = {}
    if len(table.photos) > 2:
        for at, photo in enumerate(table.photos):
            found["photo", photo] = partial(_decided, decide, partial(table.without, at))
    for edit in _edits(plan):
        found["edit", edit] = partial(_decided, decide, partial(_without_edit, plan, verdicts, edit, table.screening))
    for metric in _metrics(scores):
        rest = partial(_rest, scores, "metric", metric)
        found["metric", metric] = partial(_decided, decide, partial(_judged, plan, generations, rest, table.screening))
    for rater in sorted({score.rater for score in scores if score.rater}):
        rest = partial(_rest, scores, "rater", rater)
        found["rater", rater] = partial(_decided, decide, partial(_judged, plan, generations, rest, table.screening))
    return found


def _decided(decide: Decide, table: Callable[[], Table]) -> Row:
    return decide(table())


def _without_edit(plan: Plan, verdicts: Sequence[Verdict], edit: str, screening: Screening) -> Table:
    return tabulate(plan, [verdict for verdict in verdicts if verdict.case.edit != edit], screening)


def _judged(
    plan: Plan, generations: Mapping[str, Generation], rest: Callable[[], list[Score]], screening: Screening
) -> Table:
    return tabulate(plan, judge(plan.cells, {case.id: case for case in plan.cases}, generations, rest()), screening)


def _rest(scores: Sequence[Score], attribute: str, name: str) -> list[Score]:
    return [score for score in scores if getattr(score, attribute) != name]


def _edits(plan: Plan) -> list[str]:
    """Instructions whose kind of edit has another one; a candidate's own advertised prompt is no such instruction."""
    family = {case.edit: case.family for case in plan.cases if not case.edit.startswith("own-")}
    each = Counter(family.values())
    return [edit for edit, name in family.items() if each[name] > 1]


def _metrics(scores: Sequence[Score]) -> list[str]:
    """Metrics beside which another one answers the same condition of the same pictures."""
    deciding: dict[tuple[str, str], set[str]] = {}
    for score in scores:
        if score.gate is not None and score.passed is not None and not score.rater and not _silent(score):
            deciding.setdefault((score.cell, score.gate), set()).add(score.metric)
    alone = {metric for names in deciding.values() if len(names) == 1 for metric in names}
    return sorted({metric for names in deciding.values() for metric in names} - alone)


def _silent(score: Score) -> bool:
    return score.reason.startswith(NO_SAY)
