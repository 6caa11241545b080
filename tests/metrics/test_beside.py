"""Scoring in a process of its own beside a run: the same rows, one writer, and a run that its end does not end."""

import json
import subprocess
import sys
from dataclasses import asdict, replace

import psutil
import pytest

from metrics.photos import OWN, astronaut, portrait, scaled, vae_like
from metrics.projects import make_cells, plan_of
from whichlora.errors import ProjectError
from whichlora.metrics import beside as beside_module
from whichlora.metrics.beside import BesideScorer, follow
from whichlora.metrics.stage import PictureScorer, lacking, score_plan, scoring_context
from whichlora.plan.codec import plan_to_json
from whichlora.run.pictures import photograph_reader
from whichlora.store import Store
from whichlora.types import EditCase

KEEP = ("identity", "background")


def project(folder):
    """Three edits of photographs; base gives a copy, something like it, and somebody else."""
    own = [scaled(portrait(name), 256) for name in OWN]
    edits = [
        EditCase("own-0/turn", "own-0", "turn", "camera", "turn", {"yaw_deg": 45}, KEEP),
        EditCase("own-0/smile", "own-0", "smile", "expression", "smile", {"expression": "smile"}, KEEP),
        EditCase("own-1/beach", "own-1", "beach", "background", "beach", {"background": "beach"}),
    ]
    rows = {"base": [vae_like(own[0]), own[0], scaled(astronaut(), 256)[: own[1].shape[0], : own[1].shape[1]]]}
    return plan_of(folder, "photograph", own, [scaled(astronaut(), 256)], edits, rows), rows


def rows_of(store, plan):
    return {(row.cell, row.metric): row for row in store.scores(context=scoring_context(plan))}


@pytest.fixture(scope="module")
def afterwards(tmp_path_factory):
    """The rows that scoring after the run gives."""
    folder = tmp_path_factory.mktemp("afterwards")
    plan, rows = project(folder)
    make_cells(folder, plan, rows, {"base", "do-nothing"})
    with Store(folder) as store:
        score_plan(plan, store, photograph_reader(plan, folder))
        return rows_of(store, plan)


@pytest.fixture
def running(tmp_path):
    """A project about to be run, and what makes a row's pictures."""
    plan, rows = project(tmp_path)
    Store(tmp_path, create=True).close()
    return tmp_path, plan, lambda *names: make_cells(tmp_path, plan, rows, set(names))


def test_the_rows_are_those_of_scoring_afterwards(running, afterwards):
    folder, plan, make = running
    seen = []
    with Store(folder) as store, BesideScorer(folder, store) as scorer:
        first = make("do-nothing")  # as an earlier, interrupted run left them
        scorer.begin(plan)
        assert scorer.sent == len(first)
        for cell in make("base"):
            scorer.finished(cell)
            scorer.finished(cell)  # told twice, scored once
            scorer.collect()
        process = scorer._process
        assert scorer.settle(lambda done, total: seen.append((done, total)))
        assert scorer.sent == scorer.scored == len(first) + 3
        assert seen[-1] == (scorer.sent, scorer.sent)
        assert scorer.spent_s > 0
        assert rows_of(store, plan) == afterwards
        assert lacking(plan, store, scoring_context(plan)) == []
        scorer.begin(replace(plan))  # a plan that grew: nothing is left to tell
        assert scorer.sent == len(first) + 3
    assert process.poll() == 0  # its input ended, and so did it


def test_the_scorer_needs_no_store_and_its_parent_asks_for_leave_before_it_writes(running, tmp_path_factory):
    folder, plan, make = running
    home = tmp_path_factory.mktemp("home")
    cells = make("base")

    def lost():
        raise ProjectError("Another machine took over.")

    with Store(folder) as there, Store(home, create=True) as ours:
        for row in there.generations().values():
            ours.add_generation(row)
    for file in folder.glob("store.sqlite*"):
        file.unlink()
    with Store(home, guard=lost) as store, BesideScorer(folder, store) as scorer:
        scorer.begin(plan)
        assert scorer.sent == len(cells)
        with pytest.raises(ProjectError, match="took over"):
            scorer.settle()
        assert rows_of(store, plan) == {}
    assert not list(folder.glob("store.sqlite*"))


@pytest.mark.parametrize(("program", "why"), [
    ("import sys; sys.exit('out of memory, say')", "status 1, out of memory, say"),
    ("print('hello', flush=True); import time; time.sleep(60)", "no answer"),
    (None, "ended: "),
])
def test_a_scorer_that_dies_or_talks_nonsense_ends_no_run(running, afterwards, program, why):
    folder, plan, make = running
    said = []
    command = [sys.executable, "-c", program] if program else ["/nowhere/python"]
    with Store(folder) as store:
        with BesideScorer(folder, store, said.append, command) as scorer:
            scorer.begin(plan)
            for cell in make("base", "do-nothing"):
                scorer.finished(cell)
                scorer.collect()
            settled = scorer.settle()
            assert not scorer.alive
            assert settled is (scorer.sent == 0)
        assert len(said) == 1
        assert why in said[0]
        score_plan(plan, store, photograph_reader(plan, folder))
        assert rows_of(store, plan) == afterwards


def test_what_a_killed_scorer_left_is_made_up_for(running, afterwards):
    folder, plan, make = running
    with Store(folder) as store:
        with BesideScorer(folder, store) as scorer:
            scorer.begin(plan)
            for cell in make("base", "do-nothing"):
                scorer.finished(cell)
            process = scorer._process
            scorer._hear(scorer._answers.get(timeout=120))
            process.kill()
            assert not scorer.settle()
        assert {cell for cell, _ in rows_of(store, plan)} < {cell for cell, _ in afterwards}
        score_plan(plan, store, photograph_reader(plan, folder))
        assert rows_of(store, plan) == afterwards


def test_a_silent_scorer_is_given_up(running, monkeypatch):
    folder, plan, make = running
    monkeypatch.setattr(beside_module, "SILENT_S", 0.3)
    said = []
    make("base")
    with (
        Store(folder) as store,
        BesideScorer(folder, store, said.append, [sys.executable, "-c", "import sys; sys.stdin.read()"]) as scorer,
    ):
        scorer.begin(plan)
        process = scorer._process
        assert not scorer.settle()
        assert "no answer for" in said[0]
    assert process.poll() is not None


def test_a_damaged_picture_keeps_no_other_from_being_scored(running):
    folder, plan, make = running
    cells = make("base")
    with Store(folder) as store, BesideScorer(folder, store) as scorer:
        store.images.path(store.generation(cells[0]).image).write_bytes(b"spoilt")
        scorer.begin(plan)
        assert not scorer.settle()
        assert scorer.alive
        assert {cell for cell, _ in rows_of(store, plan)} == set(cells[1:])


def test_the_subject_is_calibrated_once_for_all_pictures(running, monkeypatch):
    from whichlora.metrics import stage

    folder, plan, make = running
    make("base")
    calls, answers = [], []
    original = stage.prepare_all
    monkeypatch.setattr(stage, "prepare_all", lambda *args: calls.append(1) or original(*args))
    with Store(folder) as store:
        tasks = lacking(plan, store, scoring_context(plan))
        lines = [json.dumps({"plan": plan_to_json(plan)}), *(json.dumps({"task": asdict(task)}) for task in tasks)]
        follow(lines, answers.append, lambda of: PictureScorer(of, store.images, photograph_reader(of, folder)))
        assert [answer["cell"] for answer in answers] == [task.generation.cell for task in tasks]
        assert len(calls) == 1
        assert rows_of(store, plan) == {}  # the child's side writes nothing


def test_a_killed_parent_leaves_no_scorer(running):
    folder, _, _ = running
    program = (
        "import sys, time; from pathlib import Path; from whichlora.store import Store;"
        "from whichlora.metrics.beside import BesideScorer; folder = Path(sys.argv[1]);"
        "print(BesideScorer(folder, Store(folder))._process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True) as parent:
        scorer = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    psutil.wait_procs([scorer], timeout=60)
    assert not scorer.is_running() or scorer.status() == psutil.STATUS_ZOMBIE
