"""Optional recognisers ("packs"): what they are, under which licence, where their files lie. Downloads nothing.

The package's own face embedding needs no download. A pack adds a second opinion of another family: it is fetched or
copied once by `whichlora packs NAME`, checked on every load, and named with its licence wherever its figures are shown.
A file's SHA-256 is pinned where it was published and confirmed; otherwise the first file seen is remembered and a
change is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from whichlora.errors import MachineError, UnknownNameError, UserError

RECORD = "pack.json"
FOLDER_VARIABLE = "WHICHLORA_PACKS"


@dataclass(frozen=True)
class PackFile:
    """One file of a pack."""

    path: str
    """Path inside the repository that publishes it."""
    size_bytes: int | None = None
    """Published size; None where it is not known."""
    sha256: str | None = None
    """Published SHA-256, confirmed by two independent lists; None means that the first file seen is remembered."""
    usual_place: str = ""
    """Where another tool keeps it below the home folder."""

    @property
    def name(self) -> str:
        """Name under which it is kept."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Pack:
    """A recogniser that can be added."""

    name: str
    """Name on the command line."""
    title: str
    """What it is, in a few words."""
    subjects: tuple[str, ...]
    """Kinds of subject it has a say about: 'photograph', 'drawn', 'other'."""
    licence: str
    """Licence of the weights."""
    commercial: bool
    """Whether the weights may be used commercially."""
    repo_id: str
    """Hub repository that publishes the files; '' when they must be brought along."""
    files: tuple[PackFile, ...]
    """Files, all needed."""
    modules: tuple[str, ...] = ()
    """Python packages it needs beyond whichlora's own."""
    note: str = ""
    """What a user should know."""

    def licence_line(self) -> str:
        """Name, licence and whether commercial use is allowed, for every place that shows its figures."""
        return f"{self.title}: {self.licence}" + ("" if self.commercial else " — NOT for commercial use")


PACKS: dict[str, Pack] = {
    pack.name: pack
    for pack in (
        Pack(
            "yunet-sface", "YuNet + SFace (OpenCV Zoo)", ("photograph",), "MIT (YuNet), Apache-2.0 (SFace)", True,
            "opencv/opencv_zoo",
            (PackFile("models/face_detection_yunet/face_detection_yunet_2023mar.onnx", 232_589,
                      "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"),
             PackFile("models/face_recognition_sface/face_recognition_sface_2021dec.onnx", 38_696_353,
                      "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79")),
            note="the first one to add: small, permissive, of another family than the packaged embedding",
        ),
        Pack(
            "auraface", "AuraFace (ArcFace class)", ("photograph",), "Apache-2.0", True, "fal/AuraFace-v1",
            (PackFile("glintr100.onnx"),), note="261 MB; only its recognition graph is used",
        ),
        Pack(
            "arcface", "ArcFace buffalo_l (InsightFace)", ("photograph",), "InsightFace model licence, research only",
            False, "", (PackFile("w600k_r50.onnx", usual_place=".insightface/models/buffalo_l/w600k_r50.onnx"),),
            note="bring the file along; markedly weaker on East Asian faces by its authors' own figures",
        ),
        Pack(
            "dinov2", "DINOv2 small (whole subject)", ("drawn", "other"), "Apache-2.0", True, "facebook/dinov2-small",
            (PackFile("config.json"), PackFile("model.safetensors")), ("torch", "transformers"),
            note="a general embedding of the cut-out subject; decides only where it is calibrated on this subject",
        ),
        Pack(
            "ccip", "CCIP (drawn characters)", ("drawn",), "OpenRAIL (use restrictions)", True, "deepghs/ccip_onnx",
            (PackFile("ccip-caformer-24-randaug-pruned/model_feat.onnx"),), note="150 MB; one character per picture",
        ),
    )
}


def pack(name: str) -> Pack:
    """A pack by name.

    Raises:
        UnknownNameError: There is none of that name.
    """
    if name not in PACKS:
        raise UnknownNameError("identity pack", name, list(PACKS))
    return PACKS[name]


def home() -> Path:
    """Folder of all packs (WHICHLORA_PACKS, else the user's cache)."""
    told = os.environ.get(FOLDER_VARIABLE)
    if told:
        return Path(told)
    root = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if os.name == "nt" else None)
    return (Path(root) if root else Path.home() / ".cache") / "whichlora" / "packs"


def folder(name: str) -> Path:
    """Folder of one pack."""
    return home() / pack(name).name


def missing(name: str) -> list[str]:
    """Files and Python packages that a pack lacks; [] when it can be used."""
    wanted = pack(name)
    files = [file.name for file in wanted.files if not (folder(name) / file.name).is_file()]
    return files + [module for module in wanted.modules if find_spec(module) is None]


def install(name: str, sources: dict[str, Path]) -> Path:
    """Copy checked files into the pack's folder and remember their hashes.

    Args:
        name: Pack.
        sources: File name → a file with its content; every file of the pack.

    Raises:
        UserError: A file is missing, or is not the published one.
    """
    wanted = pack(name)
    place = folder(name)
    record: dict[str, str] = {}
    checked: list[tuple[PackFile, Path]] = []
    for file in wanted.files:
        source = sources.get(file.name)
        if source is None or not source.is_file():
            raise UserError(f"The pack '{name}' needs '{file.name}', which is not there.",
                            fix=f"Fetch it with: whichlora packs {name}")
        found = _sha256(source)
        if file.sha256 is not None and found != file.sha256:
            raise UserError(
                f"'{source}' has SHA-256 {found[:12]}…, the published '{file.name}' has {file.sha256[:12]}….",
                fix="Fetch the file anew; a recogniser that nobody knows is not used.",
            )
        record[file.name] = found
        checked.append((file, source))
    place.mkdir(parents=True, exist_ok=True)
    for file, source in checked:
        part = place / f"{file.name}.part"
        part.write_bytes(source.read_bytes())
        part.replace(place / file.name)
    (place / RECORD).write_text(json.dumps({"pack": name, "sha256": record}, indent=1) + "\n", encoding="utf-8")
    _checked.cache_clear()
    return place


def file_of(name: str, file_name: str) -> Path:
    """A file of an installed pack, checked against its pinned or remembered hash.

    Raises:
        UserError: The pack is not installed.
        MachineError: The file changed since it was installed.
    """
    lacking = missing(name)
    if lacking:
        raise UserError(f"The identity pack '{name}' lacks {', '.join(lacking)}.", fix=_how(name, lacking))
    path = folder(name) / file_name
    state = path.stat()
    _checked(str(path), state.st_size, state.st_mtime_ns, _expected(name, file_name))
    return path


def check(name: str) -> str:
    """Check every file of a pack; a short hash of them all.

    Raises:
        UserError: The pack is not installed.
        MachineError: A file changed since it was installed.
    """
    hashes = [file_of(name, file.name).name + _expected(name, file.name) for file in pack(name).files]
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:16]


def _how(name: str, lacking: list[str]) -> str:
    modules = [item for item in lacking if item in pack(name).modules]
    line = f"Run: whichlora packs {name}"
    return f"{line}; and: pip install 'whichlora[run]'" if modules else line


def _expected(name: str, file_name: str) -> str:
    pinned = next((file.sha256 for file in pack(name).files if file.name == file_name), None)
    if pinned is not None:
        return pinned
    try:
        record = json.loads((folder(name) / RECORD).read_text(encoding="utf-8"))
        return str(record["sha256"][file_name])
    except (OSError, ValueError, KeyError, TypeError):
        raise MachineError(f"Nothing says what '{file_name}' of the pack '{name}' should be.",
                           fix=f"Install it again: whichlora packs {name}") from None


@lru_cache(maxsize=16)
def _checked(path: str, size: int, changed_ns: int, expected: str) -> None:
    """Raise unless the file has the expected hash; asked again only when the file's size or time changed."""
    del size, changed_ns
    found = _sha256(Path(path))
    if found != expected:
        raise MachineError(f"'{path}' has SHA-256 {found[:12]}…, not {expected[:12]}…: it was changed or damaged.",
                           fix="Install the pack again; nothing is scored with a tampered model.")


def _sha256(path: Path) -> str:
    state = hashlib.sha256()
    with path.open("rb") as data:
        for block in iter(lambda: data.read(1 << 20), b""):
            state.update(block)
    return state.hexdigest()
