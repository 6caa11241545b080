"""A Ray cluster that loses an actor and a node in the middle of a run: nothing lost or doubled, the same pictures.

One project, resumed on one worker here, on two, and on the cluster, so that all three meet in one store.
"""

import importlib
import os
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from run import scenes
from whichlora.errors import MachineError
from whichlora.families.painter import PLUGIN
from whichlora.run.crew import Crew
from whichlora.run.executor import Setup
from whichlora.run.local import LocalExecutor
from whichlora.run.pictures import photograph_reader
from whichlora.run.ray_executor import RayExecutor
from whichlora.run.runner import run_plan
from whichlora.store import Store

ray = pytest.importorskip("ray")


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """Two nodes on this machine with room for one worker each."""
    from ray.cluster_utils import Cluster

    site = str(scenes.install_faulty(tmp_path))
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    paths = [site, str(scenes.ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_DISABLE_MEMORY_MONITOR", "1")
    small = {"num_cpus": 1, "object_store_memory": 80_000_000}
    # A lost node is noticed within a second or two instead of ten.
    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}
    head = Cluster(initialize_head=True,
                   head_node_args={"include_dashboard": False, "_system_config": quick, **small})
    node = head.add_node(**small)
    yield head, node
    ray.shutdown()
    head.shutdown()
    sys.modules.pop("faulty_painter", None)


@pytest.mark.parametrize(("resources", "gpu", "most"), [({"GPU": 4.0, "CPU": 64.0}, 1, 4), ({"CPU": 6.0}, 0, 6)])
def test_no_more_actors_than_the_cluster_can_hold(resources, gpu, most):
    """More would wait for ever, and the run with them."""
    executor = object.__new__(RayExecutor)
    executor._gpus = gpu
    executor._ray = SimpleNamespace(cluster_resources=lambda: resources, nodes=lambda: [{"Alive": True}] * 2)
    assert executor._size(most) == most
    assert executor._size(None) == (most if gpu else 2)
    with pytest.raises(MachineError, match=f"{most + 1} workers were asked for, and the Ray cluster has {most} "):
        executor._size(most + 1)
    executor._gpus = 1
    executor._ray.cluster_resources = lambda: {"CPU": 6.0}
    with pytest.raises(MachineError, match="no GPU"):
        executor._size(None)


def test_one_project_on_one_worker_on_two_and_on_a_cluster_that_breaks(tmp_path, cluster):
    head, node = cluster
    plan, setup, _ = scenes.build(tmp_path, family="faulty")
    with Store(tmp_path / "alone", create=True) as store:
        run_plan(plan, store, PLUGIN.load(setup.base, "cpu"), photograph_reader(plan, tmp_path))
    want = scenes.pixels(tmp_path / "alone")
    ids = list(want)
    out, told, said, broken = tmp_path / "out", Counter(), [], []
    with Store(out, create=True) as store:
        for workers, part in ((1, ids[:6]), (2, ids[6:14])):
            with Crew(LocalExecutor(setup, workers), setup, store) as crew:
                crew.make(plan, part, lambda event: told.update([event.cell] if event.cell else []))
        # Slow until everything is broken, fast from then on.
        scenes.break_at(tmp_path, forward_s=0.6)
        with Crew(RayExecutor(setup, 2, head.address), setup, store, say=said.append) as crew:

            def break_things(event):
                if event.kind != "cell":
                    return
                told.update([event.cell])
                busy = [place for place in crew.places if place.begun and place.facts["told"]]
                # Whoever is cut off or killed has cells in hand, so that the run cannot end without noticing.
                if not broken and len(busy) == 2:
                    broken.append("node")
                    head.remove_node(node, allow_graceful=False)
                elif broken == ["node"] and crew.restarts and busy:
                    broken.append("actor")
                    ray.kill(busy[0].hand.actor)
                    scenes.break_at(tmp_path)

            summary = crew.make(plan, None, break_things)
    assert broken == ["node", "actor"]
    assert summary.made == len(want) - 14
    assert summary.failed == 0
    assert summary.restarts >= 2, said
    assert told == Counter(dict.fromkeys(want, 1))
    assert scenes.pixels(out) == want


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux's")
def test_actors_of_one_machine_hold_one_copy_of_streamed_weights(tmp_path, monkeypatch):
    """The tiny model, streamed: both actors have the same file open, it holds one copy, pictures are those of one."""
    from ray.cluster_utils import Cluster

    from families import tiny
    from run.test_together import plan_of_tiny

    monkeypatch.setenv("WHICHLORA_HOLD", "streamed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(scenes.ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_DISABLE_MEMORY_MONITOR", "1")
    base = tiny.build(tmp_path / "base", layers=3)
    (tmp_path / "refs").mkdir()
    scenes.photograph(tmp_path / "refs" / "one.png", 0)
    plan, session = plan_of_tiny(tmp_path, base, [scenes.source(tmp_path, tmp_path / "refs" / "one.png", "one")])
    opened = session()
    with Store(tmp_path / "alone", create=True) as store:
        run_plan(plan, store, opened, photograph_reader(plan, tmp_path))
    copy = opened.engine_facts()["host_bytes"]
    setup = Setup(plan.base, "cpu", tmp_path, plan.libraries)
    seen = []
    head = Cluster(initialize_head=True, head_node_args={
        "include_dashboard": False, "num_cpus": 2, "object_store_memory": 80_000_000})
    with Store(tmp_path / "out", create=True) as store, \
            Crew(RayExecutor(setup, 2, head.address), setup, store) as crew:

        def look(event):
            if event.kind == "cell":
                seen.append(holders(crew.executor._token))

        crew.make(plan, None, look)
    assert scenes.pixels(tmp_path / "out") == scenes.pixels(tmp_path / "alone")
    both = [found for found in seen if len(found) == 2]
    assert both
    for found in both:
        assert len(set(found.values())) == 1
    (_, held), = set(both[-1].values())
    assert copy <= held < 1.2 * copy + 200_000
    head.shutdown()
    deadline = time.monotonic() + 60
    while holders(crew.executor._token):
        assert time.monotonic() < deadline, "the file outlives the actors"
        time.sleep(0.1)


def holders(token):
    """Process → (inode, bytes in memory) of the run's file."""
    found = {}
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            for link in (process / "fd").iterdir() if process.name.isdecimal() else ():
                if token in str(link.readlink()):
                    stat = link.stat()
                    found[process.name] = stat.st_ino, stat.st_blocks * 512
    return found
