"""Runs with workers, their parents and their victims, that several tests share."""

import subprocess
import sys
import time

import psutil

from run import scenes
from whichlora.families.painter import PLUGIN
from whichlora.run.crew import Crew
from whichlora.run.local import LocalExecutor
from whichlora.run.pictures import photograph_reader
from whichlora.run.runner import run_plan
from whichlora.store import Store


def in_process(folder, plan, setup):
    """What a run without any trouble makes."""
    with Store(folder, create=True) as store:
        run_plan(plan, store, PLUGIN.load(setup.base, "cpu"), photograph_reader(plan, setup.folder))
    return scenes.pixels(folder)


def crew_run(folder, plan, setup, workers=1, **wishes):
    """Run with workers; the summary, what was said, and the events."""
    said, events = [], []
    with Store(folder, create=True) as store, \
            Crew(LocalExecutor(setup, workers), setup, store, say=said.append, **wishes) as crew:
        summary = crew.make(plan, None, events.append)
    return summary, said, events


def cells_named(plan, *names):
    return [cell for cell in plan.cells if cell.candidate in names]


def fault_of(plan, cell):
    case = next(case for case in plan.cases if case.id == cell.case)
    return f"{cell.candidate}|{case.prompt}|{cell.seed}|"


PARENT = r"""
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
try:
    with Store(folder / "out", create=True) as store, \
            Crew(LocalExecutor(setup, int(sys.argv[2])), setup, store) as crew:
        crew.make(plan, None, lambda event: print(
            event.kind, *(place.hand.pid for place in crew.places if place.hand), flush=True))
except KeyboardInterrupt:
    print("stopped", flush=True)
    raise SystemExit(130)
assert "torch" not in sys.modules
"""


def begin(folder, plan, workers):
    import json

    from whichlora.plan.codec import plan_to_json

    (folder / "plan.json").write_text(json.dumps(plan_to_json(plan)), encoding="utf-8")
    words = [sys.executable, "-c", PARENT, str(folder), str(workers)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def wait_until_gone(pids):
    deadline = time.monotonic() + 30
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
        assert time.monotonic() < deadline, f"workers {pids} outlive their parent"
        time.sleep(0.05)
