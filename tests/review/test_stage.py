"""Votes reach the decision and the report: a metric that people contradict loses its say, and both are printed."""

import numpy as np
import pytest

from review import planted
from whichlora.analysis.stage import analyse_store
from whichlora.metrics.stage import scoring_context
from whichlora.report.html import write_report
from whichlora.report.stage import report_input
from whichlora.review.stage import distrusted, summarise_store
from whichlora.review.votes import PairVote, Rating, new_id, now, to_row
from whichlora.store import Store


@pytest.fixture
def voted(tmp_path):
    """Machines like what people dislike: every picture that passed identity was rated 1, every other 5."""
    plan = planted.make_project(tmp_path / "p", planted.make_plan(photos=8, edits=3, seeds=(1,)))
    rng = np.random.default_rng(0)
    with Store(tmp_path / "p") as store:
        passed = {s.cell: s.passed for s in store.scores() if s.metric == "identity/figure"}
        cells = [cell.id for cell in plan.cells if not cell.candidate.startswith("control")]
        said = [
            Rating(new_id(), "Ada <b>", now(), str(cell), 1 if passed[str(cell)] else 5, 4, (), "not her <script>")
            for cell in rng.choice(cells, 60, replace=False)
        ]
        pairs = [PairVote(new_id(), "Ada <b>", now(), "edit", cells[n], cells[n + 24], "left", "random", 0.1)
                 for n in range(24)]
        store.add_votes([to_row(vote) for vote in [*said, *pairs]])
        yield store, plan, tmp_path / "p"


def test_a_metric_that_people_contradict_decides_nothing(voted):
    store, plan, _ = voted
    context = scoring_context(plan)
    people = summarise_store(store, plan, context=context)
    assert distrusted(people) >= {"identity/figure"}
    before = analyse_store(store, plan, context=context, manifest={})
    after = analyse_store(store, plan, context=context, manifest={}, distrusted=distrusted(people))
    unscored = [row.cells["unscored"] for row in after.candidates]
    assert sum(unscored) > sum(row.cells["unscored"] for row in before.candidates)
    assert store.document("people") == people


def test_the_report_prints_people_beside_metrics(voted):
    store, plan, folder = voted
    context = scoring_context(plan)
    summarise_store(store, plan, context=context)
    findings = analyse_store(store, plan, context=context, manifest={})
    page = write_report(report_input(store, plan, findings, folder, context=context), folder / "report")
    text = page.index.read_text(encoding="utf-8")
    assert "What people said" in text
    assert "may not decide" in text
    assert "Where people and metrics differ" in text
    assert "<script>\"" not in text
    assert "not her <script>" not in text
    assert "not her &lt;script&gt;" in text


def test_without_votes_nothing_is_stored_or_printed(tmp_path):
    plan = planted.make_project(tmp_path / "p", planted.make_plan(photos=2, edits=1, seeds=(1,)))
    with Store(tmp_path / "p") as store:
        assert summarise_store(store, plan, context=scoring_context(plan)) == {}
        assert store.document("people") is None
        findings = analyse_store(store, plan, context=scoring_context(plan), manifest={})
        given = report_input(store, plan, findings, tmp_path / "p", context=scoring_context(plan))
        page = write_report(given, tmp_path / "p" / "report")
    assert "What people said" not in page.index.read_text(encoding="utf-8")
