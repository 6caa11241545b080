"""Making the pictures of a plan within its budget: everything, or in rounds with scores in between.

Glue between those who make (a `Maker`), those who measure (`metrics`), those who judge a picture (`analysis.cells`)
and the loop of `run.rounds`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from whichlora.cli._budget import PaceUnknownError, Settled, Wish, cut, settle
from whichlora.cli.live import LivePage
from whichlora.cli.output import progress_console
from whichlora.cli.project import Project, library_versions, make_plan
from whichlora.plan.budget import DOCUMENT as DESIGN
from whichlora.plan.budget import Design, design_to_json
from whichlora.plan.cheap import Cheap, alike, cheap_plan, cheaper
from whichlora.plan.screening import DOCUMENT, Screening, screening_to_json, shared_steps
from whichlora.run.making import Maker
from whichlora.stats.screening import Round
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
    wish = wish or Wish()
    device = str(base.options.get("device", "cpu"))
    try:
        settled = settle(project, base, rows, device, wish)
    except PaceUnknownError:
        probe = cut(project, Design(PACE_PHOTOS, (project.suite.edits[0].name,), tuple(project.suite.seeds[:1])))
        bases = [row for row in rows if row.role == "base"]
        plan = make_plan(probe, base, bases[:1], [], library_versions(base.family))
        maker.make(plan)
        settled = settle(project, base, rows, device, wish)
    store.add_document(DESIGN, design_to_json(settled.design))
    # Who asked for everything need not be told that everything is measured.
    remark = () if wish is not None and wish.full else (settled.remark,)
    for line in (*remark, *settled.design.why):
        progress_console.print(line.replace("[", "\\["))
    return settled


def measure(
    plan: Plan, store: Store, design: Design, make: MakeCells, score: Callable[[Plan], object],
    page: LivePage | None = None, cheap: Cheap | None = None,
) -> Screening:
    """Make the pictures that the design asks for.

    Args:
        plan: The whole matrix, already stored.
        store: The project's rows.
        design: What was chosen.
        make: Makes cells that are missing.
        score: Scores what is made and not scored.
        page: The live page, if one is wanted.
        cheap: A cheaper sampler that may propose who leaves before the first round is complete.
    """
    from whichlora.run.rounds import reach, run_rounds

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

    propose = None
    if cheap is not None and len(alike(plan)) == len(names) > reach(len(names), rounds):
        # A short round first, on which both samplers are compared.
        first = max(1, rounds[0].steps // 2)
        rounds = (Round(first, len(names)), *rounds)
        propose = _proposer(plan, store, cheap, rounds, make, score)
    state = run_rounds(plan, rounds, make_and_score, lambda cells: answers(plan, store, cells), seen, propose)
    store.add_document(DOCUMENT, screening_to_json(state))
    for note in state.notes:
        progress_console.print(note.replace("[", "\\["))
    if page:
        page.say("")
        page.finish()
    return state


def _proposer(
    plan: Plan, store: Store, cheap: Cheap, rounds: Sequence[Round], make: MakeCells, score: Callable[[Plan], object],
) -> Callable[[Sequence[str], Mapping[str, float]], tuple[Collection[str], str]]:
    """Measures everybody cheaply on the steps of the first real round, and proposes if both samplers rank alike."""
    from whichlora.run.rounds import Steps, reach, table_of
    from whichlora.stats.proxy import rank_agreement
    from whichlora.stats.screening import standing

    def propose(field: Sequence[str], rates: Mapping[str, float]) -> tuple[Collection[str], str]:
        steps = Steps.of(plan)
        short, long = steps.order[: rounds[0].steps], steps.order[: rounds[1].steps]
        other = cheap_plan(plan, field, long, cheap)
        make(other, [cell.id for cell in other.cells if cell.candidate in set(field)])
        score(other)
        quick = table_of(other, field, long, lambda cells: answers(other, store, cells))
        slow = table_of(plan, field, short, lambda cells: answers(plan, store, cells))
        source = {case.id: case.source for case in plan.cases}
        needed = [i for i in range(len(short)) if steps.families[i] in steps.needed]
        same = rank_agreement(slow[:, needed], quick[:, needed], [source[short[i][0]] for i in needed])
        figure = f"{same.value:.2f} [{same.low:.2f}, {same.high:.2f}]"
        if not same.trusted:
            return (), (f"With {cheap.what} candidates rank as with full pictures only to {figure}: too unsure to drop "
                        "anybody on it, so it was not used.")
        columns = [i for i in range(len(long)) if steps.families[i] in steps.needed]
        overall = standing(quick[:, columns], [steps.families[i] for i in columns])[0]
        order = sorted(range(len(field)), key=lambda i: (-overall[i], i))
        out = [field[i] for i in order[reach(len(field), rounds):]]
        return out, (f"With {cheap.what} candidates rank as with full pictures ({figure}), so it proposed who leaves "
                     "early; full pictures confirmed each.")

    return propose


def cheap_of(project: Project, rows: Sequence[Candidate]) -> Cheap | None:
    """A cheaper sampler for the rows of a project, or None where none is much cheaper."""
    from whichlora.cli.project import lora_folder
    from whichlora.plan.candidates import resolve_sampler

    sampler = next(row.sampler for row in rows if row.role == "base")
    folder = lora_folder(project.workspace)
    specs = {name: spec for name, spec in project.suite.samplers.items() if spec.loras}
    return cheaper(sampler, [resolve_sampler(name, spec, sampler, folder) for name, spec in specs.items()])


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
