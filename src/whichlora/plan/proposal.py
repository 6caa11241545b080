"""From a surveyed LoRA to a row of a suite: file, weight and sampler as its author recommends, nothing guessed.

Works on the survey's JSON document, so that a saved survey serves as well as a fresh one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whichlora.suite.schema import CandidateSpec, Suite

LARGEST_WEIGHT = 4.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """A row that could be added to a suite."""

    repo_id: str
    file: str
    """Path inside the repository, in its own spelling."""
    size_bytes: int | None
    """By the survey; None when it does not say."""
    sha256: str | None
    """By the survey; None when it does not say."""
    spec: CandidateSpec
    notes: tuple[str, ...]
    """What its card asks for and the row does not do, in sentences."""

    @property
    def key(self) -> str:
        """Identity of the file: a new upload under the same name is another file."""
        return f"{self.repo_id}:{self.file}@{self.sha256 or 'unknown'}"


def propose(entry: Mapping[str, Any], suite: Suite) -> Proposal | None:
    """The row of one entry of a survey; None when the survey names no single file.

    Args:
        entry: One element of the survey document's `entries`.
        suite: The suite that it would join.
    """
    repo_id, file = entry.get("repo_id"), entry.get("file")
    if not isinstance(repo_id, str) or not isinstance(file, str) or "/" not in repo_id:
        return None
    facts = next((each for each in entry.get("files") or [] if each.get("name") == file), {})
    settings = entry.get("settings") or {}
    weight, notes = _weight(settings.get("scale"))
    sampler = _sampler(entry, suite, notes)
    if entry.get("prompts"):
        notes.append(f"Its card gives prompts of its own, such as '{str(entry['prompts'][0])[:80]}'; the suite's are "
                     "asked, as of every candidate.")
    spec = CandidateSpec(
        name=_name(repo_id, file, suite), loras=f"{repo_id}:{file}:{weight:g}", sampler=sampler,
        licence=str(entry.get("licence") or "unknown"), card=str(entry.get("why") or "")[:160],
    )
    size, digest = facts.get("size_bytes"), facts.get("sha256")
    return Proposal(repo_id, file, size if isinstance(size, int) else None, digest if isinstance(digest, str) else None,
                    spec, tuple(notes))


def _weight(scale: Any) -> tuple[float, list[str]]:
    """1.0 when the author's range holds it, else the range's nearest end."""
    numbers = [float(text) for text in re.findall(r"\d+(?:\.\d+)?", str(scale or ""))]
    sound = [number for number in numbers if 0 < number <= LARGEST_WEIGHT]
    if not sound:
        return 1.0, []
    low, high = min(sound), max(sound)
    weight = min(max(1.0, low), high)
    return weight, [] if low == high == 1.0 else [f"Its author recommends a weight of {scale}; {weight:g} is used."]


def _sampler(entry: Mapping[str, Any], suite: Suite, notes: list[str]) -> str | None:
    """The suite's sampler with the distilled LoRA that the card asks for; None for the base's own."""
    needs = [need for need in entry.get("requires") or [] if isinstance(need, Mapping)]
    for need in needs:
        wanted = str(need.get("repo_id", "")), str(need.get("file") or "")
        for name, spec in suite.samplers.items():
            if spec.loras and wanted[0] in spec.loras and (not wanted[1] or wanted[1] in spec.loras):
                return name
    if needs:
        notes.append(f"Its card asks for {needs[0].get('repo_id')}, which no sampler of the suite brings: it is tested "
                     "with the base's own sampler.")
    return None


def _name(repo_id: str, file: str, suite: Suite) -> str:
    """A free name made of the repository's, which every file system accepts."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", repo_id.split("/", 1)[1]).strip("-.")[:60] or "lora"
    owner = re.sub(r"[^A-Za-z0-9._-]+", "-", repo_id.split("/", 1)[0]).strip("-.")[:16]
    taken = {row.name.casefold() for row in suite.candidates}
    for name in (stem, f"{owner}-{stem}"):
        if name.casefold() not in taken:
            return name
    number = 2
    while f"{stem}-{number}".casefold() in taken:
        number += 1
    return f"{stem}-{number}"
