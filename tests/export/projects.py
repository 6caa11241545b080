"""Finished small projects with planted verdicts, for tests of everything that comes after a comparison."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from families import painters
from whichlora.cli.init import create_project
from whichlora.cli.project import draft_rows, identify_base, library_versions, make_plan, open_project
from whichlora.findings import Findings, Recommendation, to_json
from whichlora.metrics.stage import scoring_context
from whichlora.plan.codec import plan_to_json
from whichlora.run.pictures import photograph_reader
from whichlora.run.runner import run_plan
from whichlora.store import Store
from whichlora.types import Plan, Score, SourceImage

GATES = ("valid", "edit", "identity", "artefact")


@dataclass
class Finished:
    """A project folder whose every cell is made."""

    folder: Path
    plan: Plan

    def store(self) -> Store:
        return Store(self.folder)

    def cells(self, candidate: str) -> list[str]:
        return [cell.id for cell in self.plan.cells if cell.candidate == candidate]

    def pass_all(self, *names: str, but: dict[str, str] | None = None) -> None:
        """Plant passed gates for every cell of these candidates; `but` names a gate that a cell fails."""
        but = but or {}
        with self.store() as store:
            store.add_scores([
                Score(cell, f"planted/{gate}", 1, 1.0, "", but.get(cell) != gate, gate)
                for name in names for cell in self.cells(name) for gate in GATES
            ], context=scoring_context(self.plan))

    def conclude(self, candidate: str, decision: str = "existing", routes: dict[str, str] | None = None) -> None:
        """Store findings that recommend a candidate."""
        advice = Recommendation(decision, None, candidate, True, "A planted sentence.", routes=routes or {})
        findings = Findings(self.plan.project, self.plan.base.id, 0.7, ("camera",), 2, (), (), advice, {}, (), (), {})
        with self.store() as store:
            store.add_document("findings", to_json(findings))


def photograph(path: Path, seed: int, size: tuple[int, int] = (96, 72)) -> Path:
    draw = np.random.default_rng(seed)
    small = draw.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x010E] = "taken at home, Elm Street 5"  # ImageDescription
    image.save(path, exif=exif)
    return path


def sources_of(folder: Path, names: list[str]) -> tuple[SourceImage, ...]:
    found = []
    for name in names:
        path = folder / "refs" / f"{name}.png"
        with Image.open(path) as image:
            width, height = image.size
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append(SourceImage(name, f"refs/{name}.png", digest, width, height))
    return tuple(found)


def painted(root: Path, *, photos: int = 2, size: tuple[int, int] = (96, 72)) -> Finished:
    """A painter project of two LoRAs, 'sharp' (with a trigger and a licence) and 'soft'; every picture is made."""
    (root / "photos").mkdir(parents=True)
    names = [f"photo{index}" for index in range(photos)]
    refs = [photograph(root / "photos" / f"{name}.png", seed, size) for seed, name in enumerate(names)]
    folder = root / "mina"
    create_project(
        folder, refs, [], template="figure",
        head={"name": "mina", "base": {"family": "painter", "location": str(painters.base(root / "base", faces=False))},
              "subject": "other", "sources": {"count": photos}},
        candidates=[
            {"name": "sharp", "loras": "sharp.safetensors:0.9", "trigger": "<sks>", "licence": "mit"},
            {"name": "soft", "loras": "soft.safetensors"},
        ],
    )
    painters.lora(folder / "loras" / "sharp.safetensors", camera=0.7, lighting=0.3)
    painters.lora(folder / "loras" / "soft.safetensors", background=0.4)
    return make(folder)


def make(folder: Path) -> Finished:
    """Make every picture of a project within this process."""
    project = open_project(folder)
    family, base = identify_base(project, "cpu")
    rows, refused = draft_rows(project, family, base)
    assert not refused
    plan = make_plan(project, base, rows, refused, library_versions(base.family))
    with Store(folder, create=True) as store:
        store.add_document("plan", plan_to_json(plan))
        run_plan(plan, store, family.load(base, "cpu"), photograph_reader(plan, folder))
    return Finished(folder, plan)
