"""The one entrance: stored rows in, `Findings` out. Pure, and repeatable to the last digit.

Does: run the four layers in order (facts, truth table, robustness, words). Does not: read or write anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np

from whichlora.analysis import (
    changes,
    evidence,
    facts,
    faults,
    flipwords,
    limits,
    options,
    rated,
    roadmap,
    robust,
    rowwords,
    words,
)
from whichlora.analysis.against import Project
from whichlora.analysis.cells import Verdict, judge
from whichlora.analysis.decide import Contender, Row, decide
from whichlora.analysis.evidence import Costs
from whichlora.analysis.flip import Flip, flips
from whichlora.analysis.leaveout import LeftOut, leave_outs
from whichlora.analysis.ledger import Ledger
from whichlora.analysis.nextstep import next_step
from whichlora.analysis.outcome import Outcome
from whichlora.analysis.purchase import next_purchase
from whichlora.analysis.questions import questions
from whichlora.analysis.settings import Settings
from whichlora.analysis.table import WHOLE, Table, tabulate
from whichlora.findings import CandidateFacts, Findings, Recommendation
from whichlora.plan.screening import screening_to_json
from whichlora.stats.shrinkage import shrink
from whichlora.types import Generation, Plan, Score

NEEDS_FAILING = ("do-nothing", "vae-round-trip", "other-person")
"""Controls that must not pass: their pictures are wrong by construction."""


def analyse(
    plan: Plan, generations: Sequence[Generation], scores: Sequence[Score], truth: Mapping[str, bool] | None = None,
    settings: Settings | Mapping[str, Any] | None = None, earlier: Project | None = None,
) -> Findings:
    """Conclude what stored rows support.

    Args:
        plan: The stored plan.
        generations: What became of the cells; cells without one are not yet attempted and count nowhere.
        scores: Everything measured; rows of cells outside the plan are ignored.
        truth: Cell id → did it truly pass, where a ground truth exists. Printed, never decided on.
        settings: What the user set (a `Settings`, or a mapping of its fields); defaults otherwise.
        earlier: A project to compare with, picture by picture.

    Raises:
        UserError: A setting is not possible, or the earlier project's settings differ.

    Returns:
        Findings with `manifest['analysis']` holding every figure that a sentence uses.
    """
    chosen = Settings.of(settings)
    by_cell = {generation.cell: generation for generation in generations}
    owner = {cell.id: cell.candidate for cell in plan.cells}
    own_scores = [score for score in scores if score.cell in owner]
    verdicts = judge(plan.cells, {case.id: case for case in plan.cases}, by_cell, own_scores)
    table = tabulate(plan, verdicts, chosen.screening)
    must = tuple(dict.fromkeys(plan.must_have)) or table.families
    chosen.checked((*table.families, *WHOLE), must)
    matrix = _matrix(plan, table, by_cell, own_scores, truth, chosen)
    found = _Gathered(plan, by_cell, own_scores, verdicts, table, must)
    outcome, draws = _outcome(found, matrix, chosen)
    ledger = Ledger()
    ordered = _worded(_in_order(matrix), table, ledger)
    recommendation = Recommendation(
        outcome.row.decision if not outcome.distrust else "undecided",
        outcome.row.strategy if outcome.distrust or not outcome.row.firm else None,
        outcome.row.candidate, outcome.row.firm and not outcome.distrust,
        words.verdict(outcome, ledger), words.rationale(outcome, ledger), flipwords.flip_card(outcome, ledger),
        next_step(outcome, ledger), options.options(outcome, ledger), roadmap.roadmap(outcome, ledger),
        dict(outcome.row.routes), options.training_only(outcome),
    )
    asked = questions(plan, ledger, chosen)
    return Findings(
        plan.project, plan.base.id, plan.target, must, outcome.photos, ordered, plan.refused, recommendation,
        _failures(verdicts), limits.limits(outcome), asked,
        _manifest(plan, chosen, outcome, draws, ledger, earlier),
        against=changes.against(earlier, Project(plan, by_cell, own_scores), ledger) if earlier else None,
    )


@dataclass(frozen=True)
class _Gathered:
    """Stored rows, judged and arranged."""

    plan: Plan
    generations: Mapping[str, Generation]
    scores: Sequence[Score]
    verdicts: Sequence[Verdict]
    table: Table
    must: tuple[str, ...]


def _matrix(
    plan: Plan, table: Table, generations: Mapping[str, Generation], scores: Sequence[Score],
    truth: Mapping[str, bool] | None, settings: Settings,
) -> dict[str, CandidateFacts]:
    """Facts of every row, by name, in the plan's order."""
    rows = evidence.in_play(table)
    p_values = evidence.compared(table, rows, (*table.families, *WHOLE), table.families)
    draws = robust.joint_draws(table, table.families, settings.draws, settings.seed)
    best, ranks = robust.best_probabilities(draws), robust.rank_ranges(draws)
    seen = faults.counted(table.verdicts, scores)
    means = facts.metric_means(scores, {cell.id: cell.candidate for cell in plan.cells})
    true = _true_rates(plan, truth, generations)
    threshold = partial(settings.threshold, target=plan.target)
    return {
        candidate.name: facts.candidate_facts(
            table, row, facts.capability_facts(table, row, threshold, p_values), generations,
            means.get(candidate.name, {}), facts.Chances(best.get(candidate.name), ranks.get(candidate.name)),
            true.get(candidate.name), seen.get(candidate.name, {}),
        )
        for row, candidate in enumerate(table.candidates)
    }


def _outcome(
    given: _Gathered, matrix: dict[str, CandidateFacts], settings: Settings,
) -> tuple[Outcome, robust.Draws]:
    """Decision, robustness and next purchase. Adds to the matrix how rows stand to the limits of time and memory."""
    plan, table, must = given.plan, given.table, given.must
    costs = {name: Costs(row.seconds_per_image, row.peak_memory_gib) for name, row in matrix.items()}
    for name, row in matrix.items():
        matrix[name] = replace(row, budget=evidence.budget_states(costs[name], settings))

    def contenders(of: Table) -> list[Contender]:
        return evidence.contenders(of, must, settings, costs, plan.target)

    found = contenders(table)
    row = decide(found, must, plan.target)
    again = leave_outs(
        plan, given.generations, given.scores, given.verdicts, table,
        lambda other: decide(contenders(other), must, plan.target),
    )
    distrust = _distrust(table, matrix, settings)
    # While the measurement itself is not believed, no other rate or target gives an answer.
    card = [] if distrust else _card(given, found, row, again, contenders, settings)
    draws = robust.joint_draws(table, must, settings.draws, settings.seed)
    seconds = {name: facts.seconds_per_image for name, facts in matrix.items()}
    unknown = evidence.unmeasured(table)
    purchase = None
    if not row.firm:
        known = [c for c in found if c.name not in unknown]
        purchase = next_purchase(table, known, must, plan.target, seconds, seed=settings.seed,
                                 easing=evidence.easings(must, settings, plan.target))
    outcome = Outcome(
        plan, plan.target, must, row, found, matrix, card, purchase, robust.acceptability(draws, settings.seed),
        _corrected(table, found, must), _second_opinion(found), distrust,
        {name: settings.threshold(name, plan.target) for name in (*table.families, *WHOLE)},
        robust.information_per_hour(draws, table, seconds),
        table.screening, not row.firm and _firm_without(found, set(table.screening.out), must, plan.target),
        unknown, not row.firm and _firm_without(found, set(unknown), must, plan.target),
        tuple(name for name in settings.weights if name not in must),
    )
    return outcome, draws


def _card(
    given: _Gathered, found: Sequence[Contender], now: Row, leave_out: Mapping[LeftOut, Callable[[], Row]],
    contenders: Callable[[Table], list[Contender]], settings: Settings,
) -> list[Flip]:
    """The flip card, flips of rates made exact through the whole decision."""
    if not found:
        return []
    must, target = given.must, given.plan.target
    card = flips(found, must, target, leave_out, [name in settings.thresholds for name in must])

    def again(candidate: str, name: str, change: float) -> Row | None:
        table = rated.changed(given.table, given.table.index(candidate), name, change)
        return None if table is None else decide(contenders(table), must, target)

    rates = rated.exact([flip for flip in card if flip.kind == "rate"], now, again)
    return [*(f for f in card if f.kind == "target"), *rates,
            *(f for f in card if f.kind not in ("target", "rate"))]


def _firm_without(found: Sequence[Contender], names: Collection[str], must: Sequence[str], target: float) -> bool:
    """Would the decision be firm if some set-ups had never been there?"""
    left = [c for c in found if c.name not in names]
    return len(left) < len(found) and decide(left, must, target).firm


def _corrected(table: Table, found: Sequence[Contender], must: Sequence[str]) -> dict[str, float]:
    """Rate over the must-haves of every contender after removing the winner's curse."""
    families = [name for name in must if name in table.families]
    found = [c for c in found if not c.out]
    values = [evidence.overall_values(table, table.index(c.name), families) for c in found]
    if len(values) < 2 or len({len(v) for v, _ in values}) != 1 or len(values[0][0]) < 2:
        return {}
    rates = shrink(np.array([v for v, _ in values]), float(np.mean([m for _, m in values]))).rates()
    return {c.name: float(rate) for c, rate in zip(found, rates, strict=True)}


def _second_opinion(found: Sequence[Contender]) -> str:
    """TOPSIS's first over the must-haves, weighted alike, of what may be used; '' with fewer than two of those."""
    able = [c for c in found if not c.barred and not c.out]
    if len(able) < 2:
        return ""
    closeness = robust.topsis(np.array([c.lean for c in able]), np.array(able[0].weights) if able[0].weights else None)
    return able[int(closeness.argmax())].name


def _distrust(table: Table, matrix: Mapping[str, CandidateFacts], settings: Settings) -> tuple[str, ...]:
    """Controls that pass although they are wrong by construction: then the metrics are not to be believed."""
    reasons = []
    for row, candidate in enumerate(table.candidates):
        if candidate.role != "control" or candidate.control not in NEEDS_FAILING:
            continue
        rate = evidence.overall_rate(table, row, table.families)
        if rate is not None and rate.floor > settings.control_limit:
            reasons.append(
                f"Pictures of the control row {candidate.name} come out as right although they cannot be, so what "
                "comes out as right elsewhere may be wrong as well."
            )
    return tuple(reasons)


def _in_order(matrix: Mapping[str, CandidateFacts]) -> list[CandidateFacts]:
    """Base first, then candidates by rate, then those screened out, then controls."""
    rank = {"base": 0, "candidate": 1, "control": 2}

    def key(facts: CandidateFacts) -> tuple[int, float, float, str]:
        value = facts.ccr.value
        inner = 0.0 if facts.role == "base" else -(value if value is not None else -1.0)
        # Those dropped on the way come after those measured to the end, later ones first.
        left = 0.0 if facts.screened_out is None else 1.0 / facts.screened_out
        return rank[facts.role], left, inner, facts.name if facts.role != "base" else ""

    return sorted(matrix.values(), key=key)


def _worded(rows: Sequence[CandidateFacts], table: Table, ledger: Ledger) -> tuple[CandidateFacts, ...]:
    """Add sentences of strengths and weaknesses."""
    names = (*table.families, *WHOLE)
    return tuple(
        replace(row, strengths=rowwords.strengths(row, ledger, names),
                weaknesses=rowwords.weaknesses(row, ledger, names))
        for row in rows
    )


def _failures(verdicts: Sequence[Verdict]) -> dict[str, tuple[str, ...]]:
    """Fault → cells, most frequent first."""
    found: dict[str, list[str]] = defaultdict(list)
    for verdict in verdicts:
        for fault in verdict.faults:
            found[fault].append(verdict.cell.id)
    return {fault: tuple(cells) for fault, cells in sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))}


def _true_rates(
    plan: Plan, truth: Mapping[str, bool] | None, generations: Mapping[str, Generation],
) -> dict[str, float]:
    """True consistency rate by candidate, capabilities weighing the same."""
    if not truth:
        return {}
    family = {case.id: case.family for case in plan.cases}
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for cell in plan.cells:
        if cell.id in truth and cell.id in generations:
            found[cell.candidate][family[cell.case]].append(truth[cell.id])
    return {name: fmean(fmean(values) for values in mine.values()) for name, mine in found.items()}


def _manifest(
    plan: Plan, settings: Settings, outcome: Outcome, draws: robust.Draws, ledger: Ledger,
    earlier: Project | None,
) -> dict[str, Any]:
    """Settings, versions, and the figures behind every sentence."""
    names = sorted(
        {source.id for source in plan.sources} | {name for case in plan.cases for name in (case.id, case.edit)}
        | {flip.what for flip in outcome.flips} | ({earlier.plan.project} if earlier else set())
        | {use.name for candidate in plan.candidates for use in (*candidate.adapters, *candidate.sampler.adapters)}
        | {candidate.trigger for candidate in plan.candidates} | set(plan.notes)
    )
    return {
        "base": {"id": plan.base.id, "family": plan.base.family, "fingerprint": plan.base.fingerprint,
                 "options": dict(plan.base.options)},
        "libraries": dict(plan.libraries),
        "candidates": {c.name: c.fingerprint() for c in plan.candidates},
        **dict(settings.manifest),
        "analysis": {
            "settings": {"draws": settings.draws, "seed": settings.seed, "margin": settings.margin,
                         "max_seconds": settings.max_seconds, "max_memory_gib": settings.max_memory_gib,
                         "thresholds": dict(settings.thresholds), "weights": dict(settings.weights)},
            "figures": ledger.figures, "sentences": ledger.sentences, "names": names,
            "possible": sorted(outcome.row.possible),
            "screening": screening_to_json(outcome.screening) if outcome.screening.planned else None,
            "corrected": dict(outcome.corrected),
            "acceptability": {name: dict(entry) for name, entry in outcome.acceptability.items()},
            "pareto": robust.pareto(draws),
            "information": robust.information_value(draws),
            "information_per_hour": dict(outcome.information),
            "second_opinion": outcome.second_opinion,
            "flips": [
                {"kind": f.kind, "what": f.what, "candidate": f.candidate, "change": f.change,
                 "strategy": f.row.strategy, "choice": f.row.candidate, "firm": f.row.firm}
                for f in outcome.flips
            ],
        },
    }
