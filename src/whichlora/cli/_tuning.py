"""Measuring a near-lossless speed-up on a project's own suite: the same cells exactly and fast, in pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from whichlora.errors import UserError

if TYPE_CHECKING:
    from whichlora.analysis.cells import Verdict
    from whichlora.cli.project import Project
    from whichlora.store import Store
    from whichlora.types import Candidate, Plan

TRIALS: dict[str, dict[str, Any]] = {
    "guidance-early": {"cfg_interval": [0.0, 0.6]},
    "block-cache": {"block_cache": 2},
    "reference-reuse": {"reference_cache": 2},
    "attention-8bit": {"attention_8bit": True},
    "early-and-cached": {"cfg_interval": [0.0, 0.6], "block_cache": 3},
}
"""Speed-ups by name, and the base's options that switch each on."""


@dataclass(frozen=True)
class Outcome:
    """What a speed-up did to the scores."""

    name: str
    """Name of the speed-up."""
    options: Mapping[str, Any]
    """Options that switch it on."""
    change: float | None
    """Mean change of the consistency rate, fast minus exact, −1 to 1; None when nothing could be compared."""
    low: float | None
    """Lower end of its 95 % interval for new photographs."""
    high: float | None
    """Upper end."""
    speed: float | None
    """Seconds of denoising exactly / fast; above 1 is faster."""
    photos: int
    """Photographs with both."""
    cells: int
    """Pairs of pictures with an answer on both sides."""
    admitted: bool
    """Whether the whole interval lies inside ± the margin and pictures became faster."""
    reason: str
    """The verdict in one sentence."""


def compare(
    name: str, exact: tuple[Sequence[Verdict], Mapping[str, Any]], fast: tuple[Sequence[Verdict], Mapping[str, Any]],
    margin: float,
) -> Outcome:
    """Hold a speed-up's verdicts against the exact ones.

    Args:
        name: One of `TRIALS`.
        exact: Verdicts, and generations by cell id, of the exact pictures.
        fast: The same of the fast ones, for the same rows, cases and seeds.
        margin: Largest change that does not matter, 0 to 1.
    """
    from whichlora.stats.paired import paired_difference

    pairs: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    before = {(v.cell.candidate, v.cell.case, v.cell.seed): v.passed for v in exact[0]}
    for verdict in fast[0]:
        was = before.get((verdict.cell.candidate, verdict.cell.case, verdict.cell.seed))
        if was is not None and verdict.passed is not None:
            pairs[verdict.case.source].append((verdict.passed, was))
    speed = _speed(exact, fast)
    options = TRIALS[name]
    if len(pairs) < 2:
        return Outcome(name, options, None, None, None, speed, len(pairs), sum(map(len, pairs.values())), False,
                       "Not enough photographs have an answer on both sides; it stays off.")
    rates = [[sum(each[side] for each in rows) / len(rows) for rows in pairs.values()] for side in (0, 1)]
    cells = sum(map(len, pairs.values()))
    found = paired_difference(rates[0], rates[1], cells / len(pairs))
    inside = -margin < found.low and found.high < margin
    faster = speed is not None and speed > 1.0
    if not inside:
        reason = f"The interval is not inside ±{margin:.0%}; it stays off."
    elif not faster:
        reason = "Scores hold, but pictures are not made faster here; it stays off."
    else:
        reason = f"The interval is inside ±{margin:.0%}; it may be switched on."
    return Outcome(name, options, found.value, found.low, found.high, speed, len(pairs), cells, inside and faster,
                   reason)


def _speed(
    exact: tuple[Sequence[Verdict], Mapping[str, Any]], fast: tuple[Sequence[Verdict], Mapping[str, Any]]
) -> float | None:
    spent = [
        sum(float(generations[each.cell.id].seconds.get("denoise", 0.0)) for each in judged if each.generated)
        for judged, generations in (exact, fast)
    ]
    return spent[0] / spent[1] if min(spent) > 0 else None


def chosen_rows(plan_rows: Sequence[Candidate], names: Sequence[str]) -> list[Candidate]:
    """Rows that are measured: those named, else the base and the first candidate.

    Raises:
        UserError: A name is no row of the project.
    """
    made = [row for row in plan_rows if row.role != "control"]
    if not names:
        return [next(row for row in made if row.role == "base"), *[row for row in made if row.role == "candidate"][:1]]
    known = {row.name: row for row in made}
    missing = [name for name in names if name not in known]
    if missing:
        raise UserError(f"The project has no row '{missing[0]}'.", fix=f"There: {', '.join(known)}.")
    return [known[name] for name in names]


def measured(project: Project, store: Store, device: str, options: Mapping[str, Any], rows: Sequence[str]) -> Plan:
    """Make and score the chosen rows with some options of the base on top of the project's own; returns the plan."""
    from whichlora.cli.project import draft_rows, identify_base, library_versions, make_plan
    from whichlora.cli.stages import score
    from whichlora.run.admit import admit_all
    from whichlora.run.pictures import photograph_reader
    from whichlora.run.runner import run_plan

    spec = project.suite.base
    base_spec = spec.model_copy(update={"options": {**spec.options, **options}})
    project = replace(project, suite=project.suite.model_copy(update={"base": base_spec}))
    family, base = identify_base(project, device)
    drafted, refused = draft_rows(project, family, base)
    session = family.load(base, device)
    admitted, turned_away = admit_all(session, chosen_rows(drafted, rows))
    plan = make_plan(project, base, admitted, [*refused, *turned_away], library_versions(base.family))
    run_plan(plan, store, session, photograph_reader(plan, project.workspace.folder))
    score(project, store, plan)
    return plan


def verdicts(plan: Plan, store: Store) -> tuple[list[Verdict], Mapping[str, Any]]:
    """Verdicts of a plan's cells, and its generations."""
    from whichlora.analysis.cells import judge
    from whichlora.metrics.stage import scoring_context

    generations = store.generations()
    cases = {case.id: case for case in plan.cases}
    return judge(plan.cells, cases, generations, store.scores(context=scoring_context(plan))), generations


def _end(node: Any) -> int:
    """Where a node's text ends; a block's own mark lies behind the comments that follow it."""
    children = getattr(node, "value", None)
    if getattr(node, "flow_style", True) or not isinstance(children, list) or not children:
        return node.end_mark.index
    last = children[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def switched_on(text: str, options: Mapping[str, Any]) -> str:
    """A suite's text with further options of its base; everything else, comments included, stays as it is.

    Raises:
        UserError: The suite has no base that could be edited.
    """
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if isinstance(root, yaml.MappingNode):
        for key, value in root.value:
            if key.value == "base" and isinstance(value, yaml.MappingNode):
                base = yaml.safe_load(text)["base"]
                base = {**base, "options": {**(base.get("options") or {}), **options}}
                flow = yaml.safe_dump(base, default_flow_style=True, sort_keys=False, width=1 << 20, allow_unicode=True)
                return text[: key.end_mark.index] + ": " + flow.strip() + text[_end(value):]
    raise UserError("The suite has no 'base' that could be edited.", fix="Add the options by hand.")
