"""`whichlora run`: with workers, without, and with wishes that contradict each other; the parent imports no torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from families import painters
from whichlora.cli._beside import scoring_beside
from whichlora.cli._hiring import choose_hiring
from whichlora.cli.stages import stored_plan
from whichlora.errors import UserError
from whichlora.metrics.stage import lacking, scoring_context
from whichlora.run.choose import open_maker
from whichlora.store import Store

PORTRAIT = Path(__file__).parent.parent / "data" / "portraits" / "president-smiling.jpg"
SPY = """
import sys
from whichlora.cli.main import main
try:
    main()
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""


def whichlora(*words):
    return subprocess.run([sys.executable, "-c", SPY, *map(str, words)], capture_output=True, text=True,
                          encoding="utf-8", env=dict(os.environ))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hiring")
    painter = painters.base(folder / "painter", faces=False, sampler={"reference_area_px": 64 * 64})
    done = whichlora("init", folder / "p", "--refs", PORTRAIT, "--base", painter, "--family", "painter")
    assert done.returncode == 0, done.stderr
    return folder / "p"


def test_run_with_workers_and_again(project):
    done = whichlora("run", project, "--workers", 2, "--score-beside", "--json")
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)["cells"]
    assert cells["done"] == cells["planned"] > 0
    assert done.stderr.splitlines()[-1] == "False"
    with Store(project) as store:
        assert store.document("canary")["entries"]
        before = store.generations()
        plan = stored_plan(store)
        assert lacking(plan, store, scoring_context(plan)) == []  # scored when the run was over
    again = whichlora("run", project, "--in-process")
    assert again.returncode == 0, again.stderr
    assert "Next: whichlora report" in again.stdout
    with Store(project) as store:
        assert store.generations() == before


@pytest.mark.parametrize(("device", "wanted", "scores"), [
    ("cuda", None, True), ("mps", None, True), ("cpu", None, False), ("cpu", True, True), ("cuda", False, False),
])
def test_pictures_are_scored_beside_a_gpu_and_not_on_the_cores_that_make_them(tmp_path, device, wanted, scores):
    with Store(tmp_path, create=True) as store, scoring_beside(tmp_path, store, device, wanted) as scorer:
        assert (scorer is not None) is scores


@pytest.mark.parametrize(("wishes", "sentence"), [
    (("local", 0, "", False), "--workers 0 is nobody"),
    (("rey", None, "", False), "Did you mean: ray"),
    (("local", None, "auto", False), "Add --executor ray"),
    (("local", 2, "", True), "uses no workers"),
])
def test_wishes_that_contradict_each_other(tmp_path, wishes, sentence):
    executor, workers, address, in_process = wishes
    with pytest.raises(UserError) as caught:
        open_maker(None, None, choose_hiring(executor, workers, address, in_process=in_process))
    assert sentence in str(caught.value)
