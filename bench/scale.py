"""Measures runs: interruptions, out-of-memory at every cell, several workers, the time left, resuming, and Ray.

    python bench/scale.py [--quick] [--ray] [--json]

Pictures are made by the painter family behind a plug-in that crashes, hangs and sleeps to order: a 'forward' of it is a
sleep, so its speed-ups show what handing out work costs, not what a GPU does. `--quick` interrupts 6 times instead of
100 and lets every sixth cell run out of memory instead of each; `--ray` adds a cluster of four workers on this
machine, of which one is killed and one loses its node.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# This file's own folder goes: it would hide the tests' folders of the same names.
sys.path[:] = [str(ROOT / "src"), str(ROOT / "tests"), *(p for p in sys.path if Path(p).resolve() != ROOT / "bench")]

SAMPLERS = {
    "default": {"num_inference_steps": 40, "true_cfg_scale": 4.0, "reference_area_px": 4096},
    "few-steps": {"num_inference_steps": 8, "true_cfg_scale": 1.0, "reference_area_px": 4096},
}
LORAS = {"a": {"camera": 0.9, "lighting": 0.9}, "b": {"background": 0.9}, "c": {"expression": 0.4}}
Figure = dict[str, Any]


def project(folder: Path, **wishes: Any) -> tuple[Any, Any]:
    """A project of the breaking family inside a fresh folder: plan and setup."""
    from run import scenes

    site = str(scenes.install_faulty(folder))
    os.environ["PYTHONPATH"] = site
    sys.path[:] = [site, *(path for path in sys.path if not path.endswith("/site"))]
    importlib.invalidate_caches()
    sys.modules.pop("faulty_painter", None)
    plan, setup, _ = scenes.build(folder, family="faulty", **wishes)
    return plan, setup


def run_here(folder: Path, plan: Any, setup: Any) -> dict[str, str]:
    """The pictures of a run without any trouble."""
    from run import scenes
    from whichlora.families.painter import PLUGIN
    from whichlora.run.pictures import photograph_reader
    from whichlora.run.runner import run_plan
    from whichlora.store import Store

    with Store(folder, create=True) as store:
        run_plan(plan, store, PLUGIN.load(setup.base, "cpu"), photograph_reader(plan, setup.folder))
    return scenes.pixels(folder)


def run_crew(
    folder: Path, plan: Any, setup: Any, workers: int = 1, watch: Callable[[Any], None] = lambda _: None
) -> tuple[Any, dict[str, Any], Any]:
    """A run with workers: its summary, rows and canary."""
    from whichlora.run.crew import Crew
    from whichlora.run.local import LocalExecutor
    from whichlora.run.pace import Patience
    from whichlora.store import Store

    with Store(folder, create=True) as store, \
            Crew(LocalExecutor(setup, workers), setup, store, patience=Patience(least_s=60)) as crew:
        return crew.make(plan, None, watch), store.generations(), store.document("canary")


CHILD = """
import json, sys
from pathlib import Path
from whichlora.plan.codec import plan_from_json
from whichlora.run.crew import Crew
from whichlora.run.executor import Setup
from whichlora.run.local import LocalExecutor
from whichlora.store import Store
folder = Path(sys.argv[1])
plan = plan_from_json(json.loads((folder / "plan.json").read_text(encoding="utf-8")))
setup = Setup(plan.base, "cpu", folder, plan.libraries)
with Store(folder / "out", create=True) as store, Crew(LocalExecutor(setup, int(sys.argv[2])), setup, store) as crew:
    try:
        crew.make(plan, None, lambda e: print(
            e.kind, e.cell, *(place.hand.pid for place in crew.places if place.hand), flush=True))
    except KeyboardInterrupt:
        raise SystemExit(130)
"""


def interruptions(folder: Path, times: int) -> list[Figure]:
    """Interrupt a run again and again (kill, Ctrl-C, kill of a worker), and compare with one that never was."""
    from run import scenes
    from whichlora.plan.codec import plan_to_json

    photos = max(2, times // 2)
    plan, setup = project(folder, photos=photos)
    want = run_here(folder / "alone", plan, setup)
    scenes.break_at(folder, forward_s=0.005)
    (folder / "plan.json").write_text(json.dumps(plan_to_json(plan)), encoding="utf-8")
    draw, told, left = random.Random(1), Counter[str](), times
    kinds = Counter[str]()
    for number in range(10 * times):
        process = subprocess.Popen([sys.executable, "-c", CHILD, str(folder), str(1 + number % 2)],
                                   stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(
                                       [os.environ["PYTHONPATH"], str(ROOT / "src")])})
        assert process.stdout is not None
        after, how = draw.randint(1, 6), ("kill", "ctrl-c", "kill of a worker")[number % 3]
        fresh = 0
        for line in process.stdout:
            kind, *rest = line.split()
            if kind != "cell":
                continue
            told[rest[0]] += 1
            fresh += 1
            if fresh == after and left > 0:
                left -= 1
                kinds[how] += 1
                if how == "kill of a worker":
                    os.kill(int(rest[1]), signal.SIGKILL)
                    # The run goes on with another worker, so it is interrupted once more.
                    after, how = fresh + draw.randint(2, 6), "kill"
                else:
                    process.send_signal(signal.SIGKILL if how == "kill" else signal.SIGINT)
        process.wait()
        if process.returncode == 0 and left <= 0:
            break
        if process.returncode == 0:
            raise SystemExit("the project is too small for so many interruptions")
    got = scenes.pixels(folder / "out")
    return [
        figure("interruptions", times - left, times),
        figure("cells that differ from a run never interrupted", sum(got.get(c) != want[c] for c in want), 0, low=True),
        figure("acknowledged cells made again", sum(count - 1 for count in told.values()), 0, low=True),
        figure("rows too many", len(set(got) - set(want)), 0, low=True),
        note("kinds", dict(kinds)), note("cells", len(want)),
    ]


def out_of_memory(folder: Path, every: int) -> list[Figure]:
    """Let one cell after another run out of memory for good; all others must finish beside an unchanged canary."""
    from run import scenes

    plan, setup = project(folder, photos=1)
    want = run_here(folder / "alone", plan, setup)
    cases = {case.id: case for case in plan.cases}
    rows = {row.name: row for row in plan.candidates}
    generated = [cell for cell in plan.cells if rows[cell.candidate].role != "control"]
    tried = generated[::every]
    wrong, canaries = 0, set()
    for number, cell in enumerate(tried):
        prompt = cases[cell.case].prompt
        scenes.break_at(folder, denoise=[{"match": f"{cell.candidate}|{prompt}|{cell.seed}|", "how": "oom"}])
        _, got, canary = run_crew(folder / f"out-{number}", plan, setup)
        fine = {key: row.facts["pixels"] for key, row in got.items() if row.status == "done"}
        wrong += fine != {key: value for key, value in want.items() if key != cell.id}
        wrong += "out of memory" not in got[cell.id].error
        canaries.add(json.dumps(canary))
    return [
        figure("runs in which one cell ran out of memory", len(tried), len(tried)),
        figure("of them with another cell missing or different", wrong, 0, low=True),
        figure("different canaries among them", len(canaries), 1, low=True),
    ]


def pace(folder: Path, forward_s: float) -> list[Figure]:
    """Time left against truth where rows differ tenfold in cost; and two workers against one."""
    from run import scenes

    plan, setup = project(folder, photos=2, loras=LORAS, samplers=SAMPLERS, of={"b": "few-steps", "c": "few-steps"})
    scenes.break_at(folder, forward_s=forward_s, switch_s=20 * forward_s, decode_s=forward_s)
    seen: list[tuple[float, float | None]] = []
    one: list[tuple[float, str]] = []

    def watch(event: Any) -> None:
        if event.kind == "cell":
            seen.append((time.monotonic(), event.eta_s))
            one.append((time.monotonic(), event.cell))

    summary, _, _ = run_crew(folder / "one", plan, setup, 1, watch)
    end, begin = seen[-1][0], seen[0][0]
    total = end - begin
    judged = [(at, eta) for at, eta in seen if eta is not None and 0.05 <= (at - begin) / total <= 0.9]
    of_total = [abs(at - begin + eta - total) / total for at, eta in judged]
    of_rest = [abs(eta - (end - at)) / (end - at) for at, eta in judged]
    at_one = end - _start(one, folder / "one")
    two: list[tuple[float, str]] = []
    both, _, _ = run_crew(folder / "two", plan, setup, 2,
                          lambda e: two.append((time.monotonic(), e.cell)) if e.kind == "cell" else None)
    if scenes.pixels(folder / "one") != scenes.pixels(folder / "two"):
        raise SystemExit("two workers made other pictures than one")
    at_two = two[-1][0] - _start(two, folder / "two")
    kinds = Counter(row.sampler.name for row in plan.candidates if row.role != "control")
    return [
        figure("ETA, largest error of the predicted total from 5 % on", max(of_total), 0.10, low=True),
        figure("ETA, largest error of the time left, from 5 % to 90 %", max(of_rest), None),
        figure("ETA, median error of the time left", sorted(of_rest)[len(of_rest) // 2], None),
        figure("two workers, share of linear (sleeping cells)", at_one / (2 * at_two), 0.9),
        figure("cells left to one worker when the other found none", both.tail_cells, 1, low=True),
        note("cells", summary.made), note("rows by sampler", dict(kinds)), note("seconds with one worker", total),
    ]


def _start(told: list[tuple[float, str]], folder: Path) -> float:
    """When the first cells were begun: so much earlier than they were told of as they took."""
    from run import scenes

    rows = scenes.rows_of(folder)
    return min(at - rows[cell].seconds["total"] for at, cell in told[:4])


def resume(folder: Path) -> list[Figure]:
    """What the parent of 10,000 cells does before it can hire: read the plan, see what is missing, order it."""
    from whichlora.plan.codec import plan_from_json, plan_to_json
    from whichlora.run.cells import CellJob
    from whichlora.run.crew import Crew
    from whichlora.run.local import LocalExecutor
    from whichlora.run.wire import write_message
    from whichlora.store import Store
    from whichlora.types import Cell, Generation

    small, setup = project(folder, photos=2)
    source = [cell for cell in small.cells if cell.candidate in ("base", "a", "b")]
    pairs = [(n, source[n % len(source)]) for n in range(10_000)]
    cells = [Cell(f"{cell.id}-{n}", cell.candidate, cell.case, n) for n, cell in pairs]
    plan = replace(small, cells=tuple(sorted(cells, key=lambda cell: cell.candidate)))
    with Store(folder / "out", create=True) as store:
        store._db.execute("PRAGMA synchronous=OFF")  # only while the bench builds its project
        store.add_document("plan", plan_to_json(plan))
        facts = {"pixels": "0" * 64, "libraries": {"torch": "2"}, "height_px": 1024, "width_px": 1024}
        for cell in plan.cells[:5000]:
            store.add_generation(Generation(cell.id, "done", "0" * 64, {"total": 1.0}, 1, "", facts))
    began = time.perf_counter()
    with Store(folder / "out") as store, Crew(LocalExecutor(setup, 1), setup, store) as crew:
        again = plan_from_json(store.document("plan") or {})
        job = CellJob(crew, again, None, lambda _: None)
        with Path(os.devnull).open("wb") as nowhere:
            write_message(nowhere, job._prepare())
        seconds = time.perf_counter() - began
        if len(job._pending) != 5000:
            raise SystemExit("the wrong cells are pending")
    return [figure("resume plan for 10,000 cells, half of them made (s)", seconds, 2.0, low=True)]


def ray_cluster(folder: Path, workers: int) -> list[Figure]:
    """A Ray cluster on this machine; one actor is killed and one node cut off in the middle of the run."""
    import ray
    from ray.cluster_utils import Cluster

    from run import scenes
    from whichlora.run.crew import Crew
    from whichlora.run.ray_executor import RayExecutor
    from whichlora.store import Store

    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_DISABLE_MEMORY_MONITOR="1")
    plan, setup = project(folder, photos=4)
    want = run_here(folder / "alone", plan, setup)
    scenes.break_at(folder, forward_s=0.2)
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ["PYTHONPATH"], str(ROOT / "src")])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80_000_000})
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=80_000_000) for _ in range(workers)]
    told = Counter[str]()
    try:
        with Store(folder / "out", create=True) as store, \
                Crew(RayExecutor(setup, workers, cluster.address), setup, store) as crew:

            def watch(event: Any) -> None:
                if event.kind != "cell":
                    return
                told[event.cell] += 1
                if told.total() == len(want) // 4:
                    ray.kill(next(place for place in crew.places if place.begun).hand.actor)  # type: ignore[union-attr]
                if told.total() == len(want) // 2:
                    cluster.remove_node(nodes[-1], allow_graceful=False)

            summary = crew.make(plan, None, watch)
    finally:
        ray.shutdown()
        cluster.shutdown()
    got = scenes.pixels(folder / "out")
    return [
        figure(f"Ray, {workers} workers: cells lost", len(set(want) - set(got)), 0, low=True),
        figure(f"Ray, {workers} workers: cells acknowledged twice", sum(n - 1 for n in told.values()), 0, low=True),
        figure(f"Ray, {workers} workers: different pictures", sum(got.get(c) != want[c] for c in want), 0, low=True),
        note("actors replaced", summary.restarts), note("cells", len(want)),
    ]


def measure(*, quick: bool, ray: bool, only: str = "") -> list[Figure]:
    """Everything, each in a folder of its own."""
    jobs: list[tuple[str, Callable[[Path], list[Figure]]]] = [
        ("interrupted again and again", lambda folder: interruptions(folder, 6 if quick else 100)),
        ("out of memory", lambda folder: out_of_memory(folder, 6 if quick else 1)),
        ("pace", lambda folder: pace(folder, 0.004 if quick else 0.012)),
        ("resume", resume),
    ]
    if ray:
        jobs += [(f"ray {n}", lambda folder, n=n: ray_cluster(folder, n)) for n in ((2,) if quick else (2, 4))]
    figures: list[Figure] = []
    for name, job in ((name, job) for name, job in jobs if only in name):
        with tempfile.TemporaryDirectory(prefix="whichlora-scale-", ignore_cleanup_errors=True) as folder:
            figures += [{"of": name, **row} for row in job(Path(folder))]
    return figures


def figure(name: str, value: float, target: float | None, *, low: bool = False) -> Figure:
    """One figure of the bench; `low`: smaller is better."""
    ok = None if target is None else bool(value <= target if low else value >= target)
    return {"name": name, "value": round(float(value), 4), "target": target, "ok": ok}


def note(name: str, value: Any) -> Figure:
    """Something that was counted beside."""
    return {"name": name, "value": value, "target": None, "ok": None}


def main() -> int:
    """Command line; exit status 1 when a figure misses its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--ray", action="store_true", help="also measure Ray; needs the extra 'ray'")
    parser.add_argument("--only", default="", help="only jobs whose name contains this")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    began = time.perf_counter()
    figures = measure(quick=asked.quick, ray=asked.ray, only=asked.only)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    run = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load at the end": load,
           "python": platform.python_version(), "quick": asked.quick, "seconds": round(time.perf_counter() - began, 1)}
    if asked.json:
        print(json.dumps({"figures": figures, "run": run}, indent=1))
        return int(any(row["ok"] is False for row in figures))
    for row in figures:
        mark = {True: "✓", False: "✗", None: " "}[row["ok"]]
        aim = f" (aim {row['target']})" if row["target"] is not None else ""
        print(f"{mark} {row['of']}: {row['name']}: {row['value']}{aim}")
    print(f"  {run}")
    return int(any(row["ok"] is False for row in figures))


if __name__ == "__main__":
    raise SystemExit(main())
