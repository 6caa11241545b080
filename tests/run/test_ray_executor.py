"""A Ray cluster that loses an actor and a node in the middle of a run: nothing lost or doubled, the same pictures.

One project, resumed on one worker here, on two, and on the cluster, so that all three meet in one store.
"""

import os
import shutil
from collections import Counter

import pytest

from run import scenes
from whichlora.families.painter import PLUGIN
from whichlora.run.crew import Crew
from whichlora.run.local import LocalExecutor
from whichlora.run.pictures import photograph_reader
from whichlora.run.ray_executor import RayExecutor
from whichlora.run.runner import run_plan
from whichlora.store import Store

ray = pytest.importorskip("ray")


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """Two nodes on this machine; the driver's own node computes nothing."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_DISABLE_MEMORY_MONITOR", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(scenes.ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    small = {"object_store_memory": 80_000_000, "include_dashboard": False}
    head = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    nodes = [head.add_node(num_cpus=1, object_store_memory=80_000_000) for _ in range(2)]
    yield head, nodes
    ray.shutdown()
    head.shutdown()


def test_one_project_on_one_worker_on_two_and_on_a_cluster_that_breaks(tmp_path, cluster):
    head, nodes = cluster
    plan, setup, _ = scenes.build(tmp_path)
    with Store(tmp_path / "alone", create=True) as store:
        run_plan(plan, store, PLUGIN.load(setup.base, "cpu"), photograph_reader(plan, tmp_path))
    want = scenes.pixels(tmp_path / "alone")
    ids = list(want)
    out, told, said = tmp_path / "out", Counter(), []
    with Store(out, create=True) as store:
        for workers, part in ((1, ids[:6]), (2, ids[6:14])):
            with Crew(LocalExecutor(setup, workers), setup, store) as crew:
                crew.make(plan, part, lambda event: told.update([event.cell] if event.cell else []))
        with Crew(RayExecutor(setup, 2, head.address), setup, store, say=said.append) as crew:
            steps = []

            def break_things(event):
                if event.kind != "cell":
                    return
                told.update([event.cell])
                steps.append(event)
                if len(steps) == 3:
                    ray.kill(next(place for place in crew.places if place.begun).hand.actor)
                if len(steps) == 10:
                    head.remove_node(nodes[1], allow_graceful=False)

            summary = crew.make(plan, None, break_things)
    assert summary.made == len(want) - 14
    assert summary.failed == 0
    assert summary.restarts >= 2, said
    assert told == Counter(dict.fromkeys(want, 1))
    assert scenes.pixels(out) == want
    shutil.rmtree(out)
