"""What `plan` and `run` share: which plan fits the time, and the project cut to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from whichlora.cli.project import Project, library_versions, make_plan
from whichlora.errors import UserError
from whichlora.plan import budget as budgets
from whichlora.plan.budget import Design, Material, schedule_sentence
from whichlora.plan.price import passes, seconds_per_pass
from whichlora.plan.screening import shared_steps
from whichlora.stats.screening import cost
from whichlora.suite.schema import SourceSpec
from whichlora.types import BaseModel, Candidate, Plan, SourceImage, fingerprint


class PaceUnknownError(UserError):
    """A budget was named, and nothing is known of the time that a picture takes here."""


@dataclass(frozen=True)
class Wish:
    """What the user said about time."""

    budget: str = ""
    """As typed, such as '3h'; '' when none was named."""
    full: bool = False
    """Measure everything, whatever it takes."""
    seconds: float | None = None
    """Seconds that a picture of base takes here, when the user knows."""
    cheap: bool = False
    """Let a cheaper sampler propose who leaves a screening early."""


@dataclass(frozen=True)
class Settled:
    """The plan that will be used."""

    project: Project
    """Cut to the photographs, instructions and seeds of the design."""
    design: Design
    """What was chosen."""
    remark: str
    """One sentence on why this and not another."""


def settle(
    project: Project, base: BaseModel, rows: Sequence[Candidate], device: str, wish: Wish
) -> Settled:
    """Choose the plan: a named budget, else what was chosen before, else everything if it fits one night.

    Raises:
        PaceUnknownError: A budget was named and nothing is known of the time that a picture takes.
        UserError: The budget pays for nothing.
    """
    folder = project.workspace.folder
    origin = _origin(project)
    earlier = stored_design(folder)
    wanted = budgets.parse_budget(wish.budget) if wish.budget else None
    changed = earlier is not None and earlier.suite != origin
    if earlier is not None and changed:
        # Another suite needs another plan, for the budget that was named once.
        wanted = wanted if wanted is not None or wish.full else earlier.budget_s
        earlier = None
    unit = passes(next(row.sampler for row in rows if row.role == "base"))
    second, basis = _second(project, base, rows, device, wish, unit)
    if wish.full:
        design, remark = _whole(project, rows, unit, second, basis), "Everything is measured in full, as you asked."
    elif earlier is not None and (wanted is None or wanted == earlier.budget_s):
        # In full, the price may be known by now.
        kept = earlier.budget_s is not None
        if kept:
            return Settled(cut(project, earlier), earlier, _as_before(earlier))
        design, remark = _whole(project, rows, unit, second, basis), _as_before(earlier)
    elif wanted is not None:
        if second is None:
            raise PaceUnknownError(f"A budget needs the time of a picture, and {basis}.",
                                   fix="Say --seconds, or let the run measure it: whichlora run PROJECT --budget …")
        material = _material(project, rows, unit, available(project))
        design = budgets.choose_design(material, wanted, second, basis)
        remark = f"Chosen for a budget of {budgets.as_time(wanted)}{', as the suite has changed' if changed else ''}."
    else:
        design, remark = _by_default(project, rows, unit, second, basis)
    design = replace(_as_asked(design, project, base, rows), suite=origin)
    return Settled(cut(project, design), design, remark)


def _as_asked(design: Design, project: Project, base: BaseModel, rows: Sequence[Candidate]) -> Design:
    """The design with the pictures that are really asked for.

    No photograph is asked for what it shows already, and a LoRA's own prompts come on top.
    """
    plan = _plan(cut(project, design), base, rows)
    paid = {row.name: passes(row.sampler) for row in rows if row.role != "control"}
    cells = [cell.candidate for cell in plan.cells if cell.candidate in paid]
    if not design.screened:
        planned = design.photos * len(design.edits) * len(design.seeds) * sum(paid.values())
        share = sum(paid[name] for name in cells) / planned if planned else 1.0
        seconds = None if design.seconds is None else design.seconds * share
        return replace(design, cells=len(cells), full_cells=len(cells), seconds=seconds)
    names = [row.name for row in rows if row.role == "candidate"]
    rounds = design.rounds_for(len(names), len(shared_steps(plan)))
    if not rounds:
        return design
    own = sum(name not in names for name in cells)
    made = cost(len(names), rounds) + own
    material = _material(project, rows, 1.0, available(project))
    adapted = replace(
        design, rounds=rounds, cells=made, full_cells=len(cells),
        seconds=None if design.seconds is None else design.seconds * made / design.cells,
    )
    return replace(adapted, why=(*design.why[:1], schedule_sentence(material, adapted)))


def _as_before(design: Design) -> str:
    if design.budget_s is None:
        return "The plan stored in this project: everything in full."
    return f"The plan stored in this project, for a budget of {budgets.as_time(design.budget_s)}."


def _by_default(
    project: Project, rows: Sequence[Candidate], unit: float, second: float | None, basis: str
) -> tuple[Design, str]:
    """The suite as it stands if it fits one night or nothing is known; otherwise what fits."""
    whole = _whole(project, rows, unit, second, basis)
    if whole.seconds is None:
        return whole, "Everything is measured in full; how long that takes here is not known yet."
    night = budgets.as_time(budgets.NIGHT_S)
    if whole.seconds <= budgets.NIGHT_S:
        return whole, f"Everything is measured in full, since that fits one night ({night})."
    material = _material(project, rows, unit, project.photos["sources"])
    try:
        design = budgets.choose_design(material, budgets.NIGHT_S, second or 0.0, basis)
    except UserError as error:
        return whole, f"Everything is measured in full. {error.message}"
    return design, (
        f"The suite in full would take {budgets.as_time(whole.seconds)}, more than one night; this plan fits "
        f"{night}. Others: --budget TIME, or --full."
    )


def _second(
    project: Project, base: BaseModel, rows: Sequence[Candidate], device: str, wish: Wish, unit: float
) -> tuple[float | None, str]:
    """Seconds of a picture of base, and where from."""
    if wish.seconds is not None:
        return wish.seconds, "as you said"
    each, basis = seconds_per_pass(project.workspace.folder, _plan(project, base, rows), device)
    return (None if each is None else each * unit), basis


def _plan(project: Project, base: BaseModel, rows: Sequence[Candidate]) -> Plan:
    return make_plan(project, base, rows, [], library_versions(base.family))


def _whole(project: Project, rows: Sequence[Candidate], unit: float, second: float | None, basis: str) -> Design:
    sources = project.photos["sources"]
    return budgets.full_design(_material(project, rows, unit, sources), len(sources), second, basis)


def _material(
    project: Project, rows: Sequence[Candidate], unit: float, photos: Sequence[SourceImage]
) -> Material:
    suite = project.suite
    return Material(
        len(photos), {edit.name: edit.family for edit in suite.edits}, tuple(suite.must_have), tuple(suite.seeds),
        tuple(passes(row.sampler) / unit for row in rows if row.role == "candidate"),
        tuple(passes(row.sampler) / unit for row in rows if row.role == "base"),
    )


def available(project: Project) -> tuple[SourceImage, ...]:
    """Photographs that may be edited, those of the suite first; only those named where the suite names files."""
    sources = project.photos["sources"]
    if project.suite.sources.files:
        return sources
    return (*sources, *(item for item in project.photos["calibration"] if not item.facts.get("unfit")))


def cut(project: Project, design: Design) -> Project:
    """The project with the photographs, instructions and seeds of a design; other photographs calibrate."""
    every = available(project)
    sources = every[: design.photos]
    chosen = {item.id for item in sources}
    calibration = [item for item in (*project.photos["sources"], *project.photos["calibration"])
                   if item.id not in chosen]
    suite = project.suite
    asked = set(design.edits)
    families = {edit.family for edit in suite.edits if edit.name in asked}
    suite = suite.model_copy(update={
        "edits": [edit for edit in suite.edits if edit.name in asked], "seeds": list(design.seeds),
        "must_have": [name for name in suite.must_have if name in families],
        "sources": SourceSpec(count=len(sources), files=suite.sources.files[: len(sources)]),
    })
    photos = {**project.photos, "sources": tuple(sources), "calibration": tuple(calibration)}
    return replace(project, suite=suite, photos=photos)


def _origin(project: Project) -> str:
    """Fingerprint of what a design was chosen from."""
    suite = project.suite.model_dump(mode="json", by_alias=True)
    return fingerprint([suite, [item.sha256 for item in available(project)]])


def what_it_shows(plan: Plan, settled: Settled) -> tuple[float | None, str]:
    """Smallest gain over base that the plan would show, in points (None: nothing), and the advice that follows."""
    from whichlora.plan.price import power_sentence

    design, suite = settled.design, settled.project.suite
    compared = sum(row.role == "candidate" for row in plan.candidates)
    edits = [edit.family for edit in suite.edits]
    steps = len(plan.sources) * len(edits) * len(suite.seeds)
    return power_sentence(len(plan.sources), edits, len(suite.seeds), compared, design.rounds_for(compared, steps))


def stored_design(folder: Path) -> Design | None:
    """The design stored in a project, or None."""
    from whichlora.store import Store

    if not (folder / "store.sqlite").exists():
        return None
    with Store(folder) as store:
        return budgets.design_from_json(store.document(budgets.DOCUMENT))


def keep_design(project: Project, design: Design) -> None:
    """Store a design, so that a run keeps to it."""
    from whichlora.cli._writing import writing

    with writing(project.workspace, create=True) as store:
        store.add_document(budgets.DOCUMENT, budgets.design_to_json(design))


def one_wish(budget: str, full: bool) -> None:
    """Refuse two wishes that contradict each other.

    Raises:
        UserError: Both were given, or the budget is no time.
    """
    if budget and full:
        raise UserError("--budget and --full contradict each other.", fix="Give one of them.")
    if budget:
        budgets.parse_budget(budget)
