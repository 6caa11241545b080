"""A bundle with which another person repeats a comparison: itself a project folder, plus what must come out.

It holds the suite, the plan, the hash of every file that is needed and of the pixels of every picture. Photographs
are in it only when their owner says so; LoRA files never are, as their licences differ.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichlora import __version__
from whichlora.errors import MissingFileError, ProjectError
from whichlora.export.folder import write_json, write_text
from whichlora.export.portable import Portable, inside, portable_suite
from whichlora.findings import Findings
from whichlora.plan.candidates import sha256_file
from whichlora.plan.codec import plan_to_json
from whichlora.survey.names import name_in_project
from whichlora.types import Candidate, Generation, Plan
from whichlora.workspace import SUITE_NAME

BUNDLE_NAME = "bundle.json"
SCHEMA = "whichlora.bundle/1"


@dataclass(frozen=True, slots=True)
class Repetition:
    """How a repeated comparison agrees with the bundle."""

    expected: int
    """Finished cells of the bundle."""
    same_cells: int
    """Of those, cells with the same identity here: same inputs, weights and library versions."""
    same_pixels: int
    """Of those, pictures equal in every pixel."""
    different: tuple[str, ...]
    """Cells with the same identity and other pixels."""
    why: tuple[str, ...]
    """What is different here, in sentences; empty when every cell has the same identity."""

    @property
    def document(self) -> dict[str, Any]:
        """Plain data for scripts."""
        return {"expected": self.expected, "same_cells": self.same_cells, "same_pixels": self.same_pixels,
                "different": list(self.different), "why": list(self.why)}

    @property
    def sentence(self) -> str:
        """One sentence for people."""
        cells = f"{self.same_cells} of {self.expected} cells have the same identity"
        pixels = f"{self.same_pixels} of {self.expected} pictures agree in every pixel"
        return f"Repetition: {cells}, {pixels}." + "".join(f" {line}" for line in self.why)


def write_bundle(
    draft: Path, plan: Plan, project: Path, results: tuple[Mapping[str, Generation], Findings | None], *,
    with_photos: bool,
) -> dict[str, Any]:
    """Write a bundle into an empty draft folder; returns its document.

    Args:
        draft: Where.
        plan: The stored plan.
        project: The project's folder.
        results: Cell id → generation, and the findings when there are any.
        with_photos: Whether photographs may be passed on.

    Raises:
        ProjectError: The suite is gone.
    """
    generations, findings = results
    suite = project / SUITE_NAME
    if not suite.is_file():
        raise ProjectError(f"'{suite}' is gone, so the comparison cannot be described.", fix="Put it back.")
    portable = portable_suite(project, plan)
    write_text(draft / SUITE_NAME, portable.text)
    (draft / "loras").mkdir()
    photos = [*plan.sources, *plan.calibration, *plan.impostors]
    if with_photos:
        for photo in photos:
            target = draft / photo.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(project / photo.path, target)
    else:
        (draft / "refs").mkdir()
    document: dict[str, Any] = {
        "schema": SCHEMA, "whichlora": __version__, "project": plan.project,
        "base": {"id": plan.base.id, "fingerprint": plan.base.fingerprint, "options": dict(plan.base.options),
                 "family": plan.base.family},
        "libraries": dict(plan.libraries), "with_photos": with_photos,
        "photos": [{"path": photo.path, "sha256": photo.sha256} for photo in photos],
        "loras": _files(plan, portable), "left_out": portable.left_out, "local_base": portable.local_base,
        "cells": {
            cell: {"status": made.status, "pixels": made.facts.get("pixels")}
            for cell, made in sorted(generations.items()) if cell in {each.id for each in plan.cells}
        },
        "verdict": None if findings is None else {
            "decision": findings.recommendation.decision, "candidate": findings.recommendation.candidate,
            "firm": findings.recommendation.firm, "sentence": findings.recommendation.sentence,
        },
    }
    write_json(draft / BUNDLE_NAME, document)
    write_json(draft / "plan.json", _without_paths(plan, portable))
    write_text(draft / "README.md", _readme(document))
    return document


def read_bundle(folder: Path) -> dict[str, Any] | None:
    """The bundle's document when a folder is one, else None.

    Raises:
        ProjectError: It says that it is one, and cannot be read.
    """
    path = folder / BUNDLE_NAME
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r}")
        _require_sound(document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProjectError(f"'{path}' is no bundle that this version reads ({error}).",
                           fix="Export it again with this version.") from error
    return document


def _require_sound(document: Mapping[str, Any]) -> None:
    """Everything that is read later is there and of the right kind: better now than after hours of pictures.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: It is not.
    """
    for key, place in (("photos", "path"), ("loras", "written")):
        for item in document[key]:
            if not inside(item[place]):
                raise ValueError(f"{item[place]!r} points out of the bundle")
            if len(bytes.fromhex(item["sha256"])) != 32:
                raise ValueError(f"{item['sha256']!r} is no SHA-256")
    for made in document["cells"].values():
        if made["status"] not in ("done", "failed") or not isinstance(made["pixels"], str | None):
            raise ValueError(f"a cell is {made!r}")
    for name in ("id", "fingerprint"):
        if not isinstance(document["base"][name], str):
            raise TypeError(f"the base's {name} is no text")
    document["libraries"].items()
    document["base"]["options"].items()


def check_material(folder: Path, document: Mapping[str, Any], find: Any) -> None:
    """Make sure that every photograph and LoRA of a bundle is there and is the right one, before anything is made.

    Args:
        folder: The bundle.
        document: From `read_bundle`.
        find: File name → path, as candidates are looked up; raises MissingFileError.

    Raises:
        MissingFileError: Something is missing or is another file; the message lists all of it with hashes.
    """
    problems: list[str] = []
    for photo in document["photos"]:
        path = folder / str(photo["path"])
        if not path.is_file():
            problems.append(f"the photograph {photo['path']} (SHA-256 {photo['sha256'][:16]}…) is missing")
        elif sha256_file(path) != photo["sha256"]:
            problems.append(f"the photograph {photo['path']} is another picture than the bundle's")
    for lora in document["loras"]:
        try:
            path = find(lora["written"])
        except MissingFileError:
            problems.append(f"the LoRA {lora['written']} (SHA-256 {lora['sha256'][:16]}…) is missing")
            continue
        if sha256_file(path) != lora["sha256"]:
            problems.append(f"the LoRA {lora['written']} is another file than the bundle's")
    if problems:
        listing = "; ".join(problems[:6]) + (f"; and {len(problems) - 6} more" if len(problems) > 6 else "")
        raise MissingFileError(f"This bundle cannot be repeated yet: {listing}.",
                               fix="Put photographs into refs/ and impostors/, and LoRA files into loras/.")


def compare(document: Mapping[str, Any], plan: Plan, generations: Mapping[str, Generation]) -> Repetition:
    """Compare what was made here with what the bundle says."""
    wanted = {cell: made["pixels"] for cell, made in document["cells"].items() if made["status"] == "done"}
    ids = {cell.id for cell in plan.cells}
    here = [cell for cell in wanted if cell in ids]
    made = {cell: generations[cell] for cell in here if cell in generations and generations[cell].status == "done"}
    same = [cell for cell in made if made[cell].facts.get("pixels") == wanted[cell]]
    different = tuple(sorted(set(made) - set(same)))
    why: list[str] = []
    if len(here) < len(wanted):
        why += _differences(document, plan)
    if different:
        why.append(f"{len(different)} pictures have other pixels although every input is the same: another device or "
                   "build of the libraries.")
    return Repetition(len(wanted), len(here), len(same), different, tuple(why))


def _differences(document: Mapping[str, Any], plan: Plan) -> list[str]:
    """Why cells have another identity here, as far as it can be told."""
    found: list[str] = []
    if document["base"]["fingerprint"] != plan.base.fingerprint:
        found.append(f"The base is another one ('{plan.base.id}', fingerprint {plan.base.fingerprint}).")
    for name, version in document["libraries"].items():
        if plan.libraries.get(name) != version:
            found.append(f"{name} is {plan.libraries.get(name, 'absent')} here and was {version}.")
    options = {**document["base"]["options"]}
    for name, value in plan.base.options.items():
        if options.get(name) != value:
            found.append(f"The base's {name} is {value!r} here and was {options.get(name)!r}.")
    return found or ["Photographs, LoRAs or the suite differ."]


def _files(plan: Plan, portable: Portable) -> list[dict[str, Any]]:
    """Every LoRA file of the plan once, as the suite writes it."""
    uses: dict[str, tuple[str, Candidate]] = {}
    for row in plan.candidates:
        for use in (*row.adapters, *row.sampler.adapters):
            uses.setdefault(use.sha256, (portable.places.get(use.sha256, Path(use.path).name), row))
    return [
        {"written": written, "sha256": sha256, "licence": row.licence, "used_by": row.name}
        for sha256, (written, row) in sorted(uses.items(), key=lambda item: item[1][0])
    ]


def _without_paths(plan: Plan, portable: Portable) -> dict[str, Any]:
    """The plan without this machine's folders."""
    data = plan_to_json(plan)
    data["base"]["location"] = plan.base.id
    for row in data["candidates"]:
        if row["merged"] is not None:
            row["merged"]["path"] = Path(row["merged"]["path"]).name
        for use in (*row["adapters"], *row["sampler"]["adapters"]):
            use["path"] = portable.places.get(use["sha256"], Path(use["path"]).name)
    return {"schema": "whichlora.plan-record/1", "plan": data}


def _local(written: str) -> str:
    """Where below loras/ a file goes; 'OWNER/NAME:FILE' lies where 'whichlora fetch' puts it."""
    return name_in_project(written) or written


def _readme(document: Mapping[str, Any]) -> str:
    loras = "\n".join(
        f"- `{_local(item['written'])}`: SHA-256 {item['sha256']}, licence {item['licence']}"
        for item in document["loras"]
    ) or "- none"
    photos = (
        "The photographs are included, with their owner's consent to this bundle." if document["with_photos"] else
        "The photographs are not included. Ask their owner, and put them here:\n\n" + "\n".join(
            f"- `{item['path']}`: SHA-256 {item['sha256']}" for item in document["photos"])
    )
    versions = ", ".join(f"{name} {version}" for name, version in document["libraries"].items())
    return _README.format(
        project=document["project"], loras=loras, photos=photos, versions=versions, base=document["base"]["id"],
        fingerprint=document["base"]["fingerprint"], version=document["whichlora"],
        left_out="" if not document["left_out"] else
        f"\nNot in it, since they were refused or not measured: {', '.join(document['left_out'])}.\n",
    )


_README = """\
# The comparison '{project}', to be repeated

Made with whichlora {version} and {versions}, on the base `{base}` (fingerprint {fingerprint}).

1. Put these LoRA files into `loras/`:

{loras}

2. {photos}

3. If the base lies elsewhere on your machine, correct `base:` in `whichlora.yaml`.
4. `whichlora evaluate .` makes every picture again, and says how many cells and pixels agree with this bundle.
{left_out}"""
