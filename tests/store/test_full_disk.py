"""A full disk makes a run wait and go on, on a real small file system; and a run that cannot fit is not begun."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from store.small_disk import small_disk
from whichlora.errors import DiskFullError
from whichlora.store import Store, room
from whichlora.store.room import WaitForRoom, room_for
from whichlora.types import BaseModel, Candidate, Cell, EditCase, Generation, Plan, SamplerProfile

FILL = """
import os, sys
from pathlib import Path
from whichlora.store import Store
from whichlora.store.room import WaitForRoom
from whichlora.types import Generation
root = Path(sys.argv[1])
os.statvfs(root)
filler = root / "filler"
filler.write_bytes(b"x" * int(sys.argv[2]))
told = []
def tell(words):
    told.append(words)
    print("told:", words, flush=True)
    if words.startswith("The disk is full"):
        filler.unlink(missing_ok=True)  # somebody makes room
with Store(root / "project", create=True, when_full=WaitForRoom(root, tell, poll_s=0.01, patience_s=60)) as store:
    for number in range(40):
        image = store.images.put(b"%04d" % number * 2500)
        store.add_generation(Generation(f"c{number}", "done", image, {}, 0))
    print("rows", len(store.finished()), "rotten", len(store.forget_rotten()), "parts", len(store.images.unfinished()))
    print("waits", sum(words.startswith("The disk") for words in told))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small file system of its own")
@pytest.mark.parametrize("filler", [1_200_000, 1_100_000, 1_000_000])
def test_a_run_on_a_full_disk_waits_and_ends_with_every_row(tmp_path, filler):
    done = small_disk(tmp_path, FILL, filler)
    if done is None:
        pytest.skip("this machine lets nobody mount; bench/chaos.py fails the same calls with ENOSPC")
    assert "rows 40 rotten 0 parts 0" in done.stdout, done.stdout + done.stderr
    assert "waits 1" in done.stdout
    assert "There is room again" in done.stdout


def test_without_room_the_wait_ends_as_an_error_and_nothing_is_half_written(tmp_path, monkeypatch):
    from whichlora.store import images

    def full(path, data):
        raise DiskFullError("The disk is full.")

    told = []
    waiting = WaitForRoom(tmp_path, told.append, patience_s=0.05, poll_s=0.01)
    monkeypatch.setattr(room, "free_bytes", lambda _: 0)
    with Store(tmp_path, create=True, when_full=waiting) as store:
        monkeypatch.setattr(images, "write_durably", full)
        with pytest.raises(DiskFullError):
            store.images.put(b"x")
        assert len(told) == 1
        monkeypatch.undo()
        store.images.put(b"x")
    assert not list((tmp_path / "images").rglob("*.part"))


def test_a_quota_that_no_look_at_the_disk_shows_is_tried_again(tmp_path, monkeypatch):
    from whichlora.store import images

    real, left = images.write_durably, [3]

    def full(path, data):
        if left[0]:
            left[0] -= 1
            raise DiskFullError("Quota.")
        real(path, data)

    told = []
    monkeypatch.setattr(images, "write_durably", full)
    monkeypatch.setattr(room, "free_bytes", lambda _: 0)  # no room ever shows
    waiting = WaitForRoom(tmp_path, told.append, patience_s=60, poll_s=0.01, retry_s=0.02)
    with Store(tmp_path, create=True, when_full=waiting) as store:
        assert store.images.intact(store.images.put(b"x"))


def plan(count, area=1_000_000):
    cells = tuple(Cell(f"c{n}", "base", "s/e", n) for n in range(count))
    base = BaseModel("b", "painter", "x", "f")
    row = Candidate("base", role="base", sampler=SamplerProfile(reference_area_px=area))
    case = EditCase("s/e", "s", "e", "camera", "turn", {})
    return Plan("p", base, (row,), (), (), (), (case,), cells, (),
                "other", (), 0.7, {})


def test_room_is_estimated_from_this_projects_pictures_and_too_little_is_refused(tmp_path, monkeypatch):
    free = [10**12]
    monkeypatch.setattr(room, "free_bytes", lambda _: free[0])
    with Store(tmp_path, create=True) as store:
        guess = room_for(plan(100), store)
        assert (guess.pictures, guess.measured, guess.warning) == (100, False, "")
        assert guess.needed_bytes == 200_000_000
        free[0] = 250_000_000
        assert "may have to wait" in room_for(plan(100), store).warning
        free[0] = 99_000_000
        with pytest.raises(DiskFullError, match="100 pictures need about 200 MB"):
            room_for(plan(100), store)
        for number in range(4):
            image = store.images.put(bytes([number]) * 50_000)
            store.add_generation(Generation(f"c{number}", "done", image, {}, 0))
        known = room_for(plan(100), store)
        assert (known.pictures, known.needed_bytes, known.measured) == (96, 96 * 50_000, True)
        assert room_for(replace(plan(4)), store).needed_bytes == 0


def test_the_environment_sets_the_patience(tmp_path, monkeypatch):
    monkeypatch.setenv("WHICHLORA_WAIT_FOR_ROOM_S", "12.5")
    assert WaitForRoom(tmp_path, print).patience_s == 12.5
    monkeypatch.setenv("WHICHLORA_WAIT_FOR_ROOM_S", "soon")
    assert WaitForRoom(tmp_path, print).patience_s > 3600
