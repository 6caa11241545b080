"""A run whose disk fills up waits, goes on when there is room, and ends with the pictures of a run that never did."""

from __future__ import annotations

import json
import sys

import pytest

from run import scenes
from store.small_disk import small_disk
from whichlora.families.painter import PLUGIN
from whichlora.plan.codec import plan_to_json
from whichlora.run.pictures import photograph_reader
from whichlora.run.runner import run_plan
from whichlora.store import Store

RUN = """
import json, shutil, sys
from pathlib import Path
from whichlora.families.painter import PLUGIN
from whichlora.plan.codec import plan_from_json
from whichlora.run.pictures import photograph_reader
from whichlora.run.runner import run_plan
from whichlora.store import Store
from whichlora.store.room import WaitForRoom
small, folder = Path(sys.argv[1]), Path(sys.argv[2])
plan = plan_from_json(json.loads((folder / "plan.json").read_text(encoding="utf-8")))
waits = []
def tell(words):
    if words.startswith("The disk is full"):
        waits.append(words)
        (small / "filler").unlink()
with Store(small / "project", create=True, when_full=WaitForRoom(small, tell, poll_s=0.01)) as store:
    (small / "filler").write_bytes(b"x" * (shutil.disk_usage(small).free - 150_000))
    summary = run_plan(plan, store, PLUGIN.load(plan.base, "cpu"), photograph_reader(plan, folder))
    pixels = {cell: row.facts["pixels"] for cell, row in store.generations().items()}
    print(json.dumps({"waits": len(waits), "failed": summary.failed, "pixels": pixels, "rotten": store.rotten()}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small file system of its own")
def test_a_run_on_a_full_disk_ends_with_the_same_pictures(tmp_path):
    plan, _, _ = scenes.build(tmp_path, photos=1)
    with Store(tmp_path / "reference", create=True) as store:
        run_plan(plan, store, PLUGIN.load(plan.base, "cpu"), photograph_reader(plan, tmp_path))
    (tmp_path / "plan.json").write_text(json.dumps(plan_to_json(plan)), encoding="utf-8")
    done = small_disk(tmp_path, RUN, tmp_path, size="8m")
    if done is None:
        pytest.skip("this machine lets nobody mount")
    said = json.loads(done.stdout or "{}")
    assert said, done.stderr
    assert (said["waits"], said["failed"], said["rotten"]) == (1, 0, {})
    assert said["pixels"] == scenes.pixels(tmp_path / "reference")
