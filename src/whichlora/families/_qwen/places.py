"""Find the parts of a Qwen-Image-Edit base on disk: folder, Hub cache, single-file or GGUF transformer.

Reads configurations and file headers only; never loads a weight, never touches the network, never opens a pickle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichlora.errors import UserError
from whichlora.quoting import quoted

HINTS = "whichlora.json"
"""Optional file in a base folder: {'id': …, 'sampler': {settings of SamplerProfile}, 'random_weights': true}."""
PIPELINE_CLASS = "QwenImageEditPlusPipeline"
FIRST_CLASS = "QwenImageEditPipeline"
"""The first Qwen-Image-Edit: one picture, which the text encoder sees at the size that the VAE does."""
TRANSFORMER_CLASS = "QwenImageTransformer2DModel"
SEPARATOR = "::"
"""Joins folder and transformer file in `BaseModel.location` (no path on any system holds two colons)."""

_WEIGHT_STEMS = {"transformer": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
_CONFIG_NAMES = {
    "transformer": "config.json", "vae": "config.json", "text_encoder": "config.json",
    "scheduler": "scheduler_config.json",
}
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
_SNAPSHOT = re.compile(r"models--([^/\\]+?)--([^/\\]+)[/\\]snapshots[/\\]")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of a base lie."""

    id: str
    """Hub id, or the folder's name."""
    folder: Path
    """Diffusers folder with model_index.json."""
    transformer_file: Path | None
    """Single-file or GGUF transformer that replaces the folder's own weights; None when there is none."""
    weights: Mapping[str, tuple[Path, ...]]
    """Weight files by part: 'transformer', 'text_encoder', 'vae'."""
    configs: tuple[Path, ...]
    """Every other file that can change a picture: configurations, tokenizer, processor."""
    random_weights: bool = False
    """Whether weights are drawn at random: a rehearsal at true size, without any weight file."""

    one_picture: bool = False
    """True for the first Qwen-Image-Edit, which takes one picture and names none."""

    @property
    def location(self) -> str:
        """Text from which `find_places` finds the same parts again."""
        if self.transformer_file is None:
            return str(self.folder)
        return f"{self.folder}{SEPARATOR}{self.transformer_file}"


def weight_bytes(places: Places) -> int:
    """Size of the transformer's weights on disk."""
    if places.random_weights:
        return transformer_size(places.folder)
    files = (places.transformer_file,) if places.transformer_file else places.weights["transformer"]
    return sum(path.stat().st_size for path in files)


def transformer_size(folder: Path) -> int:
    """Bytes of the transformer of a folder's configuration, in bf16."""
    from whichlora.families._qwen.files import shape_of
    from whichlora.families._qwen.profiles import transformer_bytes

    return sum(transformer_bytes(shape_of(str(folder)), 2))


def find_places(location: str, transformer_file: str | None = None, revision: str | None = None) -> Places:
    """Find every part of a base.

    Args:
        location: Diffusers folder, Hub id in the local Hugging Face cache, or either with '::' and a transformer file.
        transformer_file: ComfyUI single file (.safetensors) or GGUF that replaces the folder's transformer weights.
        revision: Commit or branch of a Hub id; the default branch when None.

    Raises:
        UserError: A part is missing or of another model; the message names the folder or file.
    """
    if SEPARATOR in location:
        location, _, inside = location.partition(SEPARATOR)
        transformer_file = transformer_file or inside
    folder, base_id = _folder_of(location, revision)
    index = read_json(folder / "model_index.json", "the list of its parts")
    first = index.get("_class_name") == FIRST_CLASS
    if not first:
        _check_class(folder, index.get("_class_name"), PIPELINE_CLASS)
    for part, name in _CONFIG_NAMES.items():
        if not (folder / part / name).is_file():
            raise _missing(folder, f"{part}/{name}")
    if not any((folder / "processor").glob("*.json")):
        raise _missing(folder, "processor/ (the text encoder's image processor and tokenizer)")
    _check_class(folder, read_json(folder / "transformer" / "config.json", "").get("_class_name"), TRANSFORMER_CLASS)
    if read_hints(folder).get("random_weights") is True:
        if transformer_file:
            raise UserError(f"'{folder}' is a base of random weights; a transformer file cannot replace them.",
                            fix="Leave out transformer_file, or remove random_weights from its whichlora.json.")
        return Places(base_id, folder, None, {}, _configs(folder), random_weights=True, one_picture=first)
    single = _transformer_file(transformer_file)
    weights: dict[str, tuple[Path, ...]] = {
        "transformer": (single,) if single else _weights(folder, "transformer"),
        "text_encoder": _weights(folder, "text_encoder"),
        "vae": _weights(folder, "vae"),
    }
    for files in weights.values():
        for file in files:
            check_weight_file(file)
    return Places(base_id, folder, single, weights, _configs(folder), one_picture=first)


def read_hints(folder: Path) -> dict[str, Any]:
    """The base's own whichlora.json: {'id', 'sampler', 'random_weights'}; empty when there is none."""
    path = folder / HINTS
    return read_json(path, "hints about the base") if path.is_file() else {}


def read_json(path: Path, purpose: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: The file is missing or is no JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({purpose or 'a part of the base'}): {error.strerror or error}.",
                        fix="Point to a folder saved by diffusers, or to a Hub id in the cache.") from error
    except ValueError as error:
        raise UserError(f"'{path}' is not valid JSON ({error}).", fix="Fetch the base again.") from error
    if not isinstance(data, dict):
        raise UserError(f"'{path}' holds no JSON object.", fix="Fetch the base again.")
    return data


def check_weight_file(path: Path) -> None:
    """See by its first bytes that a weight file is what its name says, and whole.

    Raises:
        UserError: The file is a pickle, cut short, or something else in disguise.
    """
    if path.suffix == ".gguf":
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise UserError(f"'{path}' is no GGUF file although its name says so.", fix="Fetch it again.")
        return
    size = path.stat().st_size
    header = read_safetensors_header(path)
    ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
    with path.open("rb") as file:
        expected = 8 + int.from_bytes(file.read(8), "little") + max(ends, default=0)
    if size != expected:
        raise UserError(f"'{path}' is damaged: its header promises {expected:,} bytes, it has {size:,}.",
                        fix="Fetch it again.")


def read_safetensors_header(path: Path) -> dict[str, Any]:
    """Read the header of a base's weight file (shards of a 20 B model have headers far below the cap).

    Raises:
        UserError: The file has no valid safetensors header.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(100_000_000, path.stat().st_size):
                raise ValueError(f"header length {length}")
            header = json.loads(file.read(length))
        if not all("data_offsets" in entry for key, entry in header.items() if key != "__metadata__"):
            raise ValueError("entries without data_offsets")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"'{path}' is not a safetensors file ({error}).", fix="Fetch it again.") from error
    return header


def _folder_of(location: str, revision: str | None) -> tuple[Path, str]:
    """Folder and id of a location; a Hub id is looked up in the local cache only (downloads belong to `fetch`)."""
    path = Path(location).expanduser()
    if path.is_dir():
        match = _SNAPSHOT.search(f"{path.resolve()}/") or _SNAPSHOT.search(f"{path}/")
        return path, f"{match[1]}/{match[2]}" if match else path.resolve().name
    if path.is_file():
        raise UserError(
            f"'{location}' is a single file, but a base also needs text encoder, VAE and configurations.",
            fix="Give a diffusers folder or Hub id as the base and this file as its transformer_file.",
        )
    if not _HUB_ID.match(location):
        raise UserError(f"There is no folder '{location}', and it is no Hub id such as Qwen/Qwen-Image-Edit-2509.",
                        fix="Check the path of the base.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(location, revision=revision, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise UserError(
            f"The base '{location}' is neither a folder nor in the local Hugging Face cache.",
            fix=f"Fetch it with: whichlora fetch {quoted(location)}",
        ) from error
    return Path(found), location


def _transformer_file(name: str | None) -> Path | None:
    if not name:
        return None
    path = Path(name).expanduser()
    if path.suffix.lower() in _PICKLES:
        raise _pickle(path)
    if not path.is_file():
        raise UserError(f"There is no transformer file '{path}'.", fix="Check transformer_file in the base's options.")
    if path.suffix.lower() not in (".safetensors", ".gguf"):
        raise UserError(f"'{path}' is neither .safetensors nor .gguf.", fix="Only these two kinds are loaded.")
    return path


def _weights(folder: Path, part: str) -> tuple[Path, ...]:
    """Weight files of a part: one file, or every shard that its index names."""
    stem = _WEIGHT_STEMS[part]
    index = folder / part / f"{stem}.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(read_json(index, "the list of shards").get("weight_map", {}).values()))
        if not shards:
            raise UserError(f"'{index}' names no shard.", fix="Fetch the base again.")
        for shard in shards:
            if "/" in shard or "\\" in shard:
                raise UserError(f"'{index}' names a shard outside its folder: '{shard}'.", fix="Do not use this base.")
            if not (folder / part / shard).is_file():
                raise _missing(folder, f"{part}/{shard}")
        return tuple(folder / part / shard for shard in shards)
    single = folder / part / f"{stem}.safetensors"
    if single.is_file():
        return (single,)
    for other in sorted((folder / part).iterdir()):
        if other.suffix.lower() in _PICKLES:
            raise _pickle(other)
    raise _missing(folder, f"{part}/{stem}.safetensors (or its index and shards)")


def _configs(folder: Path) -> tuple[Path, ...]:
    """Files beside the weights that can change a picture, in a fixed order."""
    found = [folder / part / name for part, name in _CONFIG_NAMES.items()]
    found += [
        path for path in (folder / "processor").iterdir()
        if path.is_file() and path.suffix in (".json", ".txt", ".jinja") and not path.name.startswith(".")
    ]
    return tuple(sorted(found))


def _check_class(folder: Path, found: Any, wanted: str) -> None:
    if found != wanted:
        raise UserError(
            f"'{folder}' holds a {found or 'model of unknown class'}, not a {wanted}.",
            fix="This family drives Qwen-Image-Edit-2509, 2511 and models built like them.",
        )


def _missing(folder: Path, what: str) -> UserError:
    return UserError(f"The base '{folder}' lacks {what}.", fix="Fetch what is missing, or point to a whole base.")


def _pickle(path: Path) -> UserError:
    return UserError(f"'{path}' is a pickle, which can run code when it is opened; it is never loaded.",
                     fix="Use the same weights as .safetensors.")
