"""Worker processes that crash, hang or lie: nothing finished is lost, nothing is made twice, every reason is told."""

import importlib
import os
import signal
import sys
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest

from run import scenes
from run.crews import begin, cells_named, crew_run, fault_of, in_process, wait_until_gone
from whichlora.errors import DiskFullError, MachineError, PhotoError
from whichlora.run.crew import Crew
from whichlora.run.inprocess import InProcessMaker
from whichlora.run.local import LocalExecutor
from whichlora.run.pace import Patience
from whichlora.store import Store

QUICK = Patience(first_s=60, load_s=60, least_s=4, factor=3)
"""Long enough for a busy machine: the painter's cells take milliseconds."""


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    """A small project of the breaking family: folder, plan, setup, rows."""
    site = str(scenes.install_faulty(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([site, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    yield tmp_path, *scenes.build(tmp_path, family="faulty", photos=1)
    sys.modules.pop("faulty_painter", None)


def test_one_worker_two_workers_and_none_make_the_same_pictures(tmp_path):
    plan, setup, rows = scenes.build(tmp_path)
    want = in_process(tmp_path / "alone", plan, setup)
    assert len(want) == len({cell.id for cell in plan.cells})
    for workers in (1, 2):
        out = tmp_path / f"by-{workers}"
        seen = []
        with Store(out, create=True) as store, Crew(LocalExecutor(setup, workers), setup, store) as crew:
            admitted, refused = crew.admit(rows, seen.append)
            assert ([row.name for row in admitted], refused) == ([row.name for row in rows], [])
            events = []
            summary = crew.make(plan, None, events.append)
        assert scenes.pixels(out) == want
        assert (summary.made, summary.failed, summary.restarts) == (len(want), 0, 0)
        assert summary.tail_cells <= 1
        assert sorted(report.candidate for report in seen) == ["a", "b"]
        assert all(report.effect > report.noise_floor for report in seen)
        made = [event for event in events if event.kind == "cell"]
        if workers == 1:
            assert [event.candidate for event in made[:2]] == ["base", "a"]
            assert made[0].case == made[1].case
        assert [event.done for event in made] == list(range(1, len(want) + 1))
        assert made[-1].eta_s == 0
    # The project is finished: nobody is hired, and what the gate said is remembered.
    with Store(out) as store, Crew(NoExecutor(), setup, store) as crew:
        assert [row.name for row in crew.admit(rows)[0]] == [row.name for row in rows]
        assert crew.make(plan).made == 0
        # Other weights of the same files are another question, and need a worker.
        stronger = replace(rows[1], adapters=(replace(rows[1].adapters[0], weight=0.5),))
        with pytest.raises(AssertionError, match="nobody should be hired"):
            crew.admit([stronger])


class NoExecutor:
    size = 1

    def hire(self, number, inbox):
        raise AssertionError("nobody should be hired")

    def close(self):
        pass


def test_a_cell_that_ends_its_worker_is_tried_once_more_and_then_a_failure(faulty):
    folder, plan, setup, _ = faulty
    want = in_process(folder / "alone", plan, setup)
    assert "" not in want.values()
    once, *always = (cells_named(plan, name)[1] for name in ("base", "base", "a", "b"))
    always[0] = cells_named(plan, "base")[2]
    how = {"crash": "violation" if sys.platform == "win32" else "SIGSEGV", "oom": "CUDA out of memory",
           "hang": "no progress"}
    scenes.break_at(folder, denoise=[
        {"match": fault_of(plan, once), "how": "exit", "once": True},
        *({"match": fault_of(plan, cell), "how": kind} for cell, kind in zip(always, how, strict=True)),
    ])
    summary, said, _ = crew_run(folder / "out", plan, setup, patience=QUICK)
    rows = scenes.rows_of(folder / "out")
    for cell, words in zip(always, how.values(), strict=True):
        assert rows[cell.id].status == "failed"
        assert words in rows[cell.id].error
        assert "twice" in rows[cell.id].error
    broken = {cell.id for cell in always}
    assert {cell: row.facts["pixels"] for cell, row in rows.items() if row.status == "done"} == {
        cell: hashed for cell, hashed in want.items() if cell not in broken
    }
    assert (summary.failed, summary.restarts, len(said)) == (3, 7, 7)
    # Mended, the same project finishes; what was done stays.
    scenes.break_at(folder)
    again, _, _ = crew_run(folder / "out", plan, setup)
    assert (again.made, again.skipped) == (3, len(want) - 3)
    assert scenes.pixels(folder / "out") == want


def test_a_file_that_ends_the_worker_is_refused_and_the_others_are_compared(faulty):
    folder, _, setup, rows = faulty
    scenes.break_at(folder, probe=[{"match": "a", "how": "crash"}])
    with Store(folder / "out", create=True) as store, Crew(LocalExecutor(setup, 1), setup, store) as crew:
        admitted, refused = crew.admit(rows)
        assert "a" not in [row.name for row in admitted]
        assert "b" in [row.name for row in admitted]
        assert refused[0]["name"] == "a"
        assert "ended the worker twice" in refused[0]["reason"]
        # Such an answer is not kept: the next run looks again.
        scenes.break_at(folder)
        assert crew.admit(rows)[1] == []


def test_when_no_worker_can_begin_the_run_stops_and_says_why(faulty):
    folder, plan, setup, rows = faulty
    scenes.break_at(folder, load=[{"how": "oom"}])
    said = []
    with Store(folder / "out", create=True) as store, \
            Crew(LocalExecutor(setup, 1), setup, store, say=said.append) as crew:
        with pytest.raises(MachineError, match=r"before they can begin.*out of memory"):
            crew.make(plan)
        # No LoRA is to blame for a base that does not even work alone.
        scenes.break_at(folder, switch=[{"how": "oom"}])
        with pytest.raises(MachineError, match="before they can begin"):
            crew.admit(rows)
    assert len(said) == 6
    assert scenes.rows_of(folder / "out") == {}


def test_a_device_that_computes_differently_from_before_makes_nothing(faulty):
    folder, plan, setup, _ = faulty
    first = {cell.id for cell in cells_named(plan, "base")}
    with Store(folder / "out", create=True) as store, Crew(LocalExecutor(setup, 1), setup, store) as crew:
        crew.make(plan, first)
        before = scenes.pixels(folder / "out")
        assert set(before) == first
        scenes.break_at(folder, load=[{"how": "noise"}])
        # The worker at hand is as before; a new one is not.
        cell = cells_named(plan, "a")[0].id
        assert crew.make(plan, {cell}).made == 1
    before = scenes.pixels(folder / "out")
    with pytest.raises(MachineError, match=r"test picture came out differently.*denoising or decoding differs"):
        crew_run(folder / "out", plan, setup)
    assert scenes.pixels(folder / "out") == before


def test_a_candidate_none_of_whose_cells_can_be_made_is_not_tried_to_the_end(faulty):
    folder, plan, setup, _ = faulty
    scenes.break_at(folder, denoise=[{"match": "a|", "how": "exit"}])
    summary, _, _ = crew_run(folder / "out", plan, setup)
    rows = scenes.rows_of(folder / "out")
    mine = [rows[cell.id] for cell in cells_named(plan, "a")]
    assert all(row.status == "failed" for row in mine)
    assert sum("twice" in row.error for row in mine) >= 3
    assert sum("not tried" in row.error for row in mine) >= len(mine) - 5
    assert {row.status for cell, row in rows.items() if cell not in {c.id for c in cells_named(plan, "a")}} == {"done"}
    assert summary.failed == len(mine)
    assert set(rows) == {cell.id for cell in plan.cells}


def test_rows_that_come_later_are_made_although_the_encoders_are_gone(tmp_path):
    plan, setup, _ = scenes.build(tmp_path, photos=1)
    narrow = replace(plan, candidates=plan.candidates[:2], cases=plan.cases[:2],
                     cells=tuple(cell for cell in plan.cells[:2]))
    want = in_process(tmp_path / "alone", plan, setup)
    for kind in ("crew", "here"):
        out = tmp_path / kind
        with Store(out, create=True) as store:
            maker = Crew(LocalExecutor(setup, 1), setup, store) if kind == "crew" else InProcessMaker(setup, store)
            with maker:
                assert maker.make(narrow).made == 2
                only = {plan.cells[5].id}
                summary = maker.make(plan, only)
                # A worker that must begin anew has done nothing wrong.
                assert (summary.made, summary.restarts) == (1, 0)
                assert maker.make(plan).made == len(want) - 3
        assert scenes.pixels(out) == want


def test_a_changed_photograph_and_a_full_disk_stop_the_run_and_leave_no_worker(tmp_path, monkeypatch):
    plan, setup, _ = scenes.build(tmp_path, photos=1)
    path = tmp_path / "refs" / "photo-0.png"
    as_it_was = path.read_bytes()
    scenes.photograph(path, 99)
    with pytest.raises(PhotoError, match="has changed"):
        crew_run(tmp_path / "out", plan, setup)
    path.write_bytes(as_it_was)
    from whichlora.store import images

    real, count = images.write_durably, [0]

    def full_after_three(path, data):
        count[0] += 1
        if count[0] > 3:
            raise DiskFullError("The disk is full.")
        real(path, data)

    monkeypatch.setattr(images, "write_durably", full_after_three)
    with pytest.raises(DiskFullError):
        crew_run(tmp_path / "out", plan, setup)
    rows = scenes.rows_of(tmp_path / "out")
    assert 1 <= len(rows) <= 3
    assert all(row.status == "done" for row in rows.values())
    assert not [child for child in psutil.Process().children() if "whichlora.run.worker" in " ".join(child.cmdline())]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupted_again_and_again_a_run_ends_like_one_that_never_was(faulty):
    folder, plan, setup, _ = faulty
    want = in_process(folder / "alone", plan, setup)
    scenes.break_at(folder, forward_s=0.05)
    told, interruptions = 0, 0
    for number in range(8):
        process = begin(folder, plan, 1 + number % 2)
        how = (signal.SIGKILL, signal.SIGINT)[number % 2]
        fresh, pids, stopped = 0, set(), False
        for line in process.stdout:
            kind, *rest = line.split()
            stopped |= kind == "stopped"
            pids.update(map(int, rest))
            fresh += kind == "cell"
            if fresh == 6 and kind == "cell":
                process.send_signal(how)
        process.wait()
        process.stdout.close()
        wait_until_gone(pids)
        told += fresh
        if process.returncode == 0:
            break
        interruptions += 1
        assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
        assert stopped == (how == signal.SIGINT)
    assert process.returncode == 0
    assert interruptions >= 3
    assert scenes.pixels(folder / "out") == want
    # A picture that was told of is stored: none of them was made again.
    assert told == len(want)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a stopped process cannot notice")
def test_a_worker_that_cannot_notice_anything_ends_with_its_killed_parent(faulty):
    folder, plan, _, _ = faulty
    scenes.break_at(folder, forward_s=0.01)
    process = begin(folder, plan, 1)
    pids = next(line.split()[1:] for line in process.stdout if line.startswith("cell"))
    worker = int(pids[0])
    os.kill(worker, signal.SIGSTOP)
    process.kill()
    process.wait()
    process.stdout.close()
    try:
        wait_until_gone([worker])
    finally:
        if psutil.pid_exists(worker):
            os.kill(worker, signal.SIGKILL)


def test_a_parent_that_is_gone_already_is_noticed(monkeypatch):
    """Killed between the worker's start and its wish to end with it, the parent sends no signal any more."""
    from whichlora.run import worker

    def leave(code):
        raise SystemExit(code)

    monkeypatch.setattr(worker.os, "_exit", leave)
    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace(prctl=lambda *_: 0))
    for parents, ends in (((100, 1), True), ((100, 100), False)):
        seen = iter(parents)
        monkeypatch.setattr(worker.os, "getppid", lambda seen=seen: next(seen))
        if ends and sys.platform == "linux":
            with pytest.raises(SystemExit):
                worker._die_with_parent()
        else:
            worker._die_with_parent()
