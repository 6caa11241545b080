"""The analysis stage: stored rows in, findings out and into the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from whichlora.analysis.analyse import analyse
from whichlora.findings import Findings, findings_from_json, to_json
from whichlora.plan.codec import plan_from_json
from whichlora.store import Store
from whichlora.types import Plan, Score

TRUTH_METRIC = "truth/consistent"
"""Grades from an exact ground truth, where one exists; shown apart, read by no decision."""


def analyse_store(
    store: Store, plan: Plan, *, context: str, manifest: Mapping[str, Any], distrusted: Collection[str] = ()
) -> Findings:
    """Analyse the newest scores of a plan and store the findings.

    Args:
        store: The project's rows.
        plan: The plan whose cells count.
        context: Scoring context, so that scores from other calibration photographs do not mix in.
        manifest: Settings and the command that repeats the run, for the report's footer.
        distrusted: Metrics that people's votes contradict: they inform and decide nothing.
    """
    cells = {cell.id for cell in plan.cells}
    scores = [score for score in newest(store.scores(context=context)) if score.cell in cells]
    truth = {score.cell: score.passed for score in scores if score.metric == TRUTH_METRIC and score.passed is not None}
    gradeless = [
        replace(score, gate=None, passed=None) if score.metric in distrusted else score
        for score in scores if not score.metric.startswith("truth/")
    ]
    generations = [generation for cell, generation in store.generations().items() if cell in cells]
    findings = analyse(plan, generations, gradeless, truth=truth or None, settings={"manifest": dict(manifest)})
    store.add_document("findings", to_json(findings))
    return findings


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
