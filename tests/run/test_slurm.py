"""The Slurm launcher runs `whichlora run` itself and puts a preempted job back; here with submitit's local executor."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from families import painters
from whichlora.errors import MachineError, UserError
from whichlora.run.slurm import RunCommand, launch, submit_run
from whichlora.store import Store

submitit = pytest.importorskip("submitit")
PORTRAIT = Path(__file__).parent.parent / "data" / "portraits" / "president-smiling.jpg"


@pytest.fixture
def project(tmp_path):
    painter = painters.base(tmp_path / "painter", faces=False, sampler={"reference_area_px": 64 * 64})
    words = ["init", tmp_path / "p", "--refs", PORTRAIT, "--base", painter, "--family", "painter"]
    done = subprocess.run([sys.executable, "-m", "whichlora.cli.main", *map(str, words)], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    return tmp_path / "p"


@pytest.mark.skipif(sys.platform == "win32", reason="submitit knows no Windows")
def test_the_job_makes_the_pictures(project):
    job = launch(project, ["--device", "cpu"], ["timeout_min=5", "gpus_per_node=0"], cluster="local")
    assert job.result() == 0, job.stderr()
    with Store(project) as store:
        rows = store.generations()
    assert rows
    assert {row.status for row in rows.values()} == {"done"}
    assert "pictures are there" in job.stdout()


def test_a_preempted_job_goes_back_into_the_queue_as_it_was():
    command = pickle.loads(pickle.dumps(RunCommand(["whichlora", "run", "p"])))
    again = command.checkpoint()
    assert again.function is command
    assert command.words == ["whichlora", "run", "p"]


def test_the_exit_status_of_the_run_is_the_jobs():
    assert RunCommand([sys.executable, "-c", "raise SystemExit(1)"])() == 1
    with pytest.raises(RuntimeError, match="status 3"):
        RunCommand([sys.executable, "-c", "raise SystemExit(3)"])()


def test_what_cannot_be_submitted_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="no Slurm here"):
        submit_run(tmp_path, [], [])
    with pytest.raises(UserError, match="is no setting"):
        submit_run(tmp_path, [], ["gpus"], cluster="local")
    with pytest.raises(UserError, match="not understood"):
        submit_run(tmp_path, [], ["slurm_parttion=gpu"], cluster="local")
