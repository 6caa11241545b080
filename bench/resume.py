"""How long a large project takes to go on: reading its plan, what is finished, and what is left, for 10,000 cells.

    python bench/resume.py             10,000 cells, half of them finished
    python bench/resume.py --quick     1,000

Prints seconds, the best of five, and separately the scrub that reads and hashes every stored picture. Exit status 1
when the plan of 10,000 cells takes more than 2 s of processor time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from whichlora.plan.codec import plan_from_json, plan_to_json
from whichlora.run.schedule import blocks, pending_cells
from whichlora.store import Store
from whichlora.types import AdapterUse, BaseModel, Candidate, Cell, EditCase, Plan, SourceImage, fingerprint

AIM_S = 2.0


def large_plan(cells: int) -> Plan:
    """A plan of that many cells: 20 rows, 25 photographs, every edit once."""
    rows = [Candidate("base", role="base")]
    rows += [Candidate(f"lora {n}", (AdapterUse(f"lora {n}", f"/loras/{n}.safetensors", f"{n:064}"),))
             for n in range(19)]
    sources = tuple(
        SourceImage(f"photo {n}", f"refs/{n}.jpg", f"{n:064}", 1024, 1024, {"yaw_deg": n, "faces": 1, "sharpness": 9.5})
        for n in range(25))
    count = cells // len(rows)
    cases = tuple(
        EditCase(f"photo {n % 25}/edit {n // 25}", f"photo {n % 25}", f"edit {n // 25}", "camera",
                 "将镜头向左旋转45度 Rotate the camera 45 degrees to the left.", {"yaw_deg": 45})
        for n in range(count))
    made = tuple(Cell(f"c1-{fingerprint([row.name, case.id])}", row.name, case.id, 1) for row in rows for case in cases)
    base = BaseModel("Qwen/Qwen-Image-Edit-2509", "qwen_image_edit", "/models/x", "f" * 24)
    return Plan("large", base, tuple(rows), sources, (), (), cases, made, (), "photograph", ("camera",), 0.7,
                {"torch": "2.9.0", "diffusers": "0.36.0", "transformers": "4.57.0"})


def fill(folder: Path, plan: Plan, size: int) -> int:
    """Store half of the cells with pictures of so many bytes; quickly, so without flushing. Returns bytes written."""
    facts = {"height_px": 1024, "width_px": 1024, "pixels": "0" * 64, "libraries": dict(plan.libraries), "seed": 1}
    done = plan.cells[: len(plan.cells) // 2]
    rows: list[tuple[Any, ...]] = []
    block = os.urandom(size)
    with Store(folder, create=True) as store:
        store.add_document("plan", plan_to_json(plan))
        for cell in done:
            data = cell.id.encode() + block
            sha256 = hashlib.sha256(data).hexdigest()
            path = store.images.path(sha256)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            rows.append((cell.id, "done", sha256, '{"total": 9.1}', 1, "", json.dumps(facts)))
    with closing(sqlite3.connect(folder / "store.sqlite")) as db, db:
        db.executemany("INSERT INTO generations VALUES (?,?,?,?,?,?,?)", rows)
    return len(done) * (size + 27)


def go_on(folder: Path) -> int:
    """What a run does before its first new picture, without the model: plan, finished, order. Returns cells left."""
    with Store(folder) as store:
        document = store.document("plan")
        assert document is not None
        plan = plan_from_json(document)
        pending = pending_cells(plan, store.finished())
        return sum(len(cells) for _, cells in blocks(plan, pending))


def best(work: Callable[[], Any], times: int = 5) -> tuple[float, float]:
    """Shortest (wall-clock, processor) seconds."""
    walls, processor = [], []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        processor.append(time.process_time() - cpu)
    return min(walls), min(processor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,000 cells")
    parser.add_argument("--cells", type=int, default=None, help="cells of the plan (10,000)")
    asked = parser.parse_args()
    cells = asked.cells or (1000 if asked.quick else 10_000)
    folder = Path(tempfile.mkdtemp(prefix="whichlora-resume-"))
    try:
        plan = large_plan(cells)
        written = fill(folder, replace(plan), 100_000)
        left = go_on(folder)
        wall, cpu = best(lambda: go_on(folder))
        print(f"resume plan of {len(plan.cells):,} cells, {left:,} left: {wall:.2f} s ({cpu:.2f} s of processor time)")

        def scrub() -> None:
            with Store(folder) as store:
                assert store.rotten() == {}

        wall_scrub, cpu_scrub = best(scrub, 2)
        print(f"scrub of {len(plan.cells) // 2:,} pictures, {written / 1e6:.0f} MB: {wall_scrub:.2f} s "
              f"({cpu_scrub:.2f} s of processor time, {written / 1e6 / wall_scrub:.0f} MB/s)")
    finally:
        shutil.rmtree(folder)
    raise SystemExit(1 if cpu > AIM_S * max(1.0, cells / 10_000) else 0)


if __name__ == "__main__":
    main()
