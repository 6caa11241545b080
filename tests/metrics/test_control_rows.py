"""Control rows of a scored project: what must be 0 is 0; the score stage."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metrics import figures
from metrics.photos import OWN, astronaut, portrait
from metrics.projects import CONTROLS, make_cells, plan_of
from whichlora.analysis.cells import judge
from whichlora.metrics.base import Measurement
from whichlora.metrics.stage import score_plan, scoring_context
from whichlora.run.pictures import photograph_reader
from whichlora.store import Store
from whichlora.types import EditCase, Generation

KEEP = ("identity", "background")


def figure_project(folder):
    """Two edits on two pictures of the character; base does them perfectly."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    own = figures.references()
    edits = [
        EditCase("own-0/turn", "own-0", "turn", "camera", "turn", {"yaw_deg": 45}, KEEP),
        EditCase("own-1/beach", "own-1", "beach", "background", "beach", {"background": "beach"}),
    ]
    rows = {"base": [figures.edited_to("camera", "right_45")[0], figures.edited_to("background", "beach")[1]],
            "stranger": figures.strangers()[:2]}
    return plan_of(folder, "figure", own, figures.strangers(), edits, rows), rows


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    plan, rows = figure_project(folder)
    make_cells(folder, plan, rows)
    with Store(folder) as store:
        store.add_generation(Generation("c1-base-crashed", "failed", None, {}, 0, "out of memory"))
        summary = score_plan(plan, store, photograph_reader(plan, folder))
        assert summary.pictures == len(plan.cells)
        again = score_plan(plan, store, photograph_reader(plan, folder))
        assert again.pictures == 0
        return plan, store.scores(context=scoring_context(plan)), store.generations()


def verdicts(scored):
    plan, scores, generations = scored
    cases = {case.id: case for case in plan.cases}
    by_row: dict[str, list] = {}
    for item in judge(plan.cells, cases, generations, scores):
        by_row.setdefault(item.cell.candidate, []).append(item)
    return by_row


def test_doing_nothing_has_a_rate_of_zero(scored):
    for row in ("do-nothing", "vae-round-trip"):
        for item in verdicts(scored)[row]:
            assert item.passed is False
            assert item.gates["edit"] is False
            assert item.gates["identity"] is True
            assert item.no_op is True


def test_another_person_fails_identity(scored):
    for item in (*verdicts(scored)["other-person"], *verdicts(scored)["stranger"]):
        assert item.gates["identity"] is False
        assert item.passed is False


def test_real_pairs_keep_their_identity(scored):
    assert all(item.gates["identity"] is True for item in verdicts(scored)["real-pair"])


def test_perfect_edits_pass(scored):
    assert [item.passed for item in verdicts(scored)["base"]] == [True, True]


def test_every_control_row_is_there(scored):
    assert set(CONTROLS) < set(verdicts(scored))


def test_portraits_have_the_same_control_rows(tmp_path):
    own = [portrait(name) for name in OWN]
    edits = [EditCase("own-0/smile", "own-0", "smile", "expression", "smile more", {"expression": "surprised"}, KEEP),
             EditCase("own-1/sunset", "own-1", "sunset", "lighting", "sunset", {"light": "sunset"})]
    plan = plan_of(tmp_path, "photograph", own, [portrait("vice-president"), astronaut()], edits, {})
    make_cells(tmp_path, plan, {})
    with Store(tmp_path) as store:
        score_plan(plan, store, photograph_reader(plan, tmp_path))
        rows = verdicts((plan, store.scores(context=scoring_context(plan)), store.generations()))
    for name in ("do-nothing", "vae-round-trip"):
        assert [item.gates["edit"] for item in rows[name]] == [False, False]
        assert [item.passed for item in rows[name]] == [False, False]
    assert [item.gates["identity"] for item in rows["other-person"]] == [False, False]
    assert [item.gates["identity"] for item in rows["real-pair"]] == [True, True]


def test_packs_enter_the_context_and_their_absence_changes_nothing(scored):
    plan = scored[0]
    assert scoring_context(replace(plan, identity_packs=())) == scoring_context(plan)
    assert scoring_context(replace(plan, identity_packs=("ccip",))) != scoring_context(plan)


def test_a_metric_that_was_not_shown_to_work_decides_nothing(monkeypatch):
    from whichlora import registry
    from whichlora.metrics import trust
    from whichlora.metrics.stage import _score

    metric = registry.load("metrics", "identity/figure")
    wrong = Measurement(3.0, "another figure", False, {})
    assert _score("c", metric, wrong, "figure").gate == "identity"
    table = dict(trust.table())
    for entry in ({"version": metric.version, "auc": 0.84}, {"version": metric.version + 1, "auc": 0.99},
                  {"version": metric.version, "auc": None}, None):
        changed = {**table, "metrics": {"identity/figure": entry} if entry else {}}
        monkeypatch.setattr(trust, "table", lambda changed=changed: changed)
        withheld = _score("c", metric, wrong, "figure")
        assert withheld.gate is None
        assert "exact truth" in withheld.detail["gate_withheld"]
        assert _score("c", metric, wrong, "photograph").gate == "identity"
        unscored = _score("c", metric, Measurement(None, "not measured: x"), "figure")
        assert unscored.gate == "identity"  # nothing could be told: that must stay visible
