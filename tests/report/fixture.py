"""A made-up project for the report: drawn pictures, a plan, generations, scores and findings.

The figures are drawn, the rates follow from planted chances, and the intervals are plausible widths, not estimates:
these tests ask how a report shows figures, not whether they are right.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from report.concluded import findings_of
from report.rows import FAMILIES, PROMPTS, ROWS, Row
from whichlora.report.model import ReportInput
from whichlora.types import (
    AdapterUse,
    BaseModel,
    Candidate,
    EditCase,
    Generation,
    Plan,
    Score,
    SourceImage,
    cell_id,
)
from whichlora.types import Cell as PlannedCell


def draw(person: dict, edit: str | None, done: bool, kept: bool, mesh: bool, seed: int, size: int) -> Image.Image:
    """Draw a toy figure; what the edit asks for is visible, and so is what went wrong."""
    rng = random.Random(seed)
    big = size * 2
    skin, hair, shirt = (person["skin"], person["hair"], person["shirt"])
    if not kept:
        hair, shirt = (rng.randrange(40, 220), rng.randrange(40, 200), rng.randrange(40, 220)), (90, 80, 120)
    sky, ground = person["sky"], person["ground"]
    if edit == "background" and done:
        sky, ground = (150, 190, 150), (58, 96, 62)
    top, bottom = np.array(sky, float), np.array(ground, float)
    ramp = np.linspace(0, 1, big)[:, None, None]
    pixels = (top * (1 - ramp) + bottom * ramp) * np.ones((big, big, 1))
    picture = Image.fromarray(pixels.astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    if edit == "background" and done:
        for n in range(7):
            x = big * (0.02 + 0.16 * n)
            pen.polygon(
                [(x, big * 0.75), (x + big * 0.16, big * 0.75), (x + big * 0.08, big * (0.2 + 0.05 * (n % 3)))],
                fill=(40, 84 + 8 * (n % 3), 52),
            )
    turn = (0.11 if done else 0.02) * big if edit == "camera" else person["turn"] * big
    middle = big / 2
    pen.rounded_rectangle([middle - big * 0.2, big * 0.62, middle + big * 0.2, big * 1.2], big * 0.14, fill=shirt)
    pen.ellipse([middle - big * 0.25, big * 0.16, middle + big * 0.25, big * 0.7], fill=hair)
    pen.ellipse([middle - big * 0.2 + turn, big * 0.24, middle + big * 0.2 + turn, big * 0.68], fill=skin)
    for side in (-1, 1):
        x = middle + turn * 1.5 + side * big * 0.085
        pen.ellipse([x - big * 0.024, big * 0.42, x + big * 0.024, big * 0.48], fill=(35, 30, 30))
        if person["glasses"] and kept:
            pen.ellipse(
                [x - big * 0.06, big * 0.39, x + big * 0.06, big * 0.51], outline=(30, 40, 70), width=max(2, big // 70)
            )
    mouth = [middle + turn * 1.5 - big * 0.07, big * 0.5, middle + turn * 1.5 + big * 0.07, big * 0.61]
    if edit == "expression" and done:
        pen.chord(mouth, 10, 170, fill=(150, 40, 50))
    else:
        pen.arc(mouth, 40, 140, fill=(120, 50, 50), width=max(2, big // 60))
    pixels = np.asarray(picture.filter(ImageFilter.GaussianBlur(big / 260)), float)
    across, down = np.meshgrid(np.linspace(-1, 1, big), np.linspace(-1, 1, big))
    lit = 1 + 0.14 * -across - 0.1 * down
    if edit == "lighting" and done:
        pixels = pixels * np.array([1.18, 0.86, 0.62])
        lit = 1 + 0.42 * across
    pixels = pixels * lit[..., None]
    if mesh:
        pixels += 22 * (np.sin(across * 90) * np.sin(down * 90))[..., None]
    pixels += np.random.default_rng(seed).normal(0, 2.5, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).resize((size, size), Image.Resampling.LANCZOS)


def person(number: int) -> dict:
    """The same character in another setting."""
    rng = random.Random(number)
    return {
        "skin": (236, 188, 150),
        "hair": (120, 52, 30),
        "shirt": (38, 120, 128),
        "glasses": True,
        "sky": tuple(rng.randrange(150, 230) for _ in range(3)),
        "ground": tuple(rng.randrange(90, 150) for _ in range(3)),
        "turn": rng.uniform(-0.05, 0.05),
    }


@dataclass(frozen=True)
class Project:
    """A project on disk and its report input."""

    given: ReportInput
    folder: Path


def build(
    folder: Path,
    *,
    photos: int = 5,
    seeds: int = 2,
    size: int = 128,
    rows: tuple[Row, ...] = ROWS,
    undecided: bool = False,
    truth: bool = True,
    source_size: int | None = None,
    prompts: dict[str, str] | None = None,
) -> Project:
    """Make a project: draw its pictures into `folder` and fabricate everything that a report reads."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    prompts = prompts or PROMPTS
    base = BaseModel("Qwen/Qwen-Image-Edit-2509", "qwen_image_edit", "local", "f" * 24)
    sources = [_source(folder, n, source_size or size) for n in range(photos)]
    candidates = tuple(_candidate(row) for row in rows)
    cases = tuple(
        EditCase(f"{source.id}/{family}", source.id, family, family, prompts[family], {})
        for source in sources
        for family in FAMILIES
    )
    cells, generations, scores = [], {}, {}
    for row, candidate in zip(rows, candidates, strict=True):
        for case in cases:
            for seed in range(1, seeds + 1):
                name = (
                    f"{cell_id(base, candidate, case, (case.source,), seed, {})}-{rows.index(row)}-{cases.index(case)}"
                )
                cell = PlannedCell(name, row.name, case.id, seed)
                cells.append(cell)
                generations[name], scores[name] = _make(folder, row, case, cell, size, int(case.source[-1]))
    # what really happens: one failed, one never made, one unscored
    failed, unmade = cells[len(cells) // 3], cells[len(cells) // 2]
    generations[failed.id] = Generation(
        failed.id, "failed", None, {"total": 2.0}, 0, "out of memory: 23.4 of 24 GiB in use"
    )
    scores.pop(failed.id)
    generations.pop(unmade.id)
    scores.pop(unmade.id)
    plan = Plan(
        "mychar",
        base,
        candidates,
        tuple(sources),
        (),
        (),
        cases,
        tuple(cells),
        _refused(),
        "figure",
        ("camera", "lighting", "background", "identity"),
        0.7,
        {"torch": "2.9"},
    )
    findings = findings_of(plan, rows, generations, scores, undecided=undecided, truth=truth)
    given = ReportInput(
        findings,
        plan,
        generations,
        scores,
        lambda digest: folder / "images" / f"{digest}.png",
        lambda name: folder / f"{name}.png",
    )
    return Project(given, folder)


def _source(folder: Path, number: int, size: int) -> SourceImage:
    path = folder / f"photo-{number}.png"
    draw(person(number), None, False, True, False, number, size).save(path)
    return SourceImage(f"photo-{number}", path.name, "0" * 64, size, size)


def _candidate(row: Row) -> Candidate:
    uses = (
        ()
        if row.role != "candidate"
        else (AdapterUse(row.name, "x.safetensors", hashlib.sha256(row.name.encode("utf-8", "replace")).hexdigest()),)
    )
    return Candidate(
        row.name, uses, role=row.role, control="do-nothing" if row.role == "control" else "", licence=row.licence
    )


def _make(
    folder: Path, row: Row, case: EditCase, cell: PlannedCell, size: int, photo: int
) -> tuple[Generation, tuple[Score, ...]]:
    rng = random.Random(f"{row.name}{case.id}{cell.seed}")
    done = rng.random() < row.edit[FAMILIES.index(case.family)]
    kept = rng.random() < row.keep or (not done and rng.random() < 0.7)
    mesh = rng.random() < row.mesh
    picture = draw(person(photo), case.family, done, kept, mesh, cell.seed, size)
    digest = hashlib.sha256(picture.tobytes()).hexdigest()
    picture.save(folder / "images" / f"{digest}.png", compress_level=1)
    spent = row.seconds * rng.uniform(0.95, 1.05)
    made = Generation(
        cell.id,
        "done",
        digest,
        {"denoise": spent * 0.8, "total": spent},
        3 << 30,
        facts={"device": "2 CPU cores", "width": size, "height": size},
    )
    boxes = {"regions": [[size // 4, size // 4, size // 3, size // 3]]} if mesh else {}
    scores = (
        Score(
            cell.id,
            "following/verified",
            1,
            rng.uniform(0.7, 1) if done else rng.uniform(0, 0.4),
            passed=done,
            gate="edit",
        ),
        Score(
            cell.id,
            "identity/figure",
            2,
            rng.uniform(0.75, 0.98) if kept else rng.uniform(0.2, 0.5),
            passed=kept,
            gate="identity",
        ),
        Score(cell.id, "artifacts/mesh", 1, 0.9 if mesh else 0.02, passed=not mesh, gate="artefact", detail=boxes),
        Score(cell.id, "preservation/lpips", 1, None, "not applicable: the background was to change"),
    )
    return made, scores


def _refused() -> tuple[dict[str, str], ...]:
    return (
        {
            "name": "flux-face-lock.safetensors",
            "reason": "Made for FLUX.1: 0 of 456 keys match this base. Look for a Qwen-Image-Edit version.",
        },
        {
            "name": "zero-effect.safetensors",
            "reason": "Every up-matrix is zero, so it changes no picture. Ask its author for the trained file.",
        },
    )
