"""A project's suite as another person can use it: every row that was measured, and no folder of this machine.

Rows of `combinations.yaml` and `watched.yaml` are moved in, refused rows are left out, LoRAs go by a place below
`loras/`, and the photographs that were edited are named, so that the same ones are chosen again. Reads only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from whichlora.errors import ProjectError
from whichlora.plan.candidates import WITHOUT
from whichlora.plan.watching import ROWS_NAME as WATCHED_NAME
from whichlora.suite.combinations import with_combinations
from whichlora.suite.loading import load_suite
from whichlora.suite.schema import CandidateSpec, SamplerSpec
from whichlora.survey.bases import EDIT_LINE, canonical
from whichlora.types import AdapterUse, Candidate, Plan
from whichlora.workspace import Workspace

_HEADER = "# The suite of a finished comparison, for repeating it. Made by 'whichlora export … bundle'.\n"


@dataclass
class Portable:
    """A suite for elsewhere."""

    text: str = ""
    """The file."""
    places: dict[str, str] = field(default_factory=dict[str, str])
    """SHA-256 of a LoRA file → its place below loras/, or 'OWNER/NAME:FILE', as the suite writes it."""
    left_out: list[str] = field(default_factory=list[str])
    """Rows that were refused or never planned, and so are not in it."""
    local_base: str = ""
    """The base's folder on this machine, where nothing tells how others call it; '' otherwise."""


def portable_suite(project: Path, plan: Plan) -> Portable:
    """The suite for elsewhere.

    Args:
        project: The project's folder.
        plan: The stored plan.

    Raises:
        SuiteError: The suite is wrong, or gone.
        ProjectError: It was edited since the pictures were made.
    """
    workspace = Workspace(project)
    suite = with_combinations(load_suite(workspace.suite_path), workspace.combinations_path)
    suite = with_combinations(suite, project / WATCHED_NAME)
    planned = {row.name: row for row in plan.candidates if row.role == "candidate"}
    found = Portable()
    samplers = {name: _sampler(spec, name, plan, found) for name, spec in suite.samplers.items()}
    rows: list[dict[str, Any]] = []
    for spec in suite.candidates:
        row = planned.get(spec.name) or next(
            (one for name, one in planned.items() if name.startswith(f"{spec.name}{WITHOUT}")), None)
        if row is None:
            found.left_out.append(spec.name)
            continue
        rows.append(_plain(spec) | {"loras": _placed(spec.loras, row.adapters, found)})
    data = yaml.safe_load(workspace.suite_path.read_text(encoding="utf-8"))
    data |= {
        "base": _base(suite.base.model_dump(exclude_defaults=True), plan, found), "subject": plan.subject,
        "sources": {"files": [PurePosixPath(photo.path).name for photo in plan.sources], "count": len(plan.sources)},
        "samplers": samplers, "candidates": rows,
    }
    found.text = _HEADER + yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=110,
                                          default_flow_style=None)
    return found


def inside(name: str) -> bool:
    """Whether a file name stays below the folder that it is joined to, on every system."""
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(name)
        if path.is_absolute() or path.drive or path.root or ".." in path.parts:
            return False
    return bool(name) and "\0" not in name


def _plain(spec: CandidateSpec | SamplerSpec) -> dict[str, Any]:
    return spec.model_dump(exclude_defaults=True, exclude_none=True)


def _sampler(spec: SamplerSpec, name: str, plan: Plan, found: Portable) -> dict[str, Any]:
    used: Sequence[Candidate] = [row for row in plan.candidates if row.sampler.name == name and row.sampler.adapters]
    data = _plain(spec)
    if spec.loras is not None:
        if used:
            data["loras"] = _placed(spec.loras, used[0].sampler.adapters, found)
        else:
            data.pop("loras")  # nobody planned used it, and its file need not be there
    return data


def _placed(text: str, uses: Sequence[AdapterUse], found: Portable) -> str:
    """A stack in the suite's shorthand with every file at its place."""
    terms = re.split(r"\s+\+\s+", text.strip())
    if len(terms) != len(uses):
        raise ProjectError(f"The suite says '{text}' where {len(uses)} LoRAs were measured: it was edited since.",
                           fix="Undo the edit, or run first: whichlora evaluate PROJECT")
    return " + ".join(f"{_place(term, use, found)}:{use.weight:g}" for term, use in zip(terms, uses, strict=True))


def _place(term: str, use: AdapterUse, found: Portable) -> str:
    if use.sha256 not in found.places:
        name = term.strip()
        head, colon, weight = name.rpartition(":")
        if colon and re.fullmatch(r"[-+]?[0-9.eE+-]+", weight):
            name = head.strip()
        if not inside(name):
            name = PureWindowsPath(name).name if "\\" in name else PurePosixPath(name).name
        taken = {place.casefold() for place in found.places.values()}
        found.places[use.sha256] = name if name.casefold() not in taken else f"{use.sha256[:8]}-{Path(name).name}"
    return found.places[use.sha256]


def _base(spec: Mapping[str, Any], plan: Plan, found: Portable) -> dict[str, Any]:
    """The base by its Hub id where that is known; a folder that nobody else has stays as it is and is told."""
    data = dict(spec)
    location = str(data["location"])
    if not Path(location.partition("::")[0]).is_absolute():
        return data
    if canonical(plan.base.id) in EDIT_LINE and "::" not in location:
        data["location"] = canonical(plan.base.id)
    else:
        found.local_base = location
    return data


