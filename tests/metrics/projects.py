"""A small scored project without any model: control rows, a row that edits perfectly, one that loses the person."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from metrics.photos import vae_like
from whichlora.run.controls import control_picture
from whichlora.run.pictures import photograph_reader, png_bytes
from whichlora.store import Store
from whichlora.types import BaseModel, Candidate, Cell, EditCase, Generation, Plan, SourceImage

CONTROLS = ("do-nothing", "vae-round-trip", "other-person", "real-pair")


class Camera:
    """Stands in for a session where control rows ask for sizes and round trips only."""

    def output_size(self, picture, sampler):
        return picture.shape[:2]

    def round_trip(self, picture, sampler):
        return vae_like(picture)


def photographs(folder: Path, name: str, pictures: list[np.ndarray]) -> tuple[SourceImage, ...]:
    """Write pictures as PNG and describe them."""
    found = []
    for index, picture in enumerate(pictures):
        path = folder / name / f"{name}-{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append(SourceImage(f"{name}-{index}", f"{name}/{path.name}", digest, picture.shape[1], picture.shape[0]))
    return tuple(found)


def plan_of(folder: Path, kind: str, own: list, others: list, edits: list[EditCase], rows: dict[str, list]) -> Plan:
    """A plan over the first own pictures, one per edit case; `rows` gives each candidate's picture per case."""
    sources = photographs(folder, "own", own)
    strangers = photographs(folder, "other", others)
    candidates = [Candidate(name, role="base" if name == "base" else "candidate") for name in rows]
    candidates += [Candidate(name, role="control", control=name) for name in CONTROLS]
    cells = tuple(
        Cell(f"c1-{candidate.name}-{case.id}".replace("/", "-"), candidate.name, case.id, 1)
        for candidate in candidates for case in edits
    )
    edited = {case.source for case in edits}
    return Plan(
        "test", BaseModel("b", "painter", ".", "f"), tuple(candidates),
        tuple(item for item in sources if item.id in edited), tuple(item for item in sources if item.id not in edited),
        strangers, tuple(edits), cells, (), kind, tuple({case.family for case in edits}), 0.7, {},
    )


def make_cells(folder: Path, plan: Plan, rows: dict[str, list], only: set[str] | None = None) -> list[str]:
    """Store the pictures of every row, control rows by the product's own code; returns the finished cells."""
    made = []
    with Store(folder, create=True) as store:
        read = photograph_reader(plan, folder)
        cases = {case.id: (index, case) for index, case in enumerate(plan.cases)}
        rows_by_name = {item.name: item for item in plan.candidates}
        for cell in plan.cells:
            if only is not None and cell.candidate not in only:
                continue
            index, case = cases[cell.case]
            row = rows_by_name[cell.candidate]
            picture = (rows[row.name][index] if row.role != "control"
                       else control_picture(row, case, plan, Camera(), read))
            image = store.images.put(png_bytes(picture, "", {}))
            facts = {"height_px": picture.shape[0], "width_px": picture.shape[1]}
            store.add_generation(Generation(cell.id, "done", image, {"total": 1.0}, 0, "", facts))
            made.append(cell.id)
    return made
