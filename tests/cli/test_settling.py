"""Which plan is used: a named budget, else the stored one, else everything if it fits one night."""

import pytest
import yaml

from e2e.painted import painted_project
from whichlora.cli._budget import PaceUnknownError, Wish, available, keep_design, settle, stored_design
from whichlora.cli.project import draft_rows, identify_base, open_project
from whichlora.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return painted_project(tmp_path_factory.mktemp("settling") / "p", photos=5, edited=2)


@pytest.fixture(scope="module")
def given(folder):
    project = open_project(folder)
    family, base = identify_base(project, "cpu")
    return project, base, draft_rows(project, family, base)[0], "cpu"


@pytest.fixture(autouse=True)
def forget(folder):
    yield
    for path in folder.glob("store.sqlite*"):
        path.unlink()


def test_nothing_known_is_measured_in_full(given):
    found = settle(*given, Wish())
    assert not found.design.screened
    assert (found.design.photos, found.design.seconds) == (2, None)
    assert "not known yet" in found.remark
    with pytest.raises(PaceUnknownError):
        settle(*given, Wish("1h"))


def test_what_fits_a_night_is_measured_in_full_and_what_does_not_is_cut(given):
    assert not settle(*given, Wish(seconds=30)).design.screened
    slow = settle(*given, Wish(seconds=400))
    assert slow.design.seconds <= 8 * 3600
    assert slow.design.photos == 2  # no more than the suite asks for, unless a budget is named
    assert "more than one night" in slow.remark
    assert settle(*given, Wish(seconds=400, full=True)).design.seconds > 8 * 3600


def test_a_budget_may_edit_photographs_that_the_suite_left_alone(given):
    found = settle(*given, Wish("2h", seconds=30))
    assert found.design.photos == 5 == len(available(given[0]))
    chosen = {item.id for item in found.project.photos["sources"]}
    assert len(chosen) == 5
    assert not chosen & {item.id for item in found.project.photos["calibration"]}


def test_a_stored_plan_is_kept_until_another_wish(given):
    project = given[0]
    first = settle(*given, Wish("10m", seconds=30)).design
    keep_design(project, first)
    assert stored_design(project.workspace.folder) == first
    assert settle(*given, Wish()).design == first
    assert settle(*given, Wish("10m", seconds=99)).design == first
    assert settle(*given, Wish("20m", seconds=30)).design != first
    assert settle(*given, Wish(full=True)).design.budget_s is None


def test_a_changed_suite_gets_a_new_plan_for_the_same_budget(given, folder):
    keep_design(given[0], settle(*given, Wish("10m", seconds=30)).design)
    path = folder / "whichlora.yaml"
    before = path.read_text(encoding="utf-8")
    suite = yaml.safe_load(before)
    suite["edits"] = suite["edits"][:3]
    path.write_text(yaml.safe_dump(suite), encoding="utf-8")
    try:
        found = settle(open_project(folder), *given[1:3], "cpu", Wish(seconds=30))
    finally:
        path.write_text(before, encoding="utf-8")
    assert "the suite has changed" in found.remark
    assert found.design.budget_s == 600
    assert len(found.design.edits) <= 3


def test_a_budget_for_nothing_is_refused(given):
    with pytest.raises(UserError, match="the smallest comparison"):
        settle(*given, Wish("1m", seconds=30))
