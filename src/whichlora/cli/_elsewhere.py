"""Scoring pictures made elsewhere (ComfyUI, SwarmUI, A1111): a folder of files, no project, nothing stored."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichlora.cli._prompts import edit_of, prompt_of
from whichlora.errors import PhotoError, UserError
from whichlora.quoting import quoted
from whichlora.types import EditCase, Generation, Measurement

if TYPE_CHECKING:
    from whichlora.vision.memory import Picture

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
FAMILIES = ("camera", "lighting", "background", "expression", "trigger")
TARGETS = {
    "yaw_deg": "camera", "pitch_deg": "camera", "zoom": "camera", "view": "camera", "light": "lighting",
    "background": "background", "expression": "expression",
}
"""What may be asked, and the kind of edit that it belongs to."""
KEEP = {
    "camera": ("identity", "clothes"),
    "lighting": ("identity", "clothes", "pose", "background"),
    "background": ("identity", "clothes", "pose"),
    "expression": ("identity", "clothes", "pose", "background", "lighting"),
    "trigger": ("identity",),
}
NO_PROMPT = "not measured: no prompt can be read from this file; say with --edit what was asked"
NO_SOURCE_NEEDED = ("identity/face", "identity/figure", "identity/other", "artifacts/valid")

SAME_ASPECT = 0.04
"""Relative difference of width : height up to which a source is simply resized to its picture."""


@dataclass(frozen=True)
class Wanted:
    """What the user said about a folder of pictures."""

    source: Path | None
    """A photograph, or a folder with one of the same file name (without ending) per picture."""
    refs: Sequence[Path]
    """The character's photographs; without any, the sources."""
    impostors: Sequence[Path]
    """Photographs of others."""
    subject: str
    """'auto' or a kind of subject."""
    edit: str
    """Edit family; '' takes it from each picture's prompt."""
    target: Mapping[str, Any]
    """Target of the edit, when `edit` is given."""
    packs: tuple[str, ...] = ()
    """Identity packs to ask as well."""


def pictures_in(folder: Path) -> list[Path]:
    """Picture files of a folder, by name.

    Raises:
        UserError: The folder is missing or holds none.
    """
    if folder.is_file():
        raise UserError(f"'{folder}' is a file; a folder of pictures is scored.",
                        fix=f"Name the folder, such as: {quoted(folder.parent)}")
    if not folder.is_dir():
        raise UserError(f"There is no folder '{folder}'.", fix="Name a folder of PNG, JPEG or WebP pictures.")
    found = sorted(
        path for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not found:
        raise UserError(f"'{folder}' holds no PNG, JPEG or WebP pictures.", fix="Name the folder they were saved to.")
    return found


def pictures_of(places: Sequence[Path]) -> list[Path]:
    """Files as given; folders as the pictures in them.

    Raises:
        UserError: A folder holds no picture. Missing files are told when they are opened.
    """
    return [path for place in places for path in (pictures_in(place) if place.is_dir() else [place])]


def parse_target(pairs: Sequence[str]) -> dict[str, Any]:
    """'yaw_deg=45' → {'yaw_deg': 45.0}; words stay words.

    Raises:
        UserError: A pair is not of the form key=value, or its key is unknown.
    """
    target: dict[str, Any] = {}
    for pair in pairs:
        key, mark, value = pair.partition("=")
        if not mark or key not in TARGETS or not value.strip():
            raise UserError(f"'{pair}' is not a target.", fix=f"Write key=value with a key of: {', '.join(TARGETS)}.")
        try:
            number = float(value)
        except ValueError:
            target[key] = value.strip()
            continue
        if not math.isfinite(number):
            raise UserError(f"'{pair}' is not a finite number.", fix="Write, for example, yaw_deg=45.")
        target[key] = number
    return target


def score_folder(
    folder: Path, wanted: Wanted, watch: Callable[[int, int], None] = lambda *_: None,
) -> list[dict[str, Any]]:
    """Measure every picture of a folder; see docs/json.md for the entries.

    Args:
        folder: The pictures.
        wanted: What the user said about them.
        watch: Called with (pictures done, pictures in all).

    Raises:
        UserError: Folder, source or references are missing.
    """
    from whichlora import registry
    from whichlora.metrics.scoring import prepare_all

    paths = pictures_in(folder)
    sources = _sources(paths, wanted.source)
    names = [name for name in registry.names("metrics") if not name.startswith("cost/")]
    subject = _subject(paths, sources, wanted)
    prepared = prepare_all(subject, names)
    entries = []
    for done, path in enumerate(paths, start=1):
        entries.append(_entry(path, sources[path], wanted, prepared, names, subject.kind))
        watch(done, len(paths))
    return entries


def _sources(paths: Sequence[Path], source: Path | None) -> dict[Path, Path | None]:
    """The source photograph of every picture."""
    if source is None:
        return dict.fromkeys(paths)
    if source.is_file():
        return dict.fromkeys(paths, source)
    if not source.is_dir():
        raise PhotoError(f"There is no source photograph at '{source}'.", fix="Give a file or a folder.")
    by_stem = {path.stem: path for path in pictures_in(source)}
    found: dict[Path, Path | None] = {path: by_stem.get(path.stem) for path in paths}
    if not any(found.values()):
        raise UserError(f"No picture has a source of the same name in '{source}'.",
                        fix="Name the sources like the pictures, or give one file with --source.")
    return found


def _subject(paths: Sequence[Path], sources: Mapping[Path, Path | None], wanted: Wanted) -> Any:
    """References and impostors; without --refs the sources are the references."""
    from whichlora.metrics.base import Reference, Subject
    from whichlora.suite.photos import examine_photos
    from whichlora.vision.picture import open_picture

    own = list(wanted.refs) or sorted({path for path in sources.values() if path is not None})
    if not own:
        raise UserError("Nothing says who the character is.", fix="Give --source PHOTOGRAPH or --refs FOLDER.")
    others = list(wanted.impostors)
    kind = examine_photos(own, kind=wanted.subject).kind
    return Subject(kind, (
        *(Reference(path.name, open_picture(path), same=True) for path in own),
        *(Reference(path.name, open_picture(path), same=False) for path in others),
    ), wanted.packs)


@lru_cache(maxsize=4)
def _opened(source: Path) -> Picture:
    """A photograph that several pictures were made from."""
    from whichlora.vision.picture import open_picture

    return open_picture(source)


def _entry(
    path: Path, source: Path | None, wanted: Wanted, prepared: Mapping[str, Any], names: Sequence[str], kind: str,
) -> dict[str, Any]:
    """One picture's scores as plain data; an unreadable picture is an entry with a reason, not an end."""
    from whichlora.metrics.base import View
    from whichlora.metrics.scoring import measure_picture
    from whichlora.vision.picture import lasting, open_with_text, resized

    try:
        output, text = open_with_text(path)
    except PhotoError as error:
        return {"path": str(path), "prompt": "", "family": "", "target": {}, "scores": {}, "gates": {"valid": False},
                "reasons": {"artifacts/valid": error.message}, "passed": False}
    prompt = prompt_of(text)
    family, target = (wanted.edit, dict(wanted.target)) if wanted.edit else edit_of(prompt)
    case = EditCase(path.name, str(source or ""), path.stem, family, prompt, target, KEEP.get(family, ("identity",)))
    picture, lacking = output, "no source was given (--source)"
    if source is not None:
        picture, lacking = _opened(source), ""
        if abs(_aspect(picture) / _aspect(output) - 1) > SAME_ASPECT:
            lacking = f"the picture's shape differs from that of its source '{source.name}'"
    height, width = output.shape[:2]
    picture = output if lacking else lasting(resized(picture, height, width))
    usable = [name for name in names if not lacking or name in NO_SOURCE_NEEDED]
    view = View(picture, output, case, Generation(path.name, "done", None, {}, 0))
    measured = measure_picture(view, prepared, usable)
    for name in names:
        if name not in measured:
            measured[name] = Measurement(None, f"not measured: {lacking}")
    if not wanted.edit and not prompt and "following/trigger" in measured:
        measured["following/trigger"] = replace(measured["following/trigger"], reason=NO_PROMPT)
    gates = dict(_gates(measured, kind))
    return {
        "path": str(path), "prompt": prompt, "family": family, "target": target,
        "scores": {name: item.value for name, item in measured.items()},
        "reasons": {name: item.reason for name, item in measured.items() if item.reason},
        "gates": gates, "passed": _all(gates.values()), "licences": _licences(measured),
    }


def _licences(measured: Mapping[str, Measurement]) -> list[str]:
    """Licence lines of the optional recognisers that had a say."""
    lines: set[str] = set()
    for item in measured.values():
        asked = [item.detail, *item.detail.get("recognisers", ())] if item.detail else []
        lines.update(str(entry["licence"]) for entry in asked if ": " in str(entry.get("licence", "")))
    return sorted(lines)


def _aspect(picture: Any) -> float:
    return float(picture.shape[1] / picture.shape[0])


def _gates(measured: Mapping[str, Measurement], kind: str) -> Iterator[tuple[str, bool | None]]:
    """Per condition of the consistency rate: False when any metric says no, None when one cannot tell."""
    from whichlora import registry
    from whichlora.metrics.trust import deciding

    for gate in ("valid", "edit", "identity", "artefact"):
        answers = [
            item.passed for name, item in measured.items()
            if deciding(registry.load("metrics", name), item, kind) == gate
            and not item.reason.startswith("not applicable")
        ]
        yield gate, _all(answers) if answers else None


def _all(answers: Any) -> bool | None:
    """False as soon as one is False, else None as soon as one is None."""
    listed = list(answers)
    if any(answer is False for answer in listed):
        return False
    return None if any(answer is None for answer in listed) else True
