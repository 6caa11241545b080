"""What several verbs share: opening a project, resolving its photographs, candidates and plan."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from whichlora import registry
from whichlora.cli.output import progress_console
from whichlora.errors import ProjectError, RefusedError, UserError
from whichlora.plan.candidates import LoraFolder, resolve_candidates
from whichlora.plan.matrix import build_cases, build_plan
from whichlora.plan.watching import ROWS_NAME as WATCHED_NAME
from whichlora.quoting import quoted
from whichlora.suite.combinations import with_combinations
from whichlora.suite.loading import load_suite
from whichlora.suite.schema import Suite
from whichlora.types import BaseModel, Candidate, Plan, SourceImage
from whichlora.workspace import Workspace

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Project:
    """A project folder with its checked suite and examined photographs."""

    workspace: Workspace
    suite: Suite
    """With 'auto' subject resolved."""
    photos: dict[str, tuple[SourceImage, ...]]
    """'sources', 'calibration', 'impostors'."""
    notes: tuple[str, ...]
    """What the user should know of the photographs."""


def open_project(folder: Path) -> Project:
    """Open a project and look at its photographs.

    Raises:
        ProjectError: It is no project, or has no photographs.
        SuiteError: The suite is wrong.
        PhotoError: A photograph cannot be used.
    """
    workspace = Workspace.open(folder)
    suite = with_combinations(load_suite(workspace.suite_path), workspace.combinations_path)
    suite = with_combinations(suite, workspace.folder / WATCHED_NAME)
    from whichlora.suite.photos import examine_photos

    paths = list_pictures(workspace.refs)
    if not paths:
        raise ProjectError(f"'{workspace.refs}' holds no photographs.", fix="Put PNG, JPEG or WebP files there.")
    examined = examine_photos(paths, kind=suite.subject)
    suite = suite.model_copy(update={"subject": examined.kind})
    names = _names(paths)
    images = [
        _source(path, name, workspace, facts) for path, name, facts in zip(paths, names, examined.facts, strict=True)
    ]
    sources = _choose(images, suite)
    chosen = {item.id for item in sources}
    others = list_pictures(workspace.impostors)
    # A slash stands in no file name, so an impostor is never taken for one of the character's own photographs.
    impostors = [
        _source(path, f"impostors/{name}", workspace, {}) for path, name in zip(others, _names(others), strict=True)
    ]
    photos = {
        "sources": tuple(sources),
        # Somebody else among the character's photographs would teach the identity metric the wrong person.
        "calibration": tuple(
            item for item in images if item.id not in chosen and not item.facts.get("odd_one_out")
        ),
        "impostors": tuple(impostors),
    }
    return Project(workspace, suite, photos, tuple(examined.notes))


def list_pictures(folder: Path) -> list[Path]:
    """Picture files of a folder, by name; hidden files are left out."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir()
        if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file() and not path.name.startswith(".")
    )


def _names(paths: Sequence[Path]) -> list[str]:
    """Short names: the file name without its ending, or with it where two would otherwise be called the same."""
    stems = [path.stem.casefold() for path in paths]
    return [path.stem if stems.count(path.stem.casefold()) == 1 else path.name for path in paths]


def _source(path: Path, name: str, workspace: Workspace, facts: Any) -> SourceImage:
    from whichlora.suite.photos import open_picture

    picture = open_picture(path)
    relative = path.relative_to(workspace.folder).as_posix()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return SourceImage(name, relative, digest, int(picture.shape[1]), int(picture.shape[0]), dict(facts))


def _choose(images: Sequence[SourceImage], suite: Suite) -> list[SourceImage]:
    """The photographs that are edited: those named in the suite, or the first `count` that are fit."""
    if suite.sources.files:
        by_name = {Path(item.path).name: item for item in images}
        missing = [name for name in suite.sources.files if name not in by_name]
        if missing:
            raise UserError(f"The suite names the photograph '{missing[0]}', which is not in refs/.",
                            fix=f"There: {', '.join(sorted(by_name)[:12])}.")
        return [by_name[name] for name in suite.sources.files]
    fit = [item for item in images if not (item.facts.get("unfit") or item.facts.get("odd_one_out"))] or list(images)
    return fit[: suite.sources.count]


def lora_folder(workspace: Workspace) -> LoraFolder:
    """Where LoRA names of a suite are looked up: the project, its loras/ folder, then WHICHLORA_LORAS."""
    extra = [Path(part) for part in os.environ.get("WHICHLORA_LORAS", "").split(os.pathsep) if part]
    return LoraFolder((workspace.folder / "loras", workspace.folder, *extra))


def library_versions(family: str) -> dict[str, str]:
    """Versions of the libraries that compute pictures, read without importing them; part of every cell's identity."""
    plugin = registry.load("families", family)
    versions: dict[str, str] = {}
    for name in getattr(plugin, "library_names", ("torch", "diffusers", "transformers")):
        try:
            versions[name] = version(name)
        except PackageNotFoundError as error:
            raise UserError(f"The model family '{family}' needs the package '{name}', which is not installed.",
                            fix="Install it with: pip install 'whichlora[run]'") from error
    return versions


def identify_base(project: Project, device: str) -> tuple[Any, BaseModel]:
    """The family plug-in and the identified base of a project, with the device among its options."""
    spec = project.suite.base
    family = registry.load("families", spec.family)
    location = spec.location
    local = project.workspace.folder / location
    if local.exists():
        location = str(local)
    options = dict(spec.options)
    single = project.workspace.folder / str(options.get("transformer_file") or "")
    if options.get("transformer_file") and single.is_file():
        options["transformer_file"] = str(single)
    try:
        base = family.identify(location, options)
    except UserError as error:
        if not error.fix.startswith("Fetch it with: "):
            raise
        # The project's own fetch brings its LoRAs as well.
        raise UserError(error.message, fix="Fetch the base, and LoRAs that the suite names by OWNER/NAME:FILE, "
                               f"with: whichlora fetch {quoted(project.workspace.folder)}") from error
    return family, replace(base, options={**base.options, "device": device})


def draft_rows(
    project: Project, family: Any, base: BaseModel, *, available: bool = False
) -> tuple[list[Candidate], list[dict[str, str]]]:
    """Candidates of the suite as rows, with those refused by the static check (no torch, no GPU)."""
    rows, refused = resolve_candidates(
        project.suite, family.default_sampler(base), lora_folder(project.workspace), available=available
    )
    check = getattr(family, "check_file", None)
    kept: list[Candidate] = []
    for row in rows:
        try:
            for use in (*row.sampler.adapters, *row.adapters):
                if check is not None:
                    check(base, Path(use.path))
            row = _merged(row, family, base, project.workspace, check)
        except RefusedError as error:
            if row.role == "base":
                raise
            refused.append({"name": row.name, "reason": error.reason})
            continue
        kept.append(row)
    return kept, refused


def _merged(row: Candidate, family: Any, base: BaseModel, workspace: Workspace, check: Any) -> Candidate:
    """The row with the file that its LoRAs are merged into, made once per recipe; the file passes the same gate.

    Raises:
        RefusedError: The family merges nothing, a part cannot be merged this way, or the result is no sound LoRA.
    """
    if row.combine == "stack" or not row.adapters:
        return row
    merge = getattr(family, "merge", None)
    if merge is None:
        raise RefusedError(f"The model family '{base.family}' cannot merge LoRAs.", fix="Use 'combine: stack'.")
    with progress_console.status(f"merging the LoRAs of {row.name}".replace("[", "\\[")):
        merged = merge(base, row.adapters, row.combine, workspace.merged)
    if check is not None:
        check(base, Path(merged.path))
    return replace(row, merged=merged)


def make_plan(
    project: Project, base: BaseModel, rows: Sequence[Candidate], refused: Sequence[dict[str, str]],
    libraries: dict[str, str],
) -> Plan:
    """The resolved plan of a project with the given rows."""
    from whichlora.run.controls import missing_material
    from whichlora.suite.photos import already_satisfied

    suite, photos = project.suite, project.photos
    satisfied = {
        (source.id, edit.name): reason
        for source in photos["sources"] for edit in suite.edits
        if (reason := already_satisfied(source.facts, edit.family, edit.target))
    }
    cases, notes = build_cases(suite, photos["sources"], satisfied)
    kept: list[Candidate] = []
    for row in rows:
        problem = missing_material(row, len(photos["sources"]), len(photos["impostors"]), len(photos["calibration"]))
        if problem:
            notes.append(f"The control row '{row.name}' is left out: {problem}.")
        else:
            kept.append(row)
    remarks: dict[str, Sequence[object]] = {"refused": list(refused), "notes": [*project.notes, *notes]}
    return build_plan(suite, base, kept, photos, cases, libraries, remarks)


def choose_device(wanted: str) -> str:
    """'auto' → 'cuda', 'mps' or 'cpu': what torch's build and the driver can do together. Imports no torch."""
    if wanted != "auto":
        return wanted
    from whichlora.machine.probe import read_gpus, read_torch

    build = read_torch(ask=False)
    if build is None:
        return "cpu"
    if sys.platform == "darwin":
        return "mps" if platform.machine() == "arm64" else "cpu"
    if build.hip:
        # No tool of NVIDIA's sees these cards, so torch itself is asked.
        asked = read_torch(ask=True)
        return "cuda" if asked is not None and asked.sees_gpu else "cpu"
    # A GPU that is there and does not work is said by the worker, not hidden by hours on a CPU.
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "unset").strip() in ("", "-1")
    return "cuda" if build.cuda and not hidden and read_gpus()[0] else "cpu"
