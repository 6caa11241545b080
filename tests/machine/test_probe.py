"""Reading a machine: what nvidia-smi and torch's own files say, in the many shapes they say it in."""

import shutil
import sys
from pathlib import Path

import pytest

from whichlora.machine import probe
from whichlora.machine.probe import GIB, TorchBuild, parse_gpus, parse_torch

MIB = 1024**2


def test_one_card_with_its_holders():
    gpus = parse_gpus(
        "0, GPU-aaa, NVIDIA GeForce RTX 4090, 24564, 20111, 560.35.03, 8.9\n",
        "GPU-aaa, 4242, /usr/bin/python3, 3000\nGPU-aaa, 17, C:\\Program Files\\Comfy, Inc\\comfy.exe, [N/A]\n",
    )
    assert len(gpus) == 1
    gpu = gpus[0]
    assert (gpu.name, gpu.total_bytes, gpu.free_bytes, gpu.driver, gpu.capability) == (
        "NVIDIA GeForce RTX 4090", 24564 * MIB, 20111 * MIB, "560.35.03", "8.9")
    assert [(each.pid, each.name, each.used_bytes) for each in gpu.processes] == [
        (4242, "python3", 3000 * MIB), (17, "comfy.exe", None)]


def test_processes_belong_to_their_card():
    gpus = parse_gpus(
        "0, GPU-a, A100, 81920, 81000, 570.1, 8.0\n1, GPU-b, A100, 81920, 5, 570.1, 8.0\n",
        "GPU-b, 9, train, 80000\n",
    )
    assert [len(gpu.processes) for gpu in gpus] == [0, 1]


@pytest.mark.parametrize("answer", [
    "", "No devices were found\n", "NVIDIA-SMI has failed because it couldn't communicate with the driver\n",
    "0, GPU-a, X, [N/A], [N/A], 1, [N/A]\n", "garbage,,,,,,,,\n",
])
def test_what_is_no_card_is_none(answer):
    assert parse_gpus(answer) == ()


@pytest.mark.parametrize(("version", "text", "cuda", "hip"), [
    ("2.9.0", "__version__ = '2.9.0+cu128'\ncuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n", "12.8", None),
    ("2.9.0", "cuda = '13.0'\nhip = None\n", "13.0", None),
    ("2.9.0+cpu", "cuda: Optional[str] = None\nhip: Optional[str] = None\n", None, None),
    ("2.9.0", "cuda: str | None = None\nhip: str | None = '6.4.43482'\n", None, "6.4.43482"),
    ("2.9.0+cu126", "", "12.6", None), ("2.9.0", "", None, None),
])
def test_torchs_build_is_read_from_its_files(version, text, cuda, hip):
    assert parse_torch(version, text) == TorchBuild(version, cuda, hip)


def test_reading_torch_does_not_import_it():
    import subprocess

    code = ("import sys; from whichlora.machine.probe import probe; facts = probe(); "
            "assert facts.libraries and 'torch' not in sys.modules; print(facts.torch)")
    env = {"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "PATH": "", "HOME": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr


def fake_smi(folder: Path, script: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    tool.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for the tool")
def test_the_tool_is_really_asked(tmp_path, monkeypatch):
    fake_smi(tmp_path, 'case "$1" in *query-gpu*) echo "0, GPU-x, Card, 1000, 900, 555.1, 8.6";; '
                       '*) echo "GPU-x, 5, prog, 50";; esac')
    monkeypatch.setenv("PATH", str(tmp_path) + ":/bin:/usr/bin")
    gpus, problem = probe.read_gpus()
    assert (problem, gpus[0].name, gpus[0].processes[0].pid) == ("", "Card", 5)
    fake_smi(tmp_path, 'echo "Failed to initialize NVML: Driver/library version mismatch"; exit 18')
    gpus, problem = probe.read_gpus()
    assert gpus == ()
    assert "version mismatch" in problem


def test_a_token_is_seen_and_never_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    facts = probe.probe()
    assert facts.token_source == "HF_TOKEN"
    assert "verysecret" not in repr(facts)


def test_ram_is_plausible_and_respects_a_container(monkeypatch):
    total, free = probe.read_ram()
    assert 0 < free <= total
    monkeypatch.setattr(probe, "_container_limit", lambda: (2 * GIB, GIB))
    assert probe.read_ram()[0] == 2 * GIB
    assert probe.read_ram()[1] <= GIB


def test_disk_of_a_folder_that_is_not_there_yet(tmp_path):
    assert probe._existing(tmp_path / "a" / "b") == tmp_path
    assert shutil.disk_usage(probe._existing(tmp_path / "a")).free > 0
