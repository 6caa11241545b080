"""Where model files already lie on this machine: ComfyUI's folders, its extra paths, A1111's, and the Hub's cache.

Only names and sizes are looked at. Nothing is moved, linked or written here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

LORAS = "loras"
TRANSFORMERS = "diffusion_models"
TEXT_ENCODERS = "text_encoders"
VAE = "vae"
_FOLDERS = {
    # folder name or key of extra_model_paths.yaml → what lies there
    "loras": LORAS, "lora": LORAS, "lycoris": LORAS, "diffusion_models": TRANSFORMERS, "unet": TRANSFORMERS,
    "unet_gguf": TRANSFORMERS, "text_encoders": TEXT_ENCODERS, "clip": TEXT_ENCODERS, "vae": VAE,
}
_ENDINGS = (".safetensors", ".gguf")
_MOST_FILES = 20_000


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A weight file on this disk."""

    path: Path
    """Where it lies."""
    size_bytes: int
    """Its size."""
    place: str
    """'ComfyUI', 'Hub cache' or 'folder'."""
    kind: str
    """'loras', 'diffusion_models', 'text_encoders', 'vae' or 'unknown'."""
    repo_id: str | None = None
    """Repository, for a file of the Hub's cache."""
    file: str | None = None
    """Path inside that repository."""
    sha256: str | None = None
    """Its SHA-256, where the cache's own names tell it."""


@dataclass(frozen=True, slots=True)
class Places:
    """Folders in which to look."""

    comfy_roots: tuple[Path, ...] = ()
    """ComfyUI installations."""
    folders: tuple[tuple[Path, str], ...] = ()
    """(folder, what lies there) outside the Hub's cache."""
    hub_cache: Path | None = None
    """The Hub's cache, if it exists."""
    problems: tuple[str, ...] = field(default_factory=tuple)
    """Settings that could not be read, in sentences."""


def discover(extra: Path | None = None, home: Path | None = None, *, usual: bool = True) -> Places:
    """Look for ComfyUI and the Hub's cache in their usual places.

    Args:
        extra: A further folder (ComfyUI itself, its models, or any folder of weights), or an extra_model_paths.yaml.
        home: Home folder; the user's own without it.
        usual: False to look at `extra` alone.
    """
    roots = [root for root in _usual_roots(home or Path.home()) if usual and (root / "models").is_dir()]
    folders: list[tuple[Path, str]] = []
    problems: list[str] = []
    if extra is not None and extra.is_file():
        _read_extra(extra, folders, problems)
    elif extra is not None and (extra / "models").is_dir():
        roots.insert(0, extra)
    elif extra is not None:
        inner = [(extra / name, kind) for name, kind in _FOLDERS.items() if (extra / name).is_dir()]
        folders.extend(inner or [(extra, _FOLDERS.get(extra.name.lower(), "unknown"))])
    for root in dict.fromkeys(roots):
        folders.extend((root / "models" / name, kind) for name, kind in _FOLDERS.items())
        folders.append((root / "models" / "Lora", LORAS))
        for name in ("extra_model_paths.yaml", "extra_models_config.yaml"):
            if (root / name).is_file():
                _read_extra(root / name, folders, problems)
    there = tuple(dict.fromkeys((path, kind) for path, kind in folders if path.is_dir()))
    cache = hub_cache_folder() if usual else None
    return Places(tuple(dict.fromkeys(roots)), there, cache, tuple(problems))


def hub_cache_folder() -> Path | None:
    """The Hub's cache by its own rules (HF_HUB_CACHE, HF_HOME); None when there is none yet."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    return folder if folder.is_dir() else None


def files_in(places: Places) -> list[FoundFile]:
    """Every weight file of the places, once each, sorted by path."""
    found: dict[str, FoundFile] = {}
    for folder, kind in places.folders:
        for path in _weights(folder):
            found.setdefault(_key(path), FoundFile(path, path.stat().st_size, "ComfyUI" if _is_comfy(path, places) else
                                                  "folder", kind))
    if places.hub_cache is not None:
        for file in _cached(places.hub_cache):
            found.setdefault(_key(file.path), file)
    return sorted(found.values(), key=lambda file: str(file.path).lower())


def read_extra_paths(path: Path) -> list[tuple[Path, str]]:
    """Folders named by an `extra_model_paths.yaml`: sections, `base_path`, several lines a value, ~ and variables.

    Raises:
        ValueError: It is not such a file.
    """
    try:
        data: Any = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as YAML") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} has no sections")
    folders: list[tuple[Path, str]] = []
    for section in data.values():
        if not isinstance(section, dict):
            continue
        base = _expand(section.get("base_path"), path.parent) if section.get("base_path") else path.parent
        for key, value in section.items():
            kind = _FOLDERS.get(str(key).lower())
            if kind is None or not isinstance(value, str):
                continue
            folders.extend((_expand(line.strip(), base), kind) for line in value.splitlines() if line.strip())
    return folders


def _expand(text: Any, base: Path) -> Path:
    path = Path(os.path.expandvars(str(text))).expanduser()
    return path if path.is_absolute() else base / path


def _read_extra(path: Path, folders: list[tuple[Path, str]], problems: list[str]) -> None:
    try:
        folders.extend(read_extra_paths(path))
    except (ValueError, OSError) as error:
        problems.append(f"{path.name} was left out: {error}.")


def _usual_roots(home: Path) -> Iterator[Path]:
    """Where ComfyUI is usually installed; COMFYUI_PATH first."""
    for name in ("COMFYUI_PATH", "COMFYUI_HOME"):
        if os.environ.get(name):
            yield Path(os.environ[name]).expanduser()
    yield from (home / "ComfyUI", home / "comfy" / "ComfyUI", home / "Documents" / "ComfyUI", Path.cwd() / "ComfyUI")
    yield from (home / "stable-diffusion-webui", Path("/workspace/ComfyUI"), Path("/opt/ComfyUI"))
    for drive in ("C:/", "D:/") if os.name == "nt" else ():
        yield from (Path(drive) / "ComfyUI", Path(drive) / "ComfyUI_windows_portable" / "ComfyUI")


def _weights(folder: Path) -> Iterator[Path]:
    """Weight files below a folder; broken links and unreadable folders are passed over."""
    count = 0
    seen: set[str] = set()
    for parent, directories, names in os.walk(folder, followlinks=True, onerror=lambda _: None):
        real = os.path.realpath(parent)
        if real in seen:  # a link that leads back up
            directories.clear()
            continue
        seen.add(real)
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent) / name
            if name.lower().endswith(_ENDINGS) and path.is_file():
                count += 1
                if count > _MOST_FILES:
                    return
                yield path


def _cached(cache: Path) -> Iterator[FoundFile]:
    """Weight files of the Hub's cache. A blob of a large file is named by its SHA-256."""
    for snapshots in sorted(cache.glob("models--*/snapshots")):
        repo = snapshots.parent.name.removeprefix("models--").replace("--", "/", 1)
        for path in _weights(snapshots):
            inside = path.relative_to(snapshots).parts[1:]
            blob = path.resolve().name
            digest = blob if re.fullmatch(r"[0-9a-f]{64}", blob) else None
            yield FoundFile(path, path.stat().st_size, "Hub cache", _kind_of("/".join(inside)), repo, "/".join(inside),
                            digest)


def _kind_of(inside: str) -> str:
    head = inside.split("/")[0].lower()
    return {"transformer": TRANSFORMERS, "text_encoder": TEXT_ENCODERS, "vae": VAE}.get(head, "unknown")


def _is_comfy(path: Path, places: Places) -> bool:
    return any(root in path.parents for root in places.comfy_roots)


def _key(path: Path) -> str:
    try:
        return str(path.resolve())
    except OSError:
        return str(path)
