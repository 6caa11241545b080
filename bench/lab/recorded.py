"""A recorded world as a project folder: suite, photograph, plan, pictures, generations and scores in a real store.

What a run and a scoring would have left behind; from here on `whichlora report` does its work. Pictures are one small
square per kind of outcome.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image

from whichlora.analysis.simulate import candidates
from whichlora.metrics.stage import scoring_context
from whichlora.plan.codec import plan_to_json
from whichlora.store import Store
from whichlora.types import BaseModel, Cell, EditCase, Generation, Plan, Score, SourceImage, cell_id

COLOURS = {"p": (90, 160, 110), "e": (180, 150, 80), "n": (140, 140, 140), "i": (190, 90, 80), "a": (90, 80, 160),
           "m": (60, 60, 60), "?": (210, 210, 200)}


def load(path: Path) -> dict[str, Any]:
    """A recorded world."""
    return json.loads(path.read_text(encoding="utf-8"))


def plan_of(world: Mapping[str, Any]) -> Plan:
    """The plan whose cells the matrix holds, in the recorded order."""
    rows = candidates(list(world["cells"]))
    digest = {i: sha256(f"photo {i}".encode()).hexdigest() for i in range(world["photos"])}
    photos = tuple(SourceImage(f"photo-{i:02d}", "refs/photo.png", digest[i], 64, 64) for i in digest)
    base = BaseModel("Qwen/Qwen-Image-Edit-2509", "qwen_image_edit", "", "recorded")
    libraries = {"diffusers": "0.42.1"}
    cases, cells = [], []
    for family in world["families"]:
        for photo in photos:
            cases += [
                EditCase(f"{photo.id}/{family}-{edit}", photo.id, f"{family}-{edit}", family,
                         f"Do {family} {edit}.", {})
                for edit in range(world["edits"])
            ]
    for row in rows:
        cells += [
            Cell(cell_id(base, row, case, (digest[int(case.source[-2:])],), seed, libraries), row.name, case.id, seed)
            for case in cases for seed in range(world["seeds"])
        ]
    return Plan(
        world["name"], base, rows, photos, (), (), tuple(cases), tuple(cells), (), "other", tuple(world["must_have"]),
        float(world["wishes"].get("target", 0.7)), libraries,
    )


def restore(world: Mapping[str, Any], folder: Path) -> Plan:
    """Write a world as a project that has been run and scored."""
    plan = plan_of(world)
    (folder / "refs").mkdir(parents=True)
    Image.new("RGB", (64, 64), (120, 130, 140)).save(folder / "refs" / "photo.png")
    edits = [
        {"name": f"{family}-{edit}", "family": family, "prompt": f"Do {family} {edit}."}
        for family in world["families"] for edit in range(world["edits"])
    ]
    rows = [row.name for row in plan.candidates if row.role == "candidate"]
    suite = {
        "schema": "whichlora.suite/1", "name": world["name"], "base": "Qwen/Qwen-Image-Edit-2509", "subject": "other",
        "must_have": world["must_have"], "edits": edits, "seeds": list(range(world["seeds"])),
        "candidates": [{"name": name.replace("+", " and "), "loras": "a.safetensors"} for name in rows],
        **world["wishes"],
    }
    (folder / "whichlora.yaml").write_text(json.dumps(suite), encoding="utf-8")  # JSON is YAML
    with Store(folder, create=True) as store:
        store.add_document("plan", plan_to_json(plan))
        pictures = {letter: store.images.put(_square(colour)) for letter, colour in COLOURS.items()}
        generations, scores = rows_of(world, plan, pictures)
        for generation in generations:
            store.add_generation(generation)
        store.add_scores(scores, context=scoring_context(plan))
    return plan


def rows_of(
    world: Mapping[str, Any], plan: Plan, pictures: Mapping[str, str] | None = None,
) -> tuple[list[Generation], list[Score]]:
    """Generations and scores of a recorded matrix; `pictures` says which picture an outcome has."""
    letters = {
        row.name: iter("".join(parts)) for row, parts in zip(plan.candidates, world["cells"].values(), strict=True)
    }
    costs = {row.name: world["costs"].get(name, (30.0, 20.0)) for row, name in zip(
        plan.candidates, world["cells"], strict=True)}
    generations: list[Generation] = []
    scores: list[Score] = []
    for cell in plan.cells:
        letter = next(letters[cell.candidate])
        generations.append(_generation(cell.id, letter, pictures or dict.fromkeys(COLOURS, ""), *costs[cell.candidate]))
        scores += _scores(cell.id, letter)
    return generations, scores


def _generation(cell: str, letter: str, pictures: Mapping[str, str], seconds: float, gib: float) -> Generation:
    if letter == "f":
        return Generation(cell, "failed", None, {}, 0, "out of memory")
    return Generation(cell, "done", pictures[letter], {"total": seconds}, int(gib * 1024**3))


def _scores(cell: str, letter: str) -> list[Score]:
    """What the metrics of a real run would have said of such a picture."""
    if letter == "f":
        return []
    if letter == "?":
        return [
            Score(cell, "following/edit", 1, 1.0, passed=True, gate="edit"),
            Score(cell, "identity/figure", 1, None, "no figure was found", gate="identity"),
            Score(cell, "artifacts/grid", 1, 0.1, passed=True, gate="artefact"),
        ]
    edit, identity, clean = letter not in "en", letter not in "im", letter != "a"
    found = [{"kind": "mesh", "severity": "severe"}]
    return [
        Score(cell, "following/edit", 1, float(edit), passed=edit, gate="edit"),
        Score(cell, "following/unchanged", 1, 0.5, detail={"no_op": letter == "n"}),
        Score(cell, "identity/figure", 1, None if letter == "m" else 0.9 if identity else 0.3,
              "no face was found" if letter == "m" else "", identity, "identity"),
        Score(cell, "artifacts/grid", 1, 0.1 if clean else 0.9, passed=clean, gate="artefact",
              detail={} if clean else {"found": found}),
    ]


def _square(colour: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(out, "PNG")
    return out.getvalue()
