"""What is known of each picture's worth: gates as the analysis sees them, people as they voted.

For the verbs that pass pictures on; decides nothing anew.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whichlora.analysis.cells import Verdict
    from whichlora.export.pairs import Judgement
    from whichlora.store import Store
    from whichlora.types import Plan


def judgements(store: Store, plan: Plan) -> dict[str, Judgement]:
    """Cell id → judgement, for every cell that was made."""
    from whichlora.export.pairs import Judgement

    said = _people(store)
    return {
        verdict.cell.id: Judgement(verdict.gates, said.get(verdict.cell.id)) for verdict in verdicts(store, plan)
    }


def verdicts(store: Store, plan: Plan) -> list[Verdict]:
    """Verdicts of every cell that was made, with the gates of the analysis.

    Metrics that people's votes contradict decide nothing here either.
    """
    from dataclasses import replace

    from whichlora.analysis.cells import judge
    from whichlora.analysis.stage import newest
    from whichlora.metrics.stage import scoring_context
    from whichlora.review.stage import DOCUMENT, distrusted

    doubted = distrusted(store.document(DOCUMENT) or {})
    scores = [
        replace(score, gate=None, passed=None) if score.metric in doubted else score
        for score in newest(store.scores(context=scoring_context(plan))) if not score.metric.startswith("truth/")
    ]
    cases = {case.id: case for case in plan.cases}
    return judge(plan.cells, cases, store.generations(), scores)


def _people(store: Store) -> dict[str, bool]:
    """What most people said of a picture that they looked at: single ratings, and 'both bad' of a pair.

    A rating accepts a picture when neither identity nor edit is called bad. A picture on whose worth people are split
    is rejected: what is doubtful teaches nothing.
    """
    from whichlora.review.votes import from_row, standing
    from whichlora.store.votes import GOOD_RATING

    votes: dict[str, list[bool]] = defaultdict(list)
    stands = standing(vote for row in store.votes() if (vote := from_row(row)) is not None)
    for rating in stands.ratings:
        given = [value for value in (rating.identity, rating.edit) if value is not None]
        if given:
            votes[rating.cell].append(min(given) >= GOOD_RATING)
    for pair in stands.pairs:
        if pair.answer == "both-bad":
            votes[pair.left].append(False)
            votes[pair.right].append(False)
    return {cell: 2 * sum(answers) > len(answers) for cell, answers in votes.items()}
