"""What sweep, combine, chain, route and masks share: a measured project, and measuring some more of it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichlora.cli._writing import refuse_if_busy, writing
from whichlora.cli.output import progress_console
from whichlora.cli.project import Project, choose_device, identify_base, library_versions, open_project
from whichlora.cli.stages import stored_plan
from whichlora.errors import ProjectError, RefusedError, UnknownNameError
from whichlora.quoting import quoted
from whichlora.store import Store
from whichlora.types import BaseModel, Candidate, Plan

if TYPE_CHECKING:
    from whichlora.analysis.cells import Verdict
    from whichlora.analysis.table import Table
    from whichlora.run.choose import Hiring
    from whichlora.run.making import Maker


@dataclass
class Measured:
    """A project whose single rows are measured, and a maker that is only started when pictures are missing."""

    project: Project
    store: Store
    plan: Plan
    """The stored plan."""
    base: BaseModel
    device: str
    hiring: Hiring | None
    _exit: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def context(self) -> str:
        """Scoring context of the project."""
        from whichlora.metrics.stage import scoring_context

        return scoring_context(self.plan)

    @cached_property
    def distrusted(self) -> frozenset[str]:
        """Metrics that people's votes contradict."""
        from whichlora.review.stage import DOCUMENT, distrusted

        return frozenset(distrusted(self.store.document(DOCUMENT) or {}))

    @cached_property
    def maker(self) -> Maker:
        """The maker; loading the base is its business."""
        from whichlora.run.choose import open_maker
        from whichlora.run.executor import Setup

        setup = Setup(self.base, self.device, self.project.workspace.folder, library_versions(self.base.family))
        return self._exit.enter_context(open_maker(
            setup, self.store, self.hiring, say=lambda text: progress_console.print(text.replace("[", "\\["))
        ))

    def measure(self, plan: Plan) -> None:
        """Make the plan's missing pictures and score them."""
        from whichlora.cli.stages import make

        missing = {cell.id for cell in plan.cells} - self.store.finished()
        if missing:
            make(self.maker, plan, None, missing)
        rate_pictures(self.project, self.store, plan, self.context)

    def table(self, plan: Plan | None = None) -> Table:
        """Verdicts of a plan (the stored one when left out) as a table."""
        from whichlora.analysis.measured import table_of

        return table_of(self.store, plan or self.plan, context=self.context, distrusted=self.distrusted)

    def verdicts(self, plan: Plan) -> list[Verdict]:
        """Verdicts of a plan."""
        from whichlora.analysis.measured import verdicts_of

        return verdicts_of(self.store, plan, context=self.context, distrusted=self.distrusted)

    def row(self, name: str) -> Candidate:
        """A row of the stored plan.

        Raises:
            UnknownNameError: There is none of that name.
        """
        rows = {row.name: row for row in self.plan.candidates if row.role != "control"}
        if name not in rows:
            raise UnknownNameError("row", name, rows)
        return rows[name]

    def admit(self, rows: list[Candidate]) -> list[Candidate]:
        """Rows that pass the load gate; the others are named on stderr."""
        admitted, refused = self.maker.admit(rows)
        for row in refused:
            said = f"{row['name']}: {row['reason']}".replace("[", "\\[")
            progress_console.print(f"[yellow]refused[/] {said}")
        return admitted

    def remember(self, name: str, key: str, document: Mapping[str, Any]) -> None:
        """Add an entry to a stored collection of results, such as 'sweeps'; an older one of the same key gives way."""
        known = self.store.document(name) or {}
        self.store.add_document(name, {**known, key: dict(document)})


def rate_pictures(project: Project, store: Store, plan: Plan, context: str) -> None:
    """Score a plan's finished pictures that lack a score in this context.

    Args:
        project: Whose photographs they are made from.
        store: The project's rows.
        plan: Whose cells; a cell may stand for another case than in the plan that made it, under a context of its own.
        context: Where the scores are kept.
    """
    from whichlora.metrics.stage import PlanScorer
    from whichlora.run.pictures import photograph_reader

    scorer = PlanScorer(plan, store, photograph_reader(plan, project.workspace.folder))
    scorer.context = context
    with progress_console.status(f"measuring {len(plan.cells)} pictures"):
        scorer.score()


@contextmanager
def open_measured(folder: Path, device: str, hiring: Hiring | None = None) -> Generator[Measured]:
    """Open a project that has been run, as its only writer.

    Raises:
        ProjectError: Nothing was run or nothing was scored yet, or another process works in it.
        RefusedError: The base is not the one that the pictures were made with.
    """
    refuse_if_busy(folder)
    from whichlora.metrics.stage import scoring_context

    project = open_project(folder)
    chosen = choose_device(device)
    with writing(project.workspace) as store, ExitStack() as stack:
        plan = stored_plan(store)
        if not store.finished() & {cell.id for cell in plan.cells}:
            raise ProjectError("This project has no pictures yet.", fix=f"Run: whichlora evaluate {quoted(folder)}")
        if not store.scored(context=scoring_context(plan)):
            raise ProjectError("This project's pictures are not scored yet.",
                               fix=f"Run: whichlora score {quoted(folder)}")
        _, base = identify_base(project, chosen)
        _refuse_other_base(plan.base, base)
        yield Measured(project, store, plan, base, chosen, hiring, stack)


def _refuse_other_base(stored: BaseModel, now: BaseModel) -> None:
    """Pictures of two bases or devices must not be compared."""
    if stored.fingerprint != now.fingerprint:
        raise RefusedError("The base is not the one that this project's pictures were made with.",
                           fix="Run: whichlora evaluate PROJECT")
    if dict(stored.options) != dict(now.options):
        changed = sorted(name for name in {**stored.options, **now.options}
                         if stored.options.get(name) != now.options.get(name))
        raise RefusedError(
            f"The base's option '{changed[0]}' is {now.options.get(changed[0])!r} now; the project's pictures were "
            f"made with {stored.options.get(changed[0])!r}.", fix="Name the same device, or run the project again.",
        )


def publish_again(measured: Measured, plan: Plan) -> Path:
    """Conclude by the suite's own settings and write the report anew, so that the new results stand in it."""
    from whichlora.cli.stages import conclude, publish
    from whichlora.cli.wishes import analysis_settings

    project = measured.project
    findings = conclude(measured.store, plan, f"whichlora evaluate {quoted(project.workspace.folder)}",
                        settings=analysis_settings(project.suite))
    return publish(project, measured.store, plan, findings, markdown=None)
