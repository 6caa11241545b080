"""The review stage: stored rows in, the document 'people' into the store. Reports and the analysis read it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whichlora.review.summary import summarise
from whichlora.review.votes import from_row
from whichlora.store import Store
from whichlora.types import Plan

DOCUMENT = "people"
"""Name of the stored document."""


def summarise_store(store: Store, plan: Plan, *, context: str) -> dict[str, Any]:
    """Sum up what people said of a plan and store it; nothing is stored, and {} returned, while nobody has voted.

    Args:
        store: The project's rows.
        plan: The plan whose pictures count.
        context: Scoring context, so that scores from other calibration photographs do not mix in.
    """
    votes = [vote for row in store.votes() if (vote := from_row(row)) is not None]
    if not votes and store.document(DOCUMENT) is None:
        return {}
    scores = [score for score in store.scores(context=context) if not score.metric.startswith("truth/")]
    people = summarise(plan, store.generations(), scores, votes)
    store.add_document(DOCUMENT, people)
    return people


def distrusted(people: Mapping[str, Any]) -> frozenset[str]:
    """Metrics that may not decide for this character, because their agreement with people is no better than chance."""
    return frozenset(row["metric"] for row in people.get("metrics", ()) if row["may_decide"] is False)
