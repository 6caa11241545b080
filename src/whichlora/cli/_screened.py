"""Making the pictures of a plan within its budget: everything, or in rounds with scores in between.

Glue between those who make (a `Maker`), those who measure (`metrics`), those who judge a picture (`analysis.cells`)
and the loop of `run.rounds`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from whichlora.cli._budget import Settled, Wish, cut, settle
from whichlora.cli.live import LivePage
from whichlora.cli.output import progress_console
from whichlora.cli.project import Project, library_versions, make_plan
from whichlora.plan.budget import DOCUMENT as DESIGN
from whichlora.plan.budget import Design, design_to_json
from whichlora.plan.screening import DOCUMENT, Screening, screening_to_json, shared_steps
from whichlora.run.making import Maker
from whichlora.store import Store
from whichlora.types import BaseModel, Candidate, Plan

PACE_PHOTOS = 3
"""Base pictures made to learn how long one takes, where a budget is named on a machine that has made none."""

MakeCells = Callable[[Plan, Collection[str] | None], object]
"""Makes cells of a plan (all when None), with whatever progress is shown."""


def settle_here(
    project: Project, store: Store, maker: Maker, base: BaseModel, rows: Sequence[Candidate], wish: Wish | None
) -> Settled:
    """`settle`, after making a few base pictures where a budget is named and the pace is not known yet."""
    from whichlora.errors import UserError

    wish = wish or Wish()
    device = str(base.options.get("device", "cpu"))
    try:
        settled = settle(project, base, rows, device, wish)
    except UserError:
        if not wish.budget or wish.seconds is not None:
            raise
        probe = cut(project, Design(PACE_PHOTOS, (project.suite.edits[0].name,), tuple(project.suite.seeds[:1])))
        bases = [row for row in rows if row.role == "base"]
        plan = make_plan(probe, base, bases[:1], [], library_versions(base.family))
        maker.make(plan)
        settled = settle(project, base, rows, device, wish)
    store.add_document(DESIGN, design_to_json(settled.design))
    for line in (settled.remark, *settled.design.why):
        progress_console.print(line.replace("[", "\\["))
    return settled


def measure(
    plan: Plan, store: Store, design: Design, make: MakeCells, score: Callable[[Plan], object],
    page: LivePage | None = None,
) -> Screening:
    """Make the pictures that the design asks for.

    Args:
        plan: The whole matrix, already stored.
        store: The project's rows.
        design: What was chosen.
        make: Makes cells that are missing.
        score: Scores what is made and not scored.
        page: The live page, if one is wanted.
    """
    from whichlora.run.rounds import run_rounds

    names = [row.name for row in plan.candidates if row.role == "candidate"]
    rounds = design.rounds_for(len(names), len(shared_steps(plan)))
    if not rounds:
        make(plan, None)
        done = Screening()
        if store.document(DOCUMENT):
            store.add_document(DOCUMENT, screening_to_json(done))
        return done

    def seen(state: Screening, sentence: str) -> None:
        store.add_document(DOCUMENT, screening_to_json(state))
        progress_console.print(sentence.replace("[", "\\["))
        if page:
            page.say(sentence)

    def make_and_score(cells: Collection[str]) -> None:
        make(plan, cells)
        score(plan)

    state = run_rounds(plan, rounds, make_and_score, lambda cells: answers(plan, store, cells), seen)
    store.add_document(DOCUMENT, screening_to_json(state))
    if page:
        page.say("")
        page.finish()
    return state


def answers(plan: Plan, store: Store, cells: Collection[str]) -> Mapping[str, bool | None]:
    """Verdicts of cells by the scores as they are now; people's votes are left out, as they may come at any time."""
    from whichlora.analysis.cells import judge
    from whichlora.analysis.stage import newest
    from whichlora.metrics.stage import scoring_context

    wanted = set(cells)
    generations = {cell: row for cell, row in store.generations().items() if cell in wanted}
    scores = [
        score for score in newest(store.scores(context=scoring_context(plan)))
        if score.cell in wanted and not score.rater and not score.metric.startswith("truth/")
    ]
    cases = {case.id: case for case in plan.cases}
    found = judge([cell for cell in plan.cells if cell.id in wanted], cases, generations, scores)
    return {verdict.cell.id: verdict.passed for verdict in found}
