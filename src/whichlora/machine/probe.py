"""Read the facts of this machine: Python, GPUs, memory, disk, library versions. Judges nothing, changes nothing.

GPUs are read from `nvidia-smi`, so that a laptop without torch can be probed; versions are read from package metadata
and torch's build from its own `version.py`, so that nothing heavy is imported.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "diffusers", "transformers", "peft", "accelerate", "safetensors", "gguf",
             "huggingface_hub", "bitsandbytes", "torchao", "triton", "triton-windows", "ray", "hf-xet")
"""Packages whose versions matter."""
GIB = 1024**3
_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that holds memory of a GPU."""

    pid: int
    """Process id."""
    name: str
    """Program, without its folder."""
    used_bytes: int | None
    """GPU memory; None where the driver does not tell (Windows)."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """An NVIDIA GPU."""

    index: int
    """Number."""
    name: str
    """Product name."""
    total_bytes: int
    """Memory."""
    free_bytes: int
    """Memory that is free now."""
    driver: str
    """Driver version."""
    capability: str = ""
    """Compute capability, such as '8.9'."""
    processes: tuple[GpuProcess, ...] = ()
    """Who holds the rest."""


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """The installed torch, by its files or by asking it."""

    version: str
    """Version with its local part."""
    cuda: str | None
    """CUDA version it was built for, None for a CPU build."""
    hip: str | None = None
    """ROCm version it was built for."""
    sees_gpu: bool | None = None
    """Whether it sees a GPU; None when it was not asked."""
    problem: str = ""
    """Why it could not be imported."""


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """Everything that the checks look at."""

    system: str
    """'Linux', 'Windows' or 'Darwin'."""
    architecture: str
    """'x86_64', 'arm64', …"""
    python: tuple[int, int, int]
    """Python version."""
    gpus: tuple[Gpu, ...]
    """NVIDIA GPUs."""
    gpu_problem: str
    """Why the driver's tool did not answer; '' when it did or is not there."""
    ram_bytes: int
    """Memory this process may use (a container's limit counts)."""
    ram_free_bytes: int
    """Memory that is available now."""
    disk_path: Path
    """Folder in which downloads go."""
    disk_free_bytes: int
    """Space left there."""
    libraries: Mapping[str, str | None] = field(default_factory=dict)
    """Package → version, None when it is not installed."""
    torch: TorchBuild | None = None
    """Torch, if installed."""
    token_source: str = ""
    """Where a Hub token lies; '' without one. The token itself is never kept."""
    offline: bool = False
    """HF_HUB_OFFLINE."""
    symlinks: bool = True
    """Whether symbolic links can be made where the cache lies."""


def probe(*, ask_torch: bool = False) -> MachineFacts:
    """Read the facts of this machine.

    Args:
        ask_torch: Import torch and ask it for its GPUs: a few seconds, and some GPU memory.
    """
    gpus, problem = read_gpus()
    total, free = read_ram()
    folder = cache_folder()
    return MachineFacts(
        system=platform.system(), architecture=platform.machine(), python=sys.version_info[:3], gpus=gpus,
        gpu_problem=problem, ram_bytes=total, ram_free_bytes=free, disk_path=folder,
        disk_free_bytes=shutil.disk_usage(_existing(folder)).free,
        libraries={name: _version(name) for name in LIBRARIES},
        torch=read_torch(ask=ask_torch), token_source=token_source(), offline=is_offline(),
        symlinks=can_symlink(_existing(folder)),
    )


# --------------------------------------------------------------------------- GPUs


def read_gpus() -> tuple[tuple[Gpu, ...], str]:
    """NVIDIA GPUs by `nvidia-smi`, and why it failed when it is there and failed."""
    tool = _find_smi()
    if tool is None:
        return (), ""
    fields = "index,uuid,name,memory.total,memory.free,driver_version,compute_cap"
    answer, problem = _ask(tool, f"--query-gpu={fields}")
    if problem:
        return (), problem
    used, _ = _ask(tool, "--query-compute-apps=gpu_uuid,pid,process_name,used_memory")
    return parse_gpus(answer, used), ""


def parse_gpus(answer: str, processes: str = "") -> tuple[Gpu, ...]:
    """Read `nvidia-smi`'s CSV without header and units.

    Args:
        answer: Lines of index, uuid, name, total MiB, free MiB, driver, compute capability.
        processes: Lines of uuid, pid, program, used MiB or '[N/A]'.
    """
    holders: dict[str, list[GpuProcess]] = {}
    for cells in _rows(processes, 4):
        if cells[1].isdigit():
            # A program's path may hold commas: what is left and right of it is fixed.
            program = re.split(r"[\\/]", ", ".join(cells[2:-1]))[-1]
            holders.setdefault(cells[0], []).append(GpuProcess(int(cells[1]), program, _mib(cells[-1])))
    found: list[Gpu] = []
    for cells in _rows(answer, 7):
        total, free = _mib(cells[3]), _mib(cells[4])
        if not cells[0].isdigit() or total is None:
            continue
        found.append(Gpu(
            int(cells[0]), cells[2], total, total if free is None else free, cells[5],
            cells[6] if re.fullmatch(r"\d+\.\d+", cells[6]) else "", tuple(holders.get(cells[1], ())),
        ))
    return tuple(found)


def _rows(text: str, least: int) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.strip()]
    return [row for row in rows if len(row) >= least]


def _mib(text: str) -> int | None:
    return int(float(text)) * _MIB if re.fullmatch(r"\d+(?:\.\d+)?", text) else None


def _find_smi() -> str | None:
    found = shutil.which("nvidia-smi")
    if found:
        return found
    for path in (r"C:\Windows\System32\nvidia-smi.exe", r"C:\Program Files\NVIDIA Corporation\NVSMI\nvidia-smi.exe",
                 "/usr/lib/wsl/lib/nvidia-smi"):
        if Path(path).is_file():
            return path
    return None


def _ask(tool: str, query: str) -> tuple[str, str]:
    """Answer of the tool, or why it failed."""
    try:
        done = subprocess.run(
            [tool, query, "--format=csv,noheader,nounits"], capture_output=True, timeout=20, check=False,
            encoding="utf-8", errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"nvidia-smi did not answer ({type(error).__name__})"
    if done.returncode != 0:
        words = (done.stdout + done.stderr).strip().splitlines()
        return "", f"nvidia-smi failed: {words[0][:160] if words else f'exit status {done.returncode}'}"
    return done.stdout, ""


# --------------------------------------------------------------------------- memory and disk


def read_ram() -> tuple[int, int]:
    """Total and available memory in bytes; a container's limit counts as the total."""
    import psutil

    memory = psutil.virtual_memory()
    total, free = int(memory.total), int(memory.available)
    limit, used = _container_limit()
    if limit is not None and limit < total:
        return limit, min(free, max(0, limit - used))
    return total, free


def _container_limit() -> tuple[int | None, int]:
    """Memory limit and use of the container (cgroup 2, then 1); None without one."""
    pairs = (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    )
    for limit, used in pairs:
        try:
            text = Path(limit).read_text(encoding="ascii").strip()
            if text.isdigit():
                return int(text), int(Path(used).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
    return None, 0


def cache_folder() -> Path:
    """The Hub's cache, by its own rules."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return Path.home() / ".cache" / "huggingface" / "hub"
    return Path(constants.HF_HUB_CACHE)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next((path for path in (folder, *folder.parents) if path.exists()), Path.cwd())


def can_symlink(folder: Path) -> bool:
    """Whether a symbolic link can be made in a folder; without, the Hub's cache stores files twice."""
    try:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            (Path(name) / "file").touch()
            (Path(name) / "link").symlink_to(Path(name) / "file")
    except (OSError, NotImplementedError):
        return os.name != "nt"  # an unwritable folder elsewhere says nothing of links
    return True


# --------------------------------------------------------------------------- libraries and the Hub


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def read_torch(*, ask: bool) -> TorchBuild | None:
    """The installed torch, read from its files; imported only when asked."""
    installed = _version("torch")
    if installed is None:
        return None
    if ask:
        return _asked_torch(installed)
    spec = importlib.util.find_spec("torch")
    file = Path(spec.origin).parent / "version.py" if spec is not None and spec.origin else None
    try:
        text = file.read_text(encoding="utf-8") if file is not None else ""
    except OSError:
        text = ""
    return parse_torch(installed, text)


def parse_torch(installed: str, text: str) -> TorchBuild:
    """Read torch's `version.py`; the version's local part ('+cpu') serves when it says nothing."""
    found: dict[str, str | None] = {}
    for name in ("cuda", "hip"):
        hit = re.search(rf"^{name}(?:\s*:[^=\n]+)?\s*=\s*(?:'([^']*)'|\"([^\"]*)\"|None)", text, re.MULTILINE)
        found[name] = (hit[1] or hit[2]) if hit else None
    local = installed.partition("+")[2]
    if found["cuda"] is None and local.startswith("cu") and local[2:].isdigit():
        found["cuda"] = f"{local[2:-1]}.{local[-1]}"
    return TorchBuild(installed, found["cuda"], found["hip"])


def _asked_torch(installed: str) -> TorchBuild:
    try:
        import torch
    except (ImportError, OSError) as error:
        return TorchBuild(installed, None, problem=f"{type(error).__name__}: {str(error)[:160]}")
    sees = bool(torch.cuda.is_available()) or bool(torch.backends.mps.is_available())
    return TorchBuild(torch.__version__, torch.version.cuda, getattr(torch.version, "hip", None), sees)


def token_source() -> str:
    """Where a Hub token lies: 'HF_TOKEN' or 'hf auth login'; '' without one. The token itself is not returned."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name, "").strip():
            return name
    try:
        from huggingface_hub import constants

        path = Path(constants.HF_TOKEN_PATH)
        return "hf auth login" if path.is_file() and path.stat().st_size > 0 else ""
    except (ImportError, OSError):
        return ""


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is on."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").strip().upper() in {"1", "ON", "YES", "TRUE"} for name in names)
