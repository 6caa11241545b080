"""Which plan is used (a named budget, else the stored one, else everything if it fits one night), and what is said."""

import json

import pytest
import yaml

from e2e.painted import painted_project
from whichlora.cli._budget import PaceUnknownError, Wish, available, keep_design, settle, stored_design
from whichlora.cli.main import main
from whichlora.cli.project import draft_rows, identify_base, open_project
from whichlora.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return painted_project(tmp_path_factory.mktemp("settling") / "p", photos=7, edited=3)


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
    assert (found.design.photos, found.design.seconds) == (3, None)
    assert "not known yet" in found.remark
    with pytest.raises(PaceUnknownError):
        settle(*given, Wish("1h"))


def test_what_fits_a_night_is_measured_in_full_and_what_does_not_is_cut(given):
    assert not settle(*given, Wish(seconds=30)).design.screened
    slow = settle(*given, Wish(seconds=400))
    assert slow.design.seconds <= 8 * 3600
    assert slow.design.photos == 3  # no more than the suite asks for, unless a budget is named
    assert "more than one night" in slow.remark
    assert settle(*given, Wish(seconds=400, full=True)).design.seconds > 8 * 3600


def test_a_budget_may_edit_photographs_that_the_suite_left_alone(given):
    found = settle(*given, Wish("2h", seconds=30))
    assert found.design.photos == 7 == len(available(given[0]))
    chosen = {item.id for item in found.project.photos["sources"]}
    assert len(chosen) == 7
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


def said(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    assert not left.value.code
    return capsys.readouterr()


def planned(capsys, *arguments):
    return json.loads(said(capsys, "plan", *arguments, "--json").out)


def test_the_totals_of_a_plan_are_those_of_its_cells(folder, capsys):
    told = planned(capsys, folder, "--seconds", 10)
    asked = told["cells"] - told["controls"]
    # Rows × photographs × edits × seeds, less what a photograph shows already.
    assert 7 * 3 * 4 * 2 * 0.8 < asked < 7 * 3 * 4 * 2
    assert told["made"] == asked
    assert told["gpu_hours"] * 3600 == pytest.approx(10 * asked)
    assert told["already_there"] == 0


def test_the_totals_of_a_screening_are_too(folder, capsys):
    told = planned(capsys, folder, "--seconds", 10, "--budget", "40m")
    asked = told["cells"] - told["controls"]
    assert told["screening"][-1]["steps"] == asked // 7 < 7 * 4 * 2
    assert f"{told['made']} pictures instead of {asked}" in told["why"][1]
    assert told["gpu_hours"] * 3600 == pytest.approx(10 * told["made"])
    assert told["gpu_hours"] * 3600 <= 2400


def test_a_run_that_can_show_nothing_says_so_before_it_starts(folder, capsys, monkeypatch):
    from whichlora.cli import stages

    before = []
    real = stages.make

    def make(*arguments, **words):
        before.append(" ".join(capsys.readouterr().err.split()))
        return real(*arguments, **words)

    monkeypatch.setattr(stages, "make", make)
    said(capsys, "run", folder, "--in-process")
    assert "note With 3 photographs no difference to base can be shown (needs 6 or more)" in before[0]
    assert "12 photographs at about the same cost" in before[0]
    said(capsys, "run", folder, "--in-process")
    assert "no difference" not in before[1]  # nothing is left to pay for
    told = planned(capsys, folder)
    assert told["already_there"] == told["cells"]
    dry = " ".join(said(capsys, "run", folder, "--dry-run").out.split())
    assert f"0 of {told['cells']} pictures are missing" in dry
