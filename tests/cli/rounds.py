"""A painter project on two portraits whose pictures are judged by what is planted in the LoRAs, not by metrics.

The verbs under test propose, make, compare and store; how well a metric reads a picture is tested elsewhere. The
planted judge knows the truth of a row from the numbers in its files at its weights.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from safetensors.numpy import load_file

from export import projects
from families import painters
from whichlora.cli import _more
from whichlora.cli.project import draft_rows, identify_base, library_versions, make_plan, open_project
from whichlora.metrics.stage import scoring_context
from whichlora.plan.codec import plan_to_json
from whichlora.run.choose import Hiring, open_maker
from whichlora.run.executor import Setup
from whichlora.store import Store
from whichlora.types import Score

PORTRAITS = Path(__file__).parent.parent / "data" / "portraits"
BASE = {"camera": 0.0, "lighting": 0.05, "background": 0.05, "expression": 0.0}
HERE = Hiring(in_process=True)
EDITS = (
    ("sunset", "lighting", "Relight with warm sunset light.", {"light": "sunset"}),
    ("beach", "background", "Change the background to a beach.", {"background": "beach"}),
)


def strengths(row):
    """What a row can do: the base's numbers and its files'."""
    found = {**BASE, "identity_damage": 0.0}
    for use in row.applied:
        for key, value in load_file(use.path).items():
            name = key.removeprefix("painter.")
            found[name] = found.get(name, 0.0) + use.weight * float(value[0])
    return found


def planted(project, store, plan, context):
    """Scores by the planted truth: an edit needs half its strength, the person survives little damage."""
    rows = {row.name: row for row in plan.candidates}
    cases = {case.id: case for case in plan.cases}
    done = store.generations()
    for cell in plan.cells:
        if cell.id not in done:
            continue
        able = strengths(rows[cell.candidate])
        edit, kept = able[cases[cell.case].family] >= 0.5, able["identity_damage"] < 0.5
        store.add_scores([
            Score(cell.id, "following/edit", 1, float(edit), passed=edit, gate="edit"),
            Score(cell.id, "identity/face", 1, float(kept), passed=kept, gate="identity"),
            Score(cell.id, "artifacts/valid", 1, 1.0, passed=True, gate="artefact"),
        ], context=context)


def build(folder, loras, *, photos=2, edits=EDITS, rows=(), drawn=0):
    """A project whose rows are made: of `loras` (name → numbers) and of further `rows`. Returns its folder.

    `drawn` asks for that many small pictures of nobody instead of portraits, for tests that need many.
    """
    folder.mkdir(parents=True, exist_ok=True)
    painters.base(folder / "painter", strengths=BASE, sampler={"reference_area_px": (64 if drawn else 128) ** 2})
    for name in ("refs", "loras"):
        (folder / name).mkdir()
    portraits = ("president-smiling.jpg", "president-speaking.jpg", "president-standing.jpg")
    for source in portraits[: 0 if drawn else photos]:
        shutil.copy(PORTRAITS / source, folder / "refs" / source)
    for number in range(drawn):
        projects.photograph(folder / "refs" / f"photo{number:02d}.png", number)
    for name, numbers in loras.items():
        painters.lora(folder / "loras" / f"{name}.safetensors", **numbers)
    suite = {
        "schema": "whichlora.suite/1", "name": "t", "base": {"family": "painter", "location": "painter"},
        "subject": "other" if drawn else "photograph", "must_have": list(dict.fromkeys(edit[1] for edit in edits)),
        "sources": {"count": drawn or photos}, "seeds": [1],
        "edits": [{"name": n, "family": f, "prompt": p, "target": t} for n, f, p, t in edits],
        "candidates": [{"name": name, "loras": f"{name}.safetensors"} for name in loras] + list(rows),
    }
    (folder / "whichlora.yaml").write_text(yaml.safe_dump(suite, sort_keys=False), encoding="utf-8")
    project = open_project(folder)
    family, base = identify_base(project, "cpu")
    drafted, refused = draft_rows(project, family, base)
    libraries = library_versions(base.family)
    plan = make_plan(project, base, [row for row in drafted if row.role != "control"], refused, libraries)
    with Store(folder, create=True) as store:
        store.add_document("plan", plan_to_json(plan))
        with open_maker(Setup(base, "cpu", folder, libraries), store, HERE) as maker:
            maker.make(plan)
        _more.rate_pictures(project, store, plan, scoring_context(plan))
    return folder


def plan_of(folder):
    """The stored plan."""
    from whichlora.cli.stages import stored_plan

    with Store(folder) as store:
        return stored_plan(store)
