"""The analysis stage: stored rows in, findings out and into the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from whichlora.analysis.against import Project
from whichlora.analysis.analyse import analyse
from whichlora.findings import Findings, findings_from_json, to_json
from whichlora.plan.codec import plan_from_json
from whichlora.plan.screening import DOCUMENT, screening_from_json
from whichlora.store import Store
from whichlora.types import Plan, Score

TRUTH_METRIC = "truth/consistent"
"""Grades from an exact ground truth, where one exists; shown apart, read by no decision."""


def analyse_store(
    store: Store, plan: Plan, *, context: str, manifest: Mapping[str, Any], distrusted: Collection[str] = (),
    settings: Mapping[str, Any] | None = None, earlier: Project | None = None,
) -> Findings:
    """Analyse the newest scores of a plan and store the findings.

    Args:
        store: The project's rows.
        plan: The plan whose cells count.
        context: Scoring context, so that scores from other calibration photographs do not mix in.
        manifest: Settings and the command that repeats the run, for the report's footer.
        distrusted: Metrics that people's votes contradict: they inform and decide nothing.
        settings: What the user set about the analysis, as fields of `Settings`.
        earlier: A project to compare with (see `read_project`).

    Raises:
        UserError: A setting is not possible, or the earlier project's settings differ.
    """
    mine, truth = _rows(store, plan, context, distrusted)
    findings = analyse(plan, list(mine.generations.values()), mine.scores, truth=truth or None,
                       settings={**(settings or {}), "screening": screening_from_json(store.document(DOCUMENT)),
                                 "manifest": dict(manifest)}, earlier=earlier)
    store.add_document("findings", to_json(findings))
    return findings


def read_project(store: Store, plan: Plan, *, context: str, distrusted: Collection[str] = ()) -> Project:
    """The stored rows of an earlier project, to compare with."""
    project, _ = _rows(store, plan, context, distrusted)
    findings = store.document("findings") or {}
    return replace(project, sentence=str(findings.get("recommendation", {}).get("sentence", "")))


def _rows(
    store: Store, plan: Plan, context: str, distrusted: Collection[str],
) -> tuple[Project, dict[str, bool]]:
    """What decides, and the ground truth apart from it."""
    cells = {cell.id for cell in plan.cells}
    scores = [score for score in newest(store.scores(context=context)) if score.cell in cells]
    truth = {score.cell: score.passed for score in scores if score.metric == TRUTH_METRIC and score.passed is not None}
    deciding = [
        replace(score, gate=None, passed=None) if score.metric in distrusted else score
        for score in scores if not score.metric.startswith("truth/")
    ]
    generations = {cell: generation for cell, generation in store.generations().items() if cell in cells}
    return Project(plan, generations, deciding), truth


def newest(scores: list[Score]) -> list[Score]:
    """Of each (cell, metric, rater) the score of the highest version."""
    best: dict[tuple[str, str, str], Score] = {}
    for score in scores:
        key = (score.cell, score.metric, score.rater)
        if key not in best or score.version > best[key].version:
            best[key] = score
    return list(best.values())


def stored_findings(store: Store) -> tuple[Plan, Findings] | None:
    """Plan and findings as last stored, or None when nothing was analysed yet."""
    plan, findings = store.document("plan"), store.document("findings")
    if plan is None or findings is None:
        return None
    return plan_from_json(plan), findings_from_json(findings)
