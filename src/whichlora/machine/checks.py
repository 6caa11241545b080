"""Judge a machine's facts: one check a line, and every failed one carries the line that fixes it. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from whichlora.machine.memory import PROFILES, Fit, Profile, best, encoder_place, fit_all
from whichlora.machine.probe import GIB, Gpu, MachineFacts

_TORCH_FIX = "uv pip install --reinstall --torch-backend=auto torch torchvision   (or the CUDA build of pytorch.org)"
_RUN_FIX = "pip install 'whichlora[run]'"
_LARGEST_HOLDERS = 4


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor."""

    name: str
    """What was looked at."""
    ok: bool
    """Whether it is as it should be."""
    found: str
    """What was found, in words."""
    fix: str = ""
    """The line that mends it; for a passed check at most advice."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything the doctor says."""

    checks: tuple[Check, ...]
    """In order."""
    profile: Profile | None
    """Memory profile that fits now; None when the 20 B model cannot run here."""
    fits: tuple[Fit, ...]
    """Every profile against this machine."""
    after_closing: Profile | None
    """Profile that would fit if the GPU were empty, when it is a better one."""


def diagnose(facts: MachineFacts, supported: Collection[str] | None = None) -> Diagnosis:
    """Judge every fact; ComfyUI's folders and the Hub's files are looked at by the caller.

    Args:
        facts: The machine.
        supported: Memory profiles that the model family can run; all of them when None.
    """
    gpu = max(facts.gpus, key=lambda each: each.free_bytes, default=None)
    fits = fit_all(gpu.free_bytes if gpu else 0, facts.ram_bytes, supported)
    chosen = best(fits)
    roomy = fit_all(gpu.total_bytes, facts.ram_bytes, supported) if gpu else ()
    empty = best(roomy)
    better = empty if empty is not None and _order(empty) < _order(chosen) else None
    checks = [
        _python(facts), *_gpu(facts, gpu), *_memory(facts, gpu, fits, roomy, better), _disk(facts, chosen),
        *_libraries(facts), *_hub(facts), *_windows(facts),
    ]
    return Diagnosis(tuple(checks), chosen, fits, better)


def _order(profile: Profile | None) -> int:
    return len(PROFILES) if profile is None else PROFILES.index(profile)


def _python(facts: MachineFacts) -> Check:
    text = ".".join(map(str, facts.python))
    if (3, 11) <= facts.python[:2] <= (3, 13):
        return Check("Python", True, text)
    return Check("Python", False, f"{text}; 3.11 to 3.13 are tested", "uv venv --python 3.12")


# --------------------------------------------------------------------------- GPU and memory


def _gpu(facts: MachineFacts, gpu: Gpu | None) -> list[Check]:
    if gpu is None:
        return [_no_gpu(facts)]
    names = ", ".join(f"{each.name} ({each.total_bytes / GIB:.1f} GiB)" for each in facts.gpus)
    return [Check("GPU", True, names), _driver(facts, gpu), _torch(facts)]


def _no_gpu(facts: MachineFacts) -> Check:
    if facts.gpu_problem:
        return Check("GPU", False, facts.gpu_problem, "Reinstall the NVIDIA driver, then restart the computer.")
    if facts.system == "Darwin" and facts.architecture == "arm64":
        return Check("GPU", True, "Apple GPU, shared memory; the plain path is used, times are not predicted")
    if facts.torch is not None and facts.torch.hip:
        return Check("GPU", True, f"AMD with ROCm {facts.torch.hip}; the plain path is used, times are not predicted")
    return Check(
        "GPU", False, "no NVIDIA GPU: demo, survey, inspect, score and report work, the 20 B model does not run here",
        "Run on a machine with a GPU of 12 GB or more; copy the project folder there and back.",
    )


def _driver(facts: MachineFacts, gpu: Gpu) -> Check:
    """A driver must be new enough for the CUDA that torch was built for."""
    cuda = facts.torch.cuda if facts.torch is not None else None
    major = int(cuda.split(".")[0]) if cuda and cuda.split(".")[0].isdigit() else 12
    least = {11: 450, 12: 525, 13: 580}.get(major, 525)
    have = re.match(r"\d+", gpu.driver)
    if have and int(have[0]) < least:
        return Check(
            "driver", False, f"{gpu.driver}; CUDA {cuda or major} needs {least} or newer",
            "Install the newest NVIDIA driver, then restart the computer.",
        )
    return Check("driver", True, gpu.driver)


def _torch(facts: MachineFacts) -> Check:
    torch = facts.torch
    if torch is None:
        return Check("torch", False, "not installed; only 'run' needs it", _RUN_FIX)
    if torch.problem:
        return Check("torch", False, f"{torch.version} cannot be imported ({torch.problem})", _TORCH_FIX)
    if torch.cuda is None and torch.hip is None:
        return Check("torch", False, f"{torch.version} is a CPU build beside an NVIDIA GPU", _TORCH_FIX)
    if torch.sees_gpu is False:
        return Check(
            "torch", False, f"{torch.version} (CUDA {torch.cuda}) sees no GPU",
            "Check CUDA_VISIBLE_DEVICES, and that the driver is new enough for this CUDA.",
        )
    return Check("torch", True, f"{torch.version}, CUDA {torch.cuda}" if torch.cuda else f"{torch.version}, ROCm")


def _memory(
    facts: MachineFacts, gpu: Gpu | None, fits: Sequence[Fit], roomy: Sequence[Fit], better: Profile | None
) -> list[Check]:
    """VRAM that is free, host memory, and the profile that follows; `roomy` is the same card when empty."""
    checks: list[Check] = []
    if gpu is not None:
        held = gpu.total_bytes - gpu.free_bytes
        found = f"{gpu.free_bytes / GIB:.1f} of {gpu.total_bytes / GIB:.1f} GiB free"
        if better is not None:
            advice = f"Close them, and the profile '{better.name}' fits."
            checks.append(Check("free VRAM", False, f"{found}; held by {_holders(gpu)}", advice))
        else:
            checks.append(Check("free VRAM", True, found + (f"; held by {_holders(gpu)}" if held > 2 * GIB else "")))
    checks.append(_ram(facts, roomy))
    if gpu is not None:
        checks.append(_profile_check(facts, gpu, fits))
    return checks


def _ram(facts: MachineFacts, fits: Sequence[Fit]) -> Check:
    """Host memory: fails only when it, and not the card, is what keeps every profile away."""
    found = f"{facts.ram_bytes / GIB:.1f} GiB, {facts.ram_free_bytes / GIB:.1f} available"
    kept_away = [fit for fit in fits if fit.supported and not fit.fits and "VRAM" not in fit.reason]
    if not kept_away:
        return Check("RAM", True, found)
    first = kept_away[0].profile
    if best(fits) is None:
        least = min(kept_away, key=lambda fit: fit.profile.ram_gib).profile
        return Check("RAM", False, f"{found}; '{least.name}', the least, needs {least.ram_gib:.0f}",
                     f"Use a machine with {least.ram_gib:.0f} GiB of RAM or more.")
    return Check("RAM", True, f"{found}; '{first.name}' would fit this card with {first.ram_gib:.0f} GiB of RAM")


def _profile_check(facts: MachineFacts, gpu: Gpu, fits: Sequence[Fit]) -> Check:
    chosen = best(fits)
    if chosen is None:
        unbuilt = ", ".join(fit.profile.name for fit in fits if fit.fits and not fit.supported)
        also = f"; {unbuilt} would, but this version cannot run it" if unbuilt else ""
        return Check(
            "memory profile", False, f"none fits this VRAM and RAM{also}",
            "Close other programs, or rent a machine with 12 GB of VRAM and 32 GB of RAM or more.",
        )
    place = encoder_place(gpu.free_bytes, facts.ram_bytes)
    encoder = {"gpu": "", "cpu": "; the text encoder runs on the CPU", "nowhere": "; the text encoder fits nowhere"}
    found = f"{chosen.name}: {chosen.vram_gib:.1f} GiB of VRAM, {chosen.ram_gib:.0f} GiB of RAM; {chosen.note}"
    if place == "nowhere":
        return Check("memory profile", False, found + encoder[place], "The text encoder needs 16.6 GB of RAM or VRAM.")
    return Check("memory profile", True, found + encoder[place])


def _holders(gpu: Gpu) -> str:
    """Who holds the GPU's memory, largest first."""
    if not gpu.processes:
        return "the desktop and programs that the driver does not name"
    ranked = sorted(gpu.processes, key=lambda process: -(process.used_bytes or 0))
    names = [
        f"{process.name} ({process.pid}"
        + (f", {process.used_bytes / GIB:.1f} GiB)" if process.used_bytes is not None else ")")
        for process in ranked[:_LARGEST_HOLDERS]
    ]
    rest = len(ranked) - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")


def _disk(facts: MachineFacts, chosen: Profile | None) -> Check:
    free = facts.disk_free_bytes / 1e9
    found = f"{free:.0f} GB free at {facts.disk_path}"
    need = (chosen.download_gb if chosen else 0.0) * 1.5
    if free < need:
        return Check(
            "disk", False, f"{found}; the base for '{chosen.name if chosen else ''}' wants {need:.0f} GB with reserve",
            "Free space (hf cache prune), or set HF_HOME to a larger disk.",
        )
    return Check("disk", True, found)


# --------------------------------------------------------------------------- libraries, Hub, Windows


def _libraries(facts: MachineFacts) -> list[Check]:
    diffusers = facts.libraries.get("diffusers")
    checks: list[Check] = []
    if diffusers is None:
        checks.append(Check("diffusers", False, "not installed; only 'run' needs it", _RUN_FIX))
    else:
        have = _numbers(diffusers)
        if have < (0, 36):
            checks.append(Check("diffusers", False, f"{diffusers}; Edit-2509 needs 0.36 or newer",
                                "pip install -U 'diffusers>=0.37'"))
        elif have < (0, 37):
            checks.append(Check("diffusers", False, f"{diffusers}; fits 2509, but Edit-2511 needs 0.37 or newer",
                                "pip install -U 'diffusers>=0.37'"))
        else:
            checks.append(Check("diffusers", True, diffusers))
    for name, least in (("transformers", (4, 57)), ("peft", (0, 17)), ("accelerate", (1, 2))):
        have = facts.libraries.get(name)
        wanted = ".".join(map(str, least))
        if have is None:
            checks.append(Check(name, False, "not installed; only 'run' needs it", _RUN_FIX))
        elif _numbers(have) < least:
            fix = f"pip install -U '{name}>={wanted}'"
            checks.append(Check(name, False, f"{have}; {wanted} or newer is needed", fix))
        else:
            checks.append(Check(name, True, have))
    return checks


def _hub(facts: MachineFacts) -> list[Check]:
    token = Check("Hub token", True, f"present ({facts.token_source})") if facts.token_source else Check(
        "Hub token", True, "none: public files only, 500 calls in 5 minutes", "hf auth login")
    offline = Check("offline mode", True, "on: nothing will be fetched", "unset HF_HUB_OFFLINE") if facts.offline else (
        Check("offline mode", True, "off"))
    return [token, offline]


def _windows(facts: MachineFacts) -> list[Check]:
    """Traps of Windows: links, compilation, and a driver that quietly spills into system memory."""
    if facts.system != "Windows":
        return []
    checks: list[Check] = []
    if not facts.symlinks:
        checks.append(Check(
            "cache links", False, "symbolic links are not allowed, so the Hub's cache stores files twice",
            "Settings → System → For developers → Developer Mode: on",
        ))
    if not facts.gpus:
        return checks
    if facts.libraries.get("triton") is None and facts.libraries.get("triton-windows") is None:
        checks.append(Check(
            "Triton", False, "not installed: compilation is off, pictures are the same but take longer",
            "pip install triton-windows",
        ))
    checks.append(Check(
        "driver spill", True, "the driver may use system memory instead of failing, ten times slower",
        "NVIDIA Control Panel → Manage 3D settings → CUDA - Sysmem Fallback Policy: Prefer No Sysmem Fallback",
    ))
    return checks


def _numbers(text: str) -> tuple[int, ...]:
    """Leading numbers of a version: '0.37.0.dev0' → (0, 37, 0)."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else (0,)
