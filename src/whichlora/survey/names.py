"""How a file on the Hub is written in a suite, and under which name it lies in a project. Names only."""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
from dataclasses import dataclass

from whichlora.survey.text import stem

RESERVED = frozenset({
    "con", "prn", "aux", "nul", "conin$", "conout$",
    *(f"{kind}{digit}" for kind in ("com", "lpt") for digit in "0123456789¹²³"),
})
"""Names that Windows takes for devices, whatever ending they bear."""
_FORBIDDEN = "\\:\x7f" + ('*?"<>|' if sys.platform == "win32" else "")
_LONGEST_REPO = 100
_REFERENCE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?(?::(?P<file>.+))?")


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository on the Hub, and perhaps one file of it."""

    repo_id: str
    """'owner/name'."""
    file: str | None = None
    """Path inside it, in its own spelling."""
    revision: str | None = None
    """Branch, tag or commit."""


def parse_reference(text: str) -> Reference | None:
    """Read 'owner/name', 'owner/name:file' or 'owner/name@revision:file'; None when it is none of them."""
    found = _REFERENCE.fullmatch(text.strip())
    if found is None or not is_sound_path(found["revision"] or "main"):
        return None
    return Reference(found["repo"], found["file"], found["revision"])


def is_sound_path(name: str) -> bool:
    """Whether a path that a stranger wrote stays inside the folder it is put into, on every system.

    Refused are steps upwards, absolute and drive paths, control characters, device names of Windows, endings that
    Windows cuts off, and parts that no file system takes.
    """
    if len(name) > 1000 or any(ord(char) < 32 or char in _FORBIDDEN for char in name):
        return False
    try:
        parts = [(part, len(part.encode())) for part in name.split("/")]
    except UnicodeEncodeError:
        return False
    return all(
        part.strip(". ") and part == part.rstrip(". ") and size <= 240 and not is_reserved(part) for part, size in parts
    )


def is_reserved(part: str) -> bool:
    """Whether Windows takes a file name for a device: 'CON', 'nul.txt', 'com1.tar.gz'."""
    return part.split(".", 1)[0].strip().lower() in RESERVED


def local_name(repo_id: str, file: str) -> str:
    """ASCII name under which a LoRA is put into a project: owner--repository--file, the same on every system.

    Two files never share a name: what ASCII cannot spell is told by a short hash.
    """
    ending = ".gguf" if file.lower().endswith(".gguf") else ".safetensors"
    inside = unicodedata.normalize("NFC", stem(file))
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", inside).strip("-.")
    whole = re.sub(r"[^A-Za-z0-9._-]+", "-", repo_id.replace("/", "--"))
    if len(whole) > _LONGEST_REPO:
        whole = f"{whole[: _LONGEST_REPO - 9]}-{hashlib.sha256(repo_id.encode('utf-8', 'replace')).hexdigest()[:8]}"
    if is_reserved(whole) or whole.startswith("."):
        whole = f"_{whole}"
    if plain != inside or "/" in file or len(whole) + len(plain) > 140:
        mark = hashlib.sha256(unicodedata.normalize("NFC", file).encode()).hexdigest()[:8]
        plain = f"{plain[: 130 - len(whole)]}-{mark}".lstrip("-")
    return f"{whole}--{plain}{ending}"


def name_in_project(text: str) -> str | None:
    """Name in a project's loras/ of a LoRA written as 'owner/name:file'; None when it is written otherwise."""
    reference = parse_reference(text)
    if reference is None or reference.file is None:
        return None
    return local_name(reference.repo_id, reference.file)
