"""A run makes every cell once, encodes every input once, and records failures instead of hiding them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from families import painters
from whichlora.errors import DiskFullError, MachineError, PhotoError, RefusedError
from whichlora.families.painter import PLUGIN
from whichlora.plan.candidates import LoraFolder, resolve_candidates
from whichlora.plan.matrix import build_cases, build_plan, encodings_needed
from whichlora.run.cellwork import CellWork
from whichlora.run.controls import fit
from whichlora.run.pictures import photograph_reader
from whichlora.run.runner import run_plan
from whichlora.store import Store
from whichlora.suite.loading import parse_suite
from whichlora.suite.templating import render_suite
from whichlora.types import SourceImage


def photograph(path, seed):
    draw = np.random.default_rng(seed)
    small = draw.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(small).resize((96, 72), Image.Resampling.BICUBIC).save(path)


def source(folder, path, name):
    import hashlib

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return SourceImage(name, path.relative_to(folder).as_posix(), digest, 96, 72)


@pytest.fixture
def scene(tmp_path):
    """Folder, plan and base of a small project: two photographs, two LoRAs, one of them few-step."""
    base = PLUGIN.identify(str(painters.base(tmp_path / "painter", faces=False)), {})
    (tmp_path / "refs").mkdir()
    photos = []
    for seed, name in enumerate(("one", "two", "else")):
        path = tmp_path / "refs" / f"{name}.png"
        photograph(path, seed)
        photos.append(source(tmp_path, path, name))
    painters.lora(tmp_path / "a.safetensors", camera=0.9, lighting=0.9)
    painters.lora(tmp_path / "b.safetensors", background=0.9)
    suite = parse_suite(render_suite(
        "figure", name="t", base={"location": "x", "family": "painter"}, subject="other", sources={"count": 2},
        candidates=[{"name": "a", "loras": "a.safetensors"}, {"name": "b", "loras": "b.safetensors", "trigger": "sks"}],
    ))
    rows, _ = resolve_candidates(suite, PLUGIN.default_sampler(base), LoraFolder((tmp_path,)))
    cases, _ = build_cases(suite, photos[:2], {})
    plan = build_plan(suite, base, rows, {"sources": tuple(photos[:2]), "impostors": tuple(photos[2:])}, cases,
                      {"numpy": "1"}, {})
    return tmp_path, plan, base


def run(scene, session=None, store=None, watch=lambda _: None):
    folder, plan, base = scene
    session = session or PLUGIN.load(base, "cpu")
    with store or Store(folder, create=True) as opened:
        return run_plan(plan, opened, session, photograph_reader(plan, folder), watch)


def rows_of(folder):
    with Store(folder) as store:
        return store.generations()


def test_every_cell_is_made_and_every_input_encoded_once(scene):
    folder, plan, base = scene
    session = PLUGIN.load(base, "cpu")
    summary = run(scene, session)
    rows = rows_of(folder)
    assert set(rows) == {cell.id for cell in plan.cells}
    assert all(row.status == "done" for row in rows.values())
    assert summary.made == len(rows)
    assert (session.counts["prompt"], session.counts["image"]) == encodings_needed(plan)


def test_a_second_run_does_nothing(scene):
    run(scene)
    session = PLUGIN.load(scene[2], "cpu")
    summary = run(scene, session)
    assert summary.made == 0
    assert session.counts == {"prompt": 0, "image": 0}


def test_pictures_do_not_depend_on_the_order_of_candidates(scene):
    folder, plan, base = scene
    run(scene)
    first = {cell: row.facts["pixels"] for cell, row in rows_of(folder).items()}
    other = folder / "other"
    turned = replace(plan, cells=tuple(reversed(plan.cells)))
    with Store(other, create=True) as store:
        run_plan(turned, store, PLUGIN.load(base, "cpu"), photograph_reader(plan, folder))
    assert {cell: row.facts["pixels"] for cell, row in rows_of(other).items()} == first


def test_base_and_first_lora_come_first(scene):
    seen = []
    run(scene, watch=lambda event: seen.append(event) if event.kind == "cell" else None)
    generated = [event for event in seen if event.candidate in {"base", "a", "b"}]
    assert [event.candidate for event in generated[:2]] == ["base", "a"]
    assert generated[0].case == generated[1].case


class Breaking:
    """A session whose model throws on chosen calls; everything else is the painter's."""

    def __init__(self, session, breaks):
        self._session, self._breaks, self.calls = session, breaks, 0

    def __getattr__(self, name):
        return getattr(self._session, name)

    def denoise(self, *arguments):
        self.calls += 1
        if self.calls in self._breaks:
            raise RuntimeError("CUDA error: out of memory\nmore lines")
        return self._session.denoise(*arguments)


def test_failures_are_rows_with_a_reason_and_the_others_finish(scene):
    folder, plan, base = scene
    summary = run(scene, Breaking(PLUGIN.load(base, "cpu"), {3, 5}))
    rows = rows_of(folder)
    failed = [row for row in rows.values() if row.status == "failed"]
    assert summary.failed == len(failed) == 2
    assert "out of memory" in failed[0].error
    assert "\n" not in failed[0].error
    assert len(rows) == len(plan.cells)
    again = run(scene)
    assert again.made == 2
    assert all(row.status == "done" for row in rows_of(folder).values())


class HalfLoaded(Breaking):
    """A session that reports fewer changed modules than the file has, as a dropped key would."""

    def switch(self, candidate):
        report = self._session.switch(candidate)
        return replace(report, modules_changed=report.modules_changed - 1) if candidate.name == "a" else report


class Refusing(Breaking):
    def switch(self, candidate):
        if candidate.name == "a":
            raise RefusedError("the file changed under our feet")
        return self._session.switch(candidate)


@pytest.mark.parametrize(("kind", "words"), [(HalfLoaded, "weaker LoRA"), (Refusing, "under our feet")])
def test_a_candidate_that_is_not_wholly_active_is_never_measured(scene, kind, words):
    folder, plan, base = scene
    run(scene, kind(PLUGIN.load(base, "cpu"), set()))
    rows = rows_of(folder)
    for cell in plan.cells:
        assert (rows[cell.id].status == "failed") == (cell.candidate == "a")
    assert words in next(rows[cell.id].error for cell in plan.cells if cell.candidate == "a")


def test_a_changed_photograph_stops_the_run_before_it_is_mistaken(scene):
    folder, _, _ = scene
    photograph(folder / "refs" / "one.png", 99)
    with pytest.raises(PhotoError, match="has changed"):
        run(scene)


def test_a_full_disk_stops_the_run_and_keeps_what_is_finished(scene, monkeypatch):
    folder, plan, _ = scene
    from whichlora.store import images

    real, count = images.write_durably, [0]

    def full_after_three(path, data):
        count[0] += 1
        if count[0] > 3:
            raise DiskFullError("The disk is full.")
        real(path, data)

    monkeypatch.setattr(images, "write_durably", full_after_three)
    with pytest.raises(DiskFullError):
        run(scene)
    assert sum(row.status == "done" for row in rows_of(folder).values()) >= 3
    assert not any(row.status == "failed" for row in rows_of(folder).values())
    monkeypatch.undo()
    run(scene)
    assert len(rows_of(folder)) == len(plan.cells)


def test_pictures_carry_settings_but_no_candidate_name(scene):
    folder, plan, _ = scene
    run(scene)
    rows = rows_of(folder)
    cell = next(cell for cell in plan.cells if cell.candidate == "b")
    with Store(folder) as store, Image.open(store.images.path(rows[cell.id].image)) as image:
        assert "Seed: 1" in image.text["parameters"]
        assert "sks " in image.text["parameters"]
        assert plan.candidates[2].adapters[0].sha256[:10] in image.text["parameters"]


def test_fit_never_stretches():
    picture = np.zeros((60, 90, 3), np.uint8)
    picture[20:40, 35:55] = 255  # a square in the middle
    fitted = fit(picture, 128, 128)
    rows, cols = np.nonzero(fitted[..., 0] > 128)
    assert fitted.shape == (128, 128, 3)
    assert abs(np.ptp(rows) - np.ptp(cols)) <= 2


def test_reader_and_folder_agree(scene):
    folder, plan, _ = scene
    read = photograph_reader(plan, folder)
    assert np.array_equal(read("one"), np.asarray(Image.open(Path(folder) / "refs" / "one.png").convert("RGB")))


def test_a_cell_is_never_made_while_another_candidate_is_active(scene):
    folder, plan, base = scene
    work = CellWork(PLUGIN.load(base, "cpu"))
    work.begin(plan, photograph_reader(plan, folder))
    list(work.encode(plan.cells))
    mine = {name: next(cell for cell in plan.cells if cell.candidate == name) for name in ("a", "b")}
    with pytest.raises(MachineError, match="other weights"):
        work.make(mine["a"])
    assert work.activate("a")[0] == ""
    assert work.make(mine["a"]).picture.size
    with pytest.raises(MachineError, match="'b'"):
        work.make(mine["b"])
    work.forget_active()
    with pytest.raises(MachineError, match="'a'"):
        work.make(mine["a"])
