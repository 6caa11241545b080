"""Resolving candidates: which files a row means, by content and not by name."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

from whichlora.errors import MissingFileError, UserError
from whichlora.lora.merge import Recipe
from whichlora.suite.schema import CandidateSpec, SamplerSpec, Suite
from whichlora.survey.names import name_in_project
from whichlora.types import AdapterUse, Candidate, SamplerProfile

WITHOUT = " (without "
"""Between the name of a candidate and the sampler whose LoRAs it is measured without."""
_MAX_WEIGHT = 4.0
_TERM = re.compile(r"^(?P<file>.+?)(?::(?P<weight>[-+]?[0-9.eE+-]+))?$")


@dataclass(frozen=True)
class LoraFolder:
    """Where a LoRA's file name is looked up, in this order."""

    folders: tuple[Path, ...]

    def find(self, name: str) -> Path:
        """Path of a LoRA file.

        Raises:
            MissingFileError: It lies in none of the folders; the message lists what does.
        """
        fetched = name_in_project(name)  # where 'fetch' puts a LoRA that is written as OWNER/NAME:FILE
        for folder in self.folders:
            for path in (folder / name, *([folder / fetched] if fetched else [])):
                if path.is_file():
                    return path
        if Path(name).is_file():
            return Path(name)
        there = sorted({path.name for folder in self.folders for path in folder.glob("*.safetensors")})
        listing = f"There: {', '.join(there[:8])}." if there else "No .safetensors file lies there."
        raise MissingFileError(
            f"The LoRA file '{name}' was not found in {' or '.join(str(f) for f in self.folders)}. {listing}",
            fix="Fetch it with: whichlora fetch PROJECT" if fetched else
            "Put the file there, or correct its name in the suite.",
        )


def parse_stack(text: str, folder: LoraFolder) -> tuple[AdapterUse, ...]:
    """Read 'a.safetensors:0.8 + b.safetensors' into adapters with weights (default 1.0).

    Raises:
        UserError: A file is missing, a weight is no number or not within −4…4, or a file is named twice.
    """
    uses: list[AdapterUse] = []
    for term in re.split(r"\s+\+\s+", text.strip()):
        match = _TERM.match(term.strip())
        if not match or not match["file"]:
            raise UserError(f"'{text}' is not a stack of LoRAs.", fix="Write: a.safetensors:0.8 + b.safetensors")
        name, weight = _split(term.strip(), match)
        path = folder.find(name)
        uses.append(AdapterUse(path.stem, str(path), sha256_file(path), weight))
    hashes = [use.sha256 for use in uses]
    if len(set(hashes)) < len(hashes):
        raise UserError(f"'{text}' stacks the same file twice.", fix="Give it one weight instead.")
    return tuple(uses)


def _split(term: str, match: re.Match[str]) -> tuple[str, float]:
    """File name and weight; a Windows drive has a colon and no weight."""
    if match["weight"] is None:
        return term, 1.0
    try:
        weight = float(match["weight"])
    except ValueError:
        return term, 1.0
    if not -_MAX_WEIGHT <= weight <= _MAX_WEIGHT:
        raise UserError(
            f"The weight {weight:g} of '{match['file']}' is out of range.",
            fix=f"Use −{_MAX_WEIGHT:g} to {_MAX_WEIGHT:g}.",
        )
    return match["file"].strip(), weight


def resolve_sampler(name: str, spec: SamplerSpec, default: SamplerProfile, folder: LoraFolder) -> SamplerProfile:
    """The base's default sampler with a suite's settings laid over it."""
    changes = {
        key: value
        for key, value in spec.model_dump(exclude={"loras"}).items()
        if value is not None
    }
    adapters = parse_stack(spec.loras, folder) if spec.loras else ()
    return replace(default, name=name, adapters=adapters, **changes)


def resolve_candidates(
    suite: Suite, default: SamplerProfile, folder: LoraFolder, *, available: bool = False
) -> tuple[list[Candidate], list[dict[str, str]]]:
    """All rows: base (once per sampler in use), candidates, controls.

    Args:
        suite: The checked suite.
        default: The base's own sampler.
        folder: Where LoRA files are looked up.
        available: Leave out candidates whose files are not there yet, instead of failing.

    Returns:
        The rows, and the refused ones as {'name', 'reason'}: a candidate that equals another one by content is
        refused, since it would be counted twice under two names.
    """
    samplers, absent = _samplers(suite, default, folder, available)
    default = samplers.get("default", default)
    rows = [Candidate("base", sampler=default, role="base")]
    missing: list[dict[str, str]] = []
    alone: list[Candidate] = []
    for spec in suite.candidates:
        try:
            # A LoRA whose card asks for Lightning or its like is measured both ways: with it, and on its own.
            wanted = suite.samplers.get(spec.sampler or "")
            if spec.sampler in absent:
                missing.append({"name": spec.name, "reason": absent[spec.sampler]})
            else:
                rows.append(_candidate(spec, samplers[spec.sampler] if spec.sampler else default, folder))
            if wanted is not None and wanted.loras and spec.both_ways:
                bare = _candidate(spec, default, folder)
                alone.append(replace(bare, name=f"{spec.name}{WITHOUT}{spec.sampler})"))
        except MissingFileError as error:
            if not available:
                raise
            missing.append({"name": spec.name, "reason": f"Not there yet. {error.message}"})
    rows, refused = _without_twins(rows)
    # Where the suite has that very row under a name of its own, nothing is added and nothing is refused.
    rows, _ = _without_twins([*rows, *alone])
    refused += missing
    # A distillation LoRA changes the base too, so each sampler with adapters gets a base row of its own.
    for name, sampler in samplers.items():
        used = any(row.sampler == sampler for row in rows[1:])
        if sampler.adapters and used:
            rows.insert(1, Candidate(f"base ({name})", sampler=sampler, role="base"))
    rows += [
        Candidate(control, sampler=default, role="control", control=control)
        for control in ("do-nothing", "vae-round-trip", "other-person", "real-pair")
    ]
    return rows, refused


def _samplers(
    suite: Suite, default: SamplerProfile, folder: LoraFolder, available: bool
) -> tuple[dict[str, SamplerProfile], dict[str, str]]:
    """The suite's sampler profiles, and why some are not there yet (only where `available` lets them be absent)."""
    found: dict[str, SamplerProfile] = {}
    absent: dict[str, str] = {}
    for name, spec in suite.samplers.items():
        try:
            found[name] = resolve_sampler(name, spec, default, folder)
        except MissingFileError as error:
            if not available:
                raise
            absent[name] = f"Its sampler '{name}' is not there yet. {error.message}"
    return found, absent


def _candidate(spec: CandidateSpec, sampler: SamplerProfile, folder: LoraFolder) -> Candidate:
    adapters = parse_stack(spec.loras, folder)
    combine = spec.combine
    if combine != "stack":
        if len(adapters) < 2:
            raise UserError(f"'{spec.name}' merges by '{combine}', but names one LoRA only.",
                            fix="Name two or more: a.safetensors:0.8 + b.safetensors")
        combine = Recipe(combine, spec.density, spec.merge_seed, spec.merge_rank).text
    return Candidate(
        name=spec.name, adapters=adapters, combine=combine, sampler=sampler,
        trigger=spec.trigger, prompts=dict(spec.prompts), licence=spec.licence, card=spec.card,
    )


def _without_twins(rows: list[Candidate]) -> tuple[list[Candidate], list[dict[str, str]]]:
    kept: list[Candidate] = []
    refused: list[dict[str, str]] = []
    seen: dict[object, str] = {}
    for row in rows:
        key = (row.fingerprint(), row.trigger, tuple(sorted(row.prompts.items())))
        if key in seen and row.role == "candidate":
            refused.append({
                "name": row.name,
                "reason": f"The same file with the same settings as '{seen[key]}' (equal SHA-256).",
            })
            continue
        seen[key] = row.name
        kept.append(row)
    return kept, refused


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
