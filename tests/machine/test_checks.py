"""The doctor's verdicts on planted machines: the user's own, small ones, broken ones, Windows and its traps."""

from dataclasses import replace
from pathlib import Path

import pytest

from hub.client import answer, environment, whichlora
from whichlora.machine.checks import diagnose
from whichlora.machine.memory import PROFILES, best, encoder_place, fit_all
from whichlora.machine.probe import GIB, Gpu, GpuProcess, MachineFacts, TorchBuild

GOOD = {"torch": "2.9.0", "diffusers": "0.42.1", "transformers": "5.1.0", "peft": "0.18.0", "accelerate": "1.5.0"}
RTX_4090 = Gpu(0, "NVIDIA GeForce RTX 4090", 24564 * 1024**2, 24000 * 1024**2, "560.35", "8.9")
MACHINE = MachineFacts(
    "Linux", "x86_64", (3, 12, 4), (RTX_4090,), "", 64 * GIB, 60 * GIB, Path("/cache"), 500 * 10**9, GOOD,
    TorchBuild("2.9.0+cu128", "12.8"), "hf auth login", False, True,
)


def named(facts):
    return {check.name: check for check in diagnose(facts).checks}


def test_a_good_machine_is_all_ticks():
    diagnosis = diagnose(MACHINE)
    assert [check.name for check in diagnosis.checks if not check.ok] == []
    assert diagnosis.profile.name == "bf16-streamed"


@pytest.mark.parametrize(("vram", "ram", "profile"), [
    (80, 128, "bf16"), (48, 64, "bf16"), (24, 64, "bf16-streamed"), (24, 31.3, "fp8"), (16, 64, "nf4"), (12, 32, "nf4"),
    (24, 25, "gguf-q8"), (24, 20, "nf4"), (8, 64, None), (24, 12, None), (0, 64, None),
])
def test_profiles_fit_vram_and_ram(vram, ram, profile):
    found = best(fit_all(int(vram * GIB), int(ram * GIB)))
    assert (found.name if found else None) == profile


def test_two_copies_in_bf16_never_fit_32_gib():
    """A 32 GB PC gets fp8 or GGUF, however large its card, unless everything stays on the card."""
    for vram in range(12, 44):
        found = best(fit_all(vram * GIB, int(31.5 * GIB)))
        assert found is None or not found.exact


def test_more_memory_never_gives_a_rougher_profile():
    order = {profile.name: index for index, profile in enumerate(PROFILES)}
    order[None] = len(PROFILES)
    grid = [(vram, ram) for vram in range(0, 100, 4) for ram in range(8, 136, 8)]

    def rank(vram, ram):
        found = best(fit_all(vram * GIB, ram * GIB))
        return order[found.name if found else None]

    for vram, ram in grid:
        assert rank(vram + 4, ram) <= rank(vram, ram)
        assert rank(vram, ram + 8) <= rank(vram, ram)


def test_every_failure_carries_its_fix():
    bad = replace(
        MACHINE, python=(3, 10, 1), gpus=(replace(RTX_4090, free_bytes=4 * GIB, driver="470.1"),), ram_bytes=32 * GIB,
        disk_free_bytes=10**9, libraries={"diffusers": "0.35.2", "transformers": "4.40.0"}, system="Windows",
        torch=TorchBuild("2.9.0+cpu", None), symlinks=False,
    )
    failed = [check for check in diagnose(bad).checks if not check.ok]
    assert {check.name for check in failed} >= {
        "Python", "driver", "torch", "free VRAM", "diffusers", "transformers", "peft", "accelerate", "cache links",
        "Triton", "memory profile"}
    assert all(check.fix for check in failed)


@pytest.mark.parametrize(("version", "ok", "word"), [
    ("0.35.2", False, "2509"), ("0.36.0", False, "2511"), ("0.36.1.dev0", False, "2511"), ("0.37.0", True, ""),
    ("0.42.1", True, ""), ("1.0.0", True, ""), (None, False, "run"),
])
def test_diffusers_must_know_the_pipeline(version, ok, word):
    check = named(replace(MACHINE, libraries={**GOOD, "diffusers": version}))["diffusers"]
    assert (check.ok, word in check.found) == (ok, True)


def test_cpu_torch_beside_a_gpu_is_caught():
    check = named(replace(MACHINE, torch=TorchBuild("2.9.0+cpu", None)))["torch"]
    assert not check.ok
    assert "CPU build" in check.found


@pytest.mark.parametrize(("driver", "cuda", "ok"), [
    ("560.35", "12.8", True), ("470.82", "12.8", False), ("560.35", "13.0", False), ("581.2", "13.0", True)])
def test_the_driver_must_bear_torchs_cuda(driver, cuda, ok):
    facts = replace(MACHINE, gpus=(replace(RTX_4090, driver=driver),), torch=TorchBuild("2.9.0", cuda))
    assert named(facts)["driver"].ok is ok


def test_who_holds_the_memory_is_named_with_what_closing_gains():
    holders = (GpuProcess(11, "comfyui", 9 * GIB), GpuProcess(12, "chrome", GIB))
    facts = replace(MACHINE, gpus=(replace(RTX_4090, free_bytes=13 * GIB, processes=holders),))
    diagnosis = diagnose(facts)
    check = {each.name: each for each in diagnosis.checks}["free VRAM"]
    assert not check.ok
    assert check.found.index("comfyui (11, 9.0 GiB)") < check.found.index("chrome")
    assert (diagnosis.profile.name, diagnosis.after_closing.name) == ("nf4", "bf16-streamed")
    assert "bf16-streamed" in check.fix


def test_ram_is_blamed_only_when_it_is_the_reason():
    assert not named(replace(MACHINE, ram_bytes=12 * GIB))["RAM"].ok
    small_card = replace(MACHINE, gpus=(replace(RTX_4090, total_bytes=6 * GIB, free_bytes=6 * GIB),))
    assert named(small_card)["RAM"].ok
    assert not named(small_card)["memory profile"].ok


def test_without_a_gpu_the_rest_is_said_to_work():
    check = named(replace(MACHINE, gpus=(), torch=None))["GPU"]
    assert not check.ok
    assert "demo" in check.found
    assert named(replace(MACHINE, gpus=(), system="Darwin", architecture="arm64"))["GPU"].ok


def test_a_small_disk_is_caught_before_a_large_download():
    check = named(replace(MACHINE, disk_free_bytes=80 * 10**9))["disk"]
    assert (check.ok, "87 GB" in check.found) == (False, True)  # 57.7 GB × 1.5


def test_a_profile_that_is_not_built_in_is_shown_and_never_recommended():
    diagnosis = diagnose(MACHINE, ("bf16", "gguf-q8"))
    assert diagnosis.profile.name == "gguf-q8"
    shown = {fit.profile.name: (fit.fits, fit.supported) for fit in diagnosis.fits}
    assert shown["bf16-streamed"] == (True, False)
    small = replace(MACHINE, gpus=(replace(RTX_4090, total_bytes=16 * GIB, free_bytes=16 * GIB),))
    check = {each.name: each for each in diagnose(small, ("bf16", "gguf-q8")).checks}["memory profile"]
    assert not check.ok
    assert "nf4 would, but this version cannot run it" in check.found


def test_traps_of_windows_are_told_only_there():
    windows = named(replace(MACHINE, system="Windows", symlinks=False))
    assert {"cache links", "Triton", "driver spill"} <= set(windows)
    assert not {"cache links", "Triton", "driver spill"} & set(named(MACHINE))
    assert "Triton" not in named(replace(MACHINE, system="Windows", libraries={**GOOD, "triton-windows": "3.4"}))


@pytest.mark.parametrize(("vram", "ram", "place"), [(24, 16, "gpu"), (12, 32, "cpu"), (12, 12, "nowhere")])
def test_the_text_encoder_needs_a_place_too(vram, ram, place):
    assert encoder_place(vram * GIB, ram * GIB) == place


def test_the_doctor_by_the_command_line(tmp_path):
    (tmp_path / "ComfyUI/models/loras").mkdir(parents=True)
    (tmp_path / "ComfyUI/models/loras/a.safetensors").write_bytes(b"x")
    env = environment("http://127.0.0.1:9", tmp_path, HF_TOKEN="hf_topsecret", HF_HUB_OFFLINE="1")
    done = whichlora(["doctor", "--json"], env, tmp_path)
    document = answer(done)
    assert done.returncode == 0
    assert document["schema"] == "whichlora.doctor/1"
    checks = {check["name"]: check for check in document["checks"]}
    assert all(set(check) == {"name", "ok", "found", "fix"} for check in document["checks"])
    assert all(check["fix"] for check in document["checks"] if not check["ok"])
    assert checks["Hub token"]["found"] == "present (HF_TOKEN)"
    assert checks["offline mode"]["found"].startswith("on")
    assert "1 in loras" in checks["ComfyUI"]["found"]
    assert "topsecret" not in done.stdout + done.stderr
    assert {row["name"] for row in document["profiles"]} == {profile.name for profile in PROFILES}
    people = whichlora(["doctor"], env, tmp_path)
    assert "bf16-streamed" in people.stdout
    assert "topsecret" not in people.stdout + people.stderr
    strict = whichlora(["doctor", "--strict"], env, tmp_path)
    assert strict.returncode == int(any(not check["ok"] for check in document["checks"]))
