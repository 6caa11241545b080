"""Gates of a cell: failures stay, silence is not consent."""

import pytest

from whichlora.analysis.cells import judge
from whichlora.types import Cell, EditCase, Generation, Score

CASE = EditCase("p/left", "p", "left", "camera", "turn", {})
FREE = EditCase("p/free", "p", "free", "camera", "turn", {}, keep=())
CELL = Cell("c", "one", "p/left", 0)


def verdict(*scores, status="done", case=CASE):
    generation = Generation("c", status, "i", {"total": 1.0}, 0)
    cell = Cell("c", "one", case.id, 0)
    found = judge([cell], {case.id: case}, {"c": generation}, scores)
    assert len(found) == 1
    return found[0]


def edit(passed, reason="", metric="following/camera", version=1, rater=""):
    return Score("c", metric, version, None if passed is None else 1.0, reason, passed, "edit", rater)


def identity(passed, reason="", metric="identity/face", value=0.5, rater=""):
    return Score("c", metric, 1, value, reason, passed, "identity", rater)


CLEAN = Score("c", "artifacts/severe", 1, 0.0, "", True, "artefact")


def test_all_gates_passed():
    assert verdict(edit(True), identity(True), CLEAN).passed is True


def test_a_failed_generation_fails_everything():
    found = verdict(edit(True), identity(True), CLEAN, status="failed")
    assert found.passed is False
    assert set(found.gates.values()) == {False}
    assert found.faults == ("generation failed",)


def test_any_metric_that_says_no_fails_the_gate():
    assert verdict(edit(True), identity(True), identity(False, metric="identity/figure"), CLEAN).passed is False


def test_a_metric_without_a_say_has_none():
    other = identity(False, "not applicable: a photograph", "identity/figure", None)
    assert verdict(edit(True), identity(True), other, CLEAN).passed is True
    assert verdict(edit(True), other, CLEAN).gates["identity"] is None


def test_silence_of_all_is_unscored_and_silence_of_one_is_not():
    silent = identity(None, "not measured: blurred", value=None)
    assert verdict(edit(True), silent, CLEAN).passed is None
    assert verdict(edit(True), silent, identity(True, metric="identity/figure"), CLEAN).passed is True


def test_a_failure_elsewhere_decides_despite_silence():
    assert verdict(edit(False), identity(None, "not measured", value=None), CLEAN).passed is False


@pytest.mark.parametrize("scores", [(), (identity(True), CLEAN)])
def test_an_edit_nobody_checked_is_unscored(scores):
    assert verdict(*scores).gates["edit"] is None
    assert verdict(*scores).passed is None


def test_identity_counts_only_where_it_must_be_kept():
    assert verdict(edit(True), CLEAN).passed is None
    assert verdict(edit(True), CLEAN, case=FREE).passed is True


def test_a_missing_face_is_a_failure_with_a_name():
    found = verdict(edit(True), identity(False, "no face found", value=None), CLEAN)
    assert found.passed is False
    assert found.faults == ("face missing",)
    assert verdict(edit(True), identity(False), CLEAN).faults == ("identity lost",)


def test_a_no_op_is_named():
    still = Score("c", "following/unchanged", 1, 0.0, detail={"no_op": True})
    found = verdict(edit(False), identity(True), CLEAN, still)
    assert found.no_op is True
    assert found.faults == ("nothing changed",)


def test_severe_artefacts_are_named_by_kind():
    bad = Score("c", "artifacts/severe", 1, 2.0, "grid", False, "artefact", detail={"found": [
        {"kind": "grid", "severity": "severe"}, {"kind": "banding", "severity": "mild"}]})
    assert verdict(edit(True), identity(True), bad).faults == ("grid",)


def test_the_newest_version_counts_in_any_order():
    old, new = edit(True, version=1), edit(False, version=2)
    assert verdict(old, new, identity(True), CLEAN).passed is False
    assert verdict(new, old, identity(True), CLEAN).passed is False


def test_people_fill_silence_but_do_not_overrule():
    yes, no = (edit(said, metric="review/edit", rater=who) for said, who in ((True, "ann"), (False, "ben")))
    silent = edit(None, "not measured: no verifier")
    assert verdict(silent, yes, identity(True), CLEAN).passed is True
    assert verdict(silent, yes, no, identity(True), CLEAN).passed is None
    assert verdict(edit(False), yes, identity(True), CLEAN).passed is False


def test_cells_that_were_not_attempted_are_left_out():
    assert judge([CELL], {CASE.id: CASE}, {}, []) == []
