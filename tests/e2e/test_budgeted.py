"""A run within a budget, by the command line, on the weightless family: plan, rounds, kill, report, and in full."""

import json
import shutil
import subprocess
import sys
import time

import pytest

from e2e.painted import STRENGTHS, painted_project
from whichlora.plan.screening import screening_from_json
from whichlora.store import Store

pytestmark = pytest.mark.slow

BUDGET = ("--budget", "30s", "--seconds", "0.5")


def words(*arguments):
    return [sys.executable, "-m", "whichlora.cli.main", *map(str, arguments)]


def whichlora(*arguments, status=0):
    done = subprocess.run(words(*arguments), capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def stored(folder):
    with Store(folder) as store:
        return screening_from_json(store.document("screening")), store.generations()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return painted_project(tmp_path_factory.mktemp("budgeted") / "p", photos=5)


@pytest.fixture(scope="module")
def killed(project):
    """The same project, killed with -9 somewhere in its first and again in its second round."""
    folder = project.parent / "killed"
    shutil.copytree(project, folder)
    for cells in (20, 60):
        process = subprocess.Popen(words("run", folder, *BUDGET, "--in-process"), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        while process.poll() is None:
            if (folder / "store.sqlite").exists():
                try:
                    with Store(folder) as store:
                        if len(store.finished()) >= cells:
                            process.kill()
                            process.wait()
                            break
                except Exception:  # the file is being created
                    pass
            time.sleep(0.02)
    return folder


@pytest.fixture(scope="module")
def ran(project):
    plan = json.loads(whichlora("plan", project, *BUDGET, "--json").stdout)
    return plan, json.loads(whichlora("run", project, "--in-process", "--json").stdout)


def test_the_run_keeps_to_the_stored_plan(project, ran):
    plan, run = ran
    assert plan["photos"] == 5
    assert plan["screening"]
    assert plan["gpu_hours"] * 3600 <= 30
    screening, generations = stored(project)
    assert run["screening"]["out"] == dict(screening.out)
    assert len(screening.finalists) == 2
    assert set(screening.out) | set(screening.finalists) == set(STRENGTHS)
    assert run["cells"]["planned"] - run["cells"]["done"] == screening.saved > 0
    assert len(generations) == run["cells"]["done"]


def test_again_it_makes_nothing_and_decides_the_same(project, ran):
    before = stored(project)
    assert json.loads(whichlora("run", project, "--in-process", "--json").stdout)["screening"] == ran[1]["screening"]
    assert stored(project) == before


def test_a_killed_run_comes_to_the_same_decisions(project, ran, killed):
    whichlora("run", killed, *BUDGET, "--in-process")
    (mine, made), (other, others) = stored(project), stored(killed)
    assert other.out == mine.out
    assert other.finalists == mine.finalists
    assert {cell: row.image for cell, row in others.items()} == {cell: row.image for cell, row in made.items()}


def test_the_report_names_who_was_screened_out_and_recommends_none_of_them(project, ran):
    told = whichlora("report", project)
    screening, _ = stored(project)
    assert "screened out on the way" in told.stdout
    with Store(project) as store:
        found = store.document("findings")
    assert {row["name"]: row["screened_out"] for row in found["candidates"] if row["screened_out"]} == screening.out
    assert found["recommendation"]["candidate"] not in screening.out
    page = (project / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("screened out after") >= len(screening.out)


def test_in_full_nobody_is_screened_out(project, ran, killed):
    done = json.loads(whichlora("run", killed, "--full", "--in-process", "--json").stdout)
    assert done["screening"] is None
    assert done["cells"]["done"] == done["cells"]["planned"]
    assert "screened out" not in whichlora("report", killed).stdout


def test_wishes_that_contradict_or_cannot_be_met_are_refused(project):
    assert "contradict" in whichlora("run", project, "--full", "--budget", "3h", status=2).stderr
    assert "is no budget" in whichlora("plan", project, "--budget", "soon", status=2).stderr
    assert "the smallest comparison" in whichlora("plan", project, "--budget", "2s", "--seconds", "1", status=2).stderr
