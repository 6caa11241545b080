"""Pictures made in one pass are those made alone, and a pass that fails is nobody's fault until each was tried."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from families import tiny
from run import scenes
from run.crews import begin, cells_named, crew_run, fault_of, in_process, wait_until_gone
from whichlora import registry
from whichlora.errors import MachineError
from whichlora.plan.candidates import LoraFolder, resolve_candidates
from whichlora.plan.matrix import build_cases, build_plan
from whichlora.run.cellwork import CellWork, IdleClock
from whichlora.run.pace import Patience
from whichlora.run.pictures import photograph_reader
from whichlora.run.runner import run_plan
from whichlora.run.schedule import in_groups
from whichlora.store import Store
from whichlora.types import Cell

QUICK = Patience(first_s=60, load_s=60, least_s=4, factor=3)


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    site = str(scenes.install_faulty(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([site, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    plan, setup, _ = scenes.build(tmp_path, family="faulty", photos=1)
    yield tmp_path, plan, setup
    sys.modules.pop("faulty_painter", None)


def here(folder, plan, setup):
    """A run in this process with the family that makes several at once."""
    session = registry.load("families", "faulty").load(setup.base, "cpu")
    with Store(folder, create=True) as store:
        return run_plan(plan, store, session, photograph_reader(plan, setup.folder))


def passes(folder):
    """Pictures of every pass that made several; forgotten afterwards."""
    log = folder / "painter" / "together.log"
    found = [int(line) for line in log.read_text().split()] if log.is_file() else []
    log.unlink(missing_ok=True)
    return found


def generated(plan):
    controls = {row.name for row in plan.candidates if row.role == "control"}
    return [cell for cell in plan.cells if cell.candidate not in controls]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_two_at_a_time_make_the_same_pictures_in_half_the_passes(faulty, workers):
    folder, plan, setup = faulty
    want = in_process(folder / "alone", plan, setup)
    assert passes(folder) == []
    remark = "Host memory could not be page-locked: copies are slower, pictures are the same."
    scenes.break_at(folder, together=2, remarks=[remark])
    events = []
    if workers:
        summary, said, events = crew_run(folder / "out", plan, setup, workers)
        assert [text.partition(": ")[2] for text in said] == [remark], "said once, whoever says it"
        assert summary.restarts == 0
        assert (summary.made, summary.failed) == (len(want), 0)
        made = [event for event in events if event.kind == "cell"]
        assert [event.done for event in made] == list(range(1, len(want) + 1))
        assert made[-1].eta_s == 0
    else:
        here(folder / "out", plan, setup)
    assert scenes.pixels(folder / "out") == want
    # A database that is lost is told by its pictures: each must bear its own cell's id.
    with Store(folder / "out") as store:
        for cell, row in store.generations().items():
            with Image.open(store.images.path(row.image)) as picture:
                assert json.loads(picture.text["whichlora"])["cell"] == cell
    made = passes(folder)
    assert set(made) == {2}
    count = len(generated(plan))
    # The glimpse's two cells are blocks of one; of each block of odd size one cell is left over.
    assert count - 2 * len(made) <= (5 if workers < 2 else 9)
    if workers < 2:
        rows = [scenes.rows_of(folder / "out")[cell.id] for cell in generated(plan)]
        assert all(row.seconds["total"] > row.seconds["denoise"] > 0 for row in rows)


def test_the_session_has_the_last_word_on_what_fits_together(faulty):
    """Two photographs that the plan gives one size and that are of two."""
    folder, plan, setup = faulty
    scenes.break_at(folder, together=2)
    other = replace(plan.sources[0], id="other")
    first = next(case for case in plan.cases if not case.references)
    plan = replace(plan, sources=(plan.sources[0], other),
                   cases=(*plan.cases, replace(first, id="turned", source="other")))
    work = CellWork(registry.load("families", "faulty").load(setup.base, "cpu"))
    one, same, turned = (Cell(str(n), "a", case, n) for n, case in enumerate((first.id, first.id, "turned")))
    for tall, fits in ((72, True), (160, False)):
        work.begin(plan, lambda name, tall=tall: np.zeros((tall if name == "other" else 72, 96, 3), np.uint8))
        assert work.fit_together([one, same])
        assert work.fit_together([one, turned]) == fits
        assert not work.fit_together([one, replace(same, candidate="b")])
        assert not work.fit_together([one, same, same])


def test_no_picture_is_made_with_other_weights_than_its_own(faulty):
    """Nothing active, another candidate active, somebody else switched, two candidates in one pass."""
    _, plan, setup = faulty
    work = CellWork(registry.load("families", "faulty").load(setup.base, "cpu"))
    work.begin(plan, photograph_reader(plan, setup.folder))
    list(work.encode(plan.cells))
    base, a = cells_named(plan, "base")[0], cells_named(plan, "a")[:2]

    def refused(*cells):
        with pytest.raises(MachineError, match="other weights active"):
            work.make_together(cells)

    refused(*a)
    work.activate("base")
    refused(*a)
    assert len(work.make_together([base])) == 1
    work.activate("a")
    refused(a[0], base)
    refused(base)
    assert len(work.make_together(a)) == 2
    work.forget_active()
    refused(*a)


def test_each_picture_of_a_pass_tells_of_itself(faulty, monkeypatch):
    """Seed, settings and the cell's id go with the picture that they belong to; the time before the pass is shared."""
    _, plan, setup = faulty
    work = CellWork(registry.load("families", "faulty").load(setup.base, "cpu"))
    work.begin(plan, photograph_reader(plan, setup.folder))
    list(work.encode(plan.cells))
    first = cells_named(plan, "a")[0]
    another = next(cell for cell in cells_named(plan, "a") if cell.case != first.case)
    cells = [first, replace(another, id="another", seed=first.seed + 1)]
    work.activate("a")
    alone = {cell.id: work.make(cell) for cell in cells}
    monkeypatch.setattr(work._idle, "take", lambda: 3.0)
    order, session = [], work.session
    stock, reset = session.denoise_together, session.reset_peak_memory
    monkeypatch.setattr(session, "reset_peak_memory", lambda: (order.append("reset"), reset())[1])
    monkeypatch.setattr(session, "denoise_together", lambda *them: (order.append("made"), stock(*them))[1])
    for cell, made in zip(cells, work.make_together(cells), strict=True):
        assert (made.facts, made.parameters) == (alone[cell.id].facts, alone[cell.id].parameters)
        assert made.facts["seed"] == cell.seed
        assert f"Seed: {cell.seed}," in made.parameters
        assert made.seconds["gap"] == 1.5
    assert order == ["reset", "made"], "each pass has a peak of its own"


def test_a_cell_that_cannot_be_made_fails_alone(faulty):
    """Refused, out of memory, crashed: its neighbour's picture is made, and only it is to blame."""
    folder, plan, setup = faulty
    want = in_process(folder / "alone", plan, setup)
    base, first = cells_named(plan, "base"), cells_named(plan, "a")[1]  # the first of its pass
    bad = {base[2].id: "not finite", first.id: "CUDA out of memory"}
    scenes.break_at(folder, together=2, denoise=[
        {"match": fault_of(plan, base[2]), "how": "refuse"}, {"match": fault_of(plan, first), "how": "oom"}])
    summary, said, _ = crew_run(folder / "out", plan, setup, patience=QUICK)
    rows = scenes.rows_of(folder / "out")
    assert {cell for cell, row in rows.items() if row.status == "failed"} == set(bad)
    assert "not finite" in rows[base[2].id].error
    assert "twice" in rows[first.id].error
    assert {cell: row.facts["pixels"] for cell, row in rows.items() if row.status == "done"} == {
        cell: hashed for cell, hashed in want.items() if cell not in bad}
    # The pass of two, then it alone, twice: its neighbour never lost a try of its own.
    assert (summary.failed, summary.restarts, len(said)) == (2, 3, 3)


def test_in_this_process_too_a_failing_pass_is_tried_one_by_one(faulty):
    folder, plan, setup = faulty
    want = in_process(folder / "alone", plan, setup)
    bad = cells_named(plan, "a")[2]
    scenes.break_at(folder, together=2, denoise=[{"match": fault_of(plan, bad), "how": "oom"}])
    here(folder / "out", plan, setup)
    rows = scenes.rows_of(folder / "out")
    assert {cell for cell, row in rows.items() if row.status == "failed"} == {bad.id}
    assert all(rows[cell].facts["pixels"] == hashed for cell, hashed in want.items() if cell != bad.id)


def test_where_passes_keep_ending_workers_cells_are_made_alone(faulty):
    folder, plan, setup = faulty
    want = in_process(folder / "alone", plan, setup)
    scenes.break_at(folder, together=2, together_pass=[{"how": "exit"}], remarks=["Copies are slower."])
    summary, said, _ = crew_run(folder / "out", plan, setup, patience=QUICK)
    assert sum(text.endswith("Copies are slower.") for text in said) == 1, "three workers say it, once is enough"
    assert scenes.pixels(folder / "out") == want
    assert (summary.failed, summary.restarts) == (0, 2)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_run_loses_only_what_was_in_hand(faulty):
    folder, plan, setup = faulty
    want = in_process(folder / "alone", plan, setup)
    scenes.break_at(folder, together=2, forward_s=0.02)
    told = 0
    for number in range(6):
        process = begin(folder, plan, 1)
        fresh, pids = 0, set()
        for line in process.stdout:
            kind, *rest = line.split()
            pids.update(map(int, rest))
            fresh += kind == "cell"
            if fresh == 5 and kind == "cell" and number < 3:
                process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        wait_until_gone(pids)
        told += fresh
        if process.returncode == 0:
            break
    assert process.returncode == 0
    assert number == 3
    assert scenes.pixels(folder / "out") == want
    assert told == len(want), "a picture that was told of is not made again"
    denoised = len((folder / "painter" / "denoise.log").read_text().split())
    # Each kill may lose the pass at work, the finished one on its way, and begin anew with the canary.
    canaries = number + 1
    assert denoised - len(generated(plan)) - canaries <= 3 * 5


def test_groups_keep_the_order_and_only_what_is_alike():
    cells = [Cell(str(n), "c", "wide" if n % 3 else "tall", n) for n in range(10)]
    groups = list(in_groups(cells, 2, lambda cell: cell.case))
    assert sorted(cell.id for group in groups for cell in group) == sorted(cell.id for cell in cells)
    assert all(len({cell.case for cell in group}) == 1 for group in groups)
    assert [len(group) for group in groups] == [2, 2, 2, 2, 2]
    assert [group[0].id for group in groups] == ["0", "1", "4", "6", "7"]
    assert list(in_groups(cells, 1, lambda cell: cell.case)) == [[cell] for cell in cells]


def test_the_idle_clock_counts_only_between_work(monkeypatch):
    now = iter([0.0, 10.0, 13.0, 20.0, 21.0, 100.0, 101.0, 101.5])
    monkeypatch.setattr("whichlora.run.cellwork.time.perf_counter", lambda: next(now))
    clock = IdleClock()
    with clock.busy():  # ends at 0
        pass
    with clock.busy():  # 10 to 13
        pass
    assert clock.take() == 10.0
    with clock.busy():  # 20 to 21
        pass
    clock.forget()
    with clock.busy():  # ends at 100
        pass
    with clock.busy():  # from 101
        pass
    assert clock.take() == 1.0
    assert clock.take() == 0.0


def test_only_time_in_which_nothing_is_asked_of_the_device_is_waiting(faulty, monkeypatch):
    """Changes of weights, forwards and decoding take 100, 10 and 5 seconds of a made-up clock; waiting takes 1."""
    _, plan, setup = faulty
    now = [0.0]

    def slow(name, seconds):
        stock = getattr(work.session, name)

        def run(*arguments):
            now[0] += seconds
            return stock(*arguments)

        monkeypatch.setattr(work.session, name, run)

    monkeypatch.setattr("whichlora.run.cellwork.time", SimpleNamespace(perf_counter=lambda: now[0]))
    work = CellWork(registry.load("families", "faulty").load(setup.base, "cpu"))
    work.begin(plan, photograph_reader(plan, setup.folder))
    list(work.encode(plan.cells))
    for name, seconds in (("switch", 100), ("denoise", 10), ("decode", 5), ("round_trip", 7)):
        slow(name, seconds)
    gaps = []
    for row in ("base", "a", "a"):
        now[0] += 1
        work.activate(row)
        now[0] += 1
        made = work.make(cells_named(plan, row)[0])
        assert (made.seconds["denoise"], made.seconds["decode"]) == (10, 5)
        gaps.append(made.seconds["gap"])
    assert gaps == [1, 2, 2]


# ------------------------------------------------------------------------ the true code, streamed


def test_the_tiny_model_streamed_visits_blocks_once_for_two(tmp_path, monkeypatch):
    """The whole way from a plan to stored pictures: same pixels, and a block is brought once for two pictures."""
    from whichlora.families._qwen.streaming import StreamedStore

    monkeypatch.setenv("WHICHLORA_HOLD", "streamed")
    base = tiny.build(tmp_path / "base", layers=3)
    (tmp_path / "refs").mkdir()
    sources = []
    for seed, name in enumerate(("one", "two")):
        scenes.photograph(tmp_path / "refs" / f"{name}.png", seed)
        sources.append(scenes.source(tmp_path, tmp_path / "refs" / f"{name}.png", name))
    plan, session = plan_of_tiny(tmp_path, base, sources)
    found, loads, visits = {}, {}, {}
    stock, visit = StreamedStore.load, StreamedStore.visit
    for most in (1, 2):
        opened = session()
        count, seen = [], []
        monkeypatch.setattr(StreamedStore, "visit", lambda self, work, c=seen: (c.append(1), visit(self, work))[1])
        monkeypatch.setattr(StreamedStore, "load", lambda self, *rest, c=count: (c.append(1), stock(self, *rest))[1])
        monkeypatch.setattr(type(opened), "pictures_together", lambda self, sampler, most=most: most)
        machine = opened._machinery()
        machine.store.resident, machine.store._away = 1, (1, 2)
        with Store(tmp_path / str(most), create=True) as store:
            run_plan(plan, store, opened, photograph_reader(plan, tmp_path))
        found[most], loads[most], visits[most] = scenes.pixels(tmp_path / str(most)), len(count), len(seen)
    assert found[1] == found[2]
    assert "" not in found[1].values()
    assert len(found[1]) == len(plan.cells)
    # The glimpse makes one cell of each row; the others go two by two.
    steps, rest = 3, len(found[1]) // 2 - 1
    assert rest >= 4
    assert visits[1] == steps * len(found[1])
    assert visits[2] == steps * 2 * (1 + (rest + 1) // 2)
    assert loads[2] < 0.75 * loads[1]


def plan_of_tiny(folder, location, sources):
    from whichlora.suite.loading import parse_suite
    from whichlora.suite.templating import render_suite

    family = registry.load("families", "qwen_image_edit")
    base = family.identify(str(location), {})
    tiny.save_lora(folder / "a.safetensors", tiny.lora_tensors(1, layers=3))
    sampler = {"num_inference_steps": 3, "true_cfg_scale": 1.0, "reference_area_px": 64 * 64,
               "condition_area_px": 84 * 84}
    suite = parse_suite(render_suite(
        "figure", name="t", base={"location": "x", "family": "qwen_image_edit"}, subject="other",
        sources={"count": 2}, candidates=[{"name": "a", "loras": "a.safetensors"}], samplers={"default": sampler},
    ))
    rows, _ = resolve_candidates(suite, family.default_sampler(base), LoraFolder((folder,)))
    rows = [row for row in rows if row.role != "control"]
    cases, _ = build_cases(suite, sources, {})
    plan = build_plan(suite, base, rows, {"sources": tuple(sources)}, cases, {"torch": "x"}, {})
    return plan, lambda: family.load(base, "cpu")
