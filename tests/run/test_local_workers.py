"""How many workers a machine gets, which GPU each sees, and what they are handed."""

import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import psutil
import pytest

from run import scenes
from whichlora.company import SHARED_NAME, SHARED_VARIABLE, WORKERS_VARIABLE
from whichlora.errors import MachineError
from whichlora.run.local import LocalExecutor, visible_gpus


def test_gpus_are_the_users_own_list(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-abc")
    assert visible_gpus() == ["2", "GPU-abc"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


def test_two_workers_never_share_a_gpu(tmp_path, monkeypatch):
    _, setup, _ = scenes.build(tmp_path, photos=1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    cuda = replace(setup, device="cuda")
    assert LocalExecutor(cuda).size == LocalExecutor(cuda, 2).size == 2
    assert LocalExecutor(cuda, 1).size == 1
    with pytest.raises(MachineError, match="3 workers were asked for, and 2 GPUs"):
        LocalExecutor(cuda, 3)
    assert LocalExecutor(setup).size == 1
    assert LocalExecutor(setup, 3).size == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,0")
    assert LocalExecutor(cuda).size == 1


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_an_unlisted_gpu_gets_one_worker(tmp_path, monkeypatch, device):
    _, setup, _ = scenes.build(tmp_path, photos=1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    there = replace(setup, device=device)
    assert LocalExecutor(there).size == LocalExecutor(there, 1).size == 1
    with pytest.raises(MachineError, match=f"2 workers were asked for on '{device}'"):
        LocalExecutor(there, 2)


def test_a_processor_does_not_get_any_number_of_workers(tmp_path, monkeypatch):
    _, setup, _ = scenes.build(tmp_path, photos=1)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert LocalExecutor(setup, 12).size == 12
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert LocalExecutor(setup, 8).size == 8
    with pytest.raises(MachineError, match="Use --workers 8 or fewer"):
        LocalExecutor(setup, 9)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    with pytest.raises(MachineError, match="999 workers were asked for, and this machine has 12 cores"):
        LocalExecutor(setup, 999)


def _open_here():
    """What this process has open: (link, inode)."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the listing's own descriptor is gone by now
            found.add((str(path.readlink()), path.stat().st_ino))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux's")
def test_several_workers_are_handed_one_file_in_memory_that_ends_with_them(tmp_path):
    _, setup, _ = scenes.build(tmp_path, photos=1)
    executor = LocalExecutor(setup, 2)
    seen = []
    for number in range(2):
        process = psutil.Process(executor.hire(number, SimpleQueue()).pid)
        told = process.environ()
        assert told[WORKERS_VARIABLE].startswith("2:")
        file = Path(f"/proc/{process.pid}/fd/{told[SHARED_VARIABLE]}")
        seen.append((str(file.readlink()), file.stat().st_ino))
    assert seen[0] == seen[1]
    assert SHARED_NAME in seen[0][0]
    assert seen[0] in _open_here()
    executor.close()
    # This very file: other tests of this process may hold files of that name.
    assert seen[0] not in _open_here()
    alone = LocalExecutor(setup, 1)
    told = psutil.Process(alone.hire(0, SimpleQueue()).pid).environ()
    alone.close()
    assert not {WORKERS_VARIABLE, SHARED_VARIABLE} & set(told)


def test_a_worker_sees_its_own_gpu_alone(monkeypatch):
    from whichlora.run.local import _environment

    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    # A run inside a worker of another run shares nothing with that one's family.
    monkeypatch.setenv(SHARED_VARIABLE, "7")
    monkeypatch.setenv(WORKERS_VARIABLE, "4:100")
    assert not {SHARED_VARIABLE, WORKERS_VARIABLE} & set(_environment(""))
    assert _environment("3")["CUDA_VISIBLE_DEVICES"] == "3"
    assert _environment("3")["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert str(Path(scenes.__file__).parent) not in _environment("")["PYTHONPATH"]
