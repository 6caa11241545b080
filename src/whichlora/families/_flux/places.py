"""Find a FLUX base on disk and fingerprint it: diffusers folder or Hub cache, whole, no pickle, no network, no torch.

The shapes of the transformer are read from the headers of its own weight files, so a LoRA can be checked against the
very model that it would change.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from whichlora.errors import UserError
from whichlora.families._qwen.identity import weight_identity
from whichlora.families._qwen.places import check_weight_file, read_json, read_safetensors_header
from whichlora.quoting import quoted
from whichlora.types import fingerprint

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_TEXTS = (".json", ".txt", ".jinja", ".model")


@dataclass(frozen=True, slots=True)
class FluxPlace:
    """Where a base lies."""

    id: str
    """Hub id, or the folder's name."""
    folder: Path
    weights: tuple[Path, ...]
    """Every weight file of every part."""
    configs: tuple[Path, ...]
    """Every other file that can change a picture."""

    @property
    def fingerprint(self) -> str:
        """Hash that changes with weights, tokenizers and configurations, and not with paths."""
        facts = {path.relative_to(self.folder).as_posix(): weight_identity(path)
                 for path in (*self.configs, *self.weights)}
        return fingerprint(["flux-base", 1, facts])


def find_place(location: str, pipeline_class: str) -> FluxPlace:
    """Find every part of a base.

    Args:
        location: Diffusers folder, or Hub id in the local Hugging Face cache.
        pipeline_class: What its model_index.json must say.

    Raises:
        UserError: A part is missing, is a pickle, or belongs to another model.
    """
    folder, name = _folder(location)
    index = read_json(folder / "model_index.json", "the list of its parts")
    if index.get("_class_name") != pipeline_class:
        raise UserError(f"'{folder}' holds a {index.get('_class_name') or 'model of unknown class'}, not a "
                        f"{pipeline_class}.", fix="Name the family that drives it, or another base.")
    weights: list[Path] = []
    configs: list[Path] = [folder / "model_index.json"]
    parts = [part for part, entry in index.items()
             if not part.startswith("_") and isinstance(entry, list) and entry and entry[0]]
    for part in parts:
        if not (folder / part).is_dir():
            raise UserError(f"The base '{folder}' lacks {part}/.", fix="Fetch what is missing.")
        files = sorted(path for path in (folder / part).iterdir() if path.is_file() and not path.name.startswith("."))
        found = _weights_of(folder / part, files)
        for path in found:
            check_weight_file(path)
        weights += found
        configs += [path for path in files if path.suffix in _TEXTS and not path.name.endswith(".index.json")]
    if not any(path.parent.name == "transformer" for path in weights):
        raise UserError(f"The base '{folder}' has no transformer weights.", fix="Fetch the base again.")
    return FluxPlace(name, folder, tuple(weights), tuple(configs))


@lru_cache(maxsize=8)
def linear_shapes(folder: str) -> dict[str, tuple[int, int]]:
    """(out, in) of every two-dimensional weight of the transformer, by module path."""
    found: dict[str, tuple[int, int]] = {}
    for path in sorted((Path(folder) / "transformer").glob("*.safetensors")):
        for key, entry in read_safetensors_header(path).items():
            if key != "__metadata__" and key.endswith(".weight") and len(entry["shape"]) == 2:
                found[key.removesuffix(".weight")] = (int(entry["shape"][0]), int(entry["shape"][1]))
    return found


def _weights_of(folder: Path, files: list[Path]) -> list[Path]:
    found = [path for path in files if path.suffix == ".safetensors"]
    pickled = [path for path in files if path.suffix in _PICKLES]
    if pickled and not found:
        raise UserError(f"'{pickled[0]}' is a pickle, which can run code when it is opened; it is never loaded.",
                        fix="Use the same weights as .safetensors.")
    for index in (path for path in files if path.name.endswith(".safetensors.index.json")):
        for shard in set(read_json(index, "the list of shards").get("weight_map", {}).values()):
            if not (folder / str(shard)).is_file() or "/" in str(shard) or "\\" in str(shard):
                raise UserError(f"The base lacks '{folder.name}/{shard}'.", fix="Fetch the base again.")
    return found


def _folder(location: str) -> tuple[Path, str]:
    path = Path(location).expanduser()
    if path.is_dir():
        return path, path.resolve().name
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(location, local_files_only=True)), location
    except (LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise UserError(f"The base '{location}' is neither a folder nor in the local Hugging Face cache.",
                        fix=f"Fetch it with: whichlora fetch {quoted(location)}") from error
