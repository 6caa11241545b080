"""Sweep, stacks, chain and routes on the embedded model, with pictures; its exact ground truth grades the answers.

Nothing here is decided by the ground truth: it is read afterwards, to see whether the answers were right.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from lab.figures import Figure, at_least, at_most

PHOTOS = 12
SCALE = 1.6
"""How much larger the planted over-trained LoRA's change is than the shipped one's."""
EDITS = (
    ("turn-left", "camera", {"yaw_deg": -45}, "rotate the camera 45 degrees to the left"),
    ("turn-right", "camera", {"yaw_deg": 45}, "rotate the camera 45 degrees to the right"),
    ("sunset", "lighting", {"light": "sunset"}, "relight the picture with warm sunset light"),
    ("smile", "expression", {"expression": "smile"}, "make the character smile"),
)
ROWS = {
    "angles": "toymaker--Qwen-Edit-Tiny-Multiple-Angles", "relight": "lumenlab--Qwen-Edit-Tiny-Relight",
    "expression": "moodlab--qwen-edit-expression", "stranger": "pixelwizard--Camera-Pro-Ultra",
}


def pictured(folder: Path, quick: bool) -> list[Figure]:
    """All demonstrations in one project; run again to go on where it stopped."""
    import torch

    from whichlora.cli._more import open_measured
    from whichlora.run.choose import Hiring

    torch.set_num_threads(1)
    photos = 4 if quick else PHOTOS
    if not (folder / "whichlora.yaml").is_file():
        _create(folder, photos)
    _measure_singles(folder)
    with open_measured(folder, "cpu", Hiring(in_process=True)) as measured:
        found = _sweep(measured)
        found += _stacks(measured)
        found += _chain(measured)
        found += _route(measured)
    return found


def _create(folder: Path, photos: int) -> None:
    """A demonstration project with the planted over-trained LoRA added."""
    import yaml
    from safetensors.numpy import save_file

    from whichlora.cli.demo import set_up
    from whichlora.lora.delta import canonical_state_dict
    from whichlora.tinyworld import LORA_FOLDER

    set_up(folder, photos=photos, loras={name: LORA_FOLDER / name for name in ROWS.values()})
    state = dict(canonical_state_dict(_file(folder, "angles")))
    louder = {key: (value * np.float32(SCALE) if "lora_B" in key else value) for key, value in state.items()}
    dense = {key: np.ascontiguousarray(value) for key, value in louder.items()}
    save_file(dense, folder / "loras" / "over.safetensors")
    path = folder / "whichlora.yaml"
    suite = yaml.safe_load(path.read_text(encoding="utf-8"))
    suite["edits"] = [{"name": n, "family": f, "target": t, "prompt": p} for n, f, t, p in EDITS]
    suite["must_have"] = ["camera", "lighting", "expression"]
    suite["candidates"] = [
        {"name": name, "loras": _file(folder, name).relative_to(folder / "loras").as_posix()} for name in ROWS
    ] + [{"name": "over", "loras": "over.safetensors"}]
    path.write_text(yaml.safe_dump(suite, allow_unicode=True, sort_keys=False), encoding="utf-8")


def _file(folder: Path, name: str) -> Path:
    return sorted((folder / "loras" / ROWS[name]).glob("*.safetensors"))[0]


def _measure_singles(folder: Path) -> None:
    from whichlora.cli.project import open_project
    from whichlora.cli.stages import generate, score
    from whichlora.run.choose import Hiring
    from whichlora.store import Store

    project = open_project(folder)
    with project.workspace.owned(), Store(folder, create=True) as store:
        if store.document("plan") is not None and store.document("sweeps") is not None:
            return
        score(project, store, generate(project, store, device="cpu", hiring=Hiring(in_process=True)))


def _sweep(measured) -> list[Figure]:  # noqa: ANN001 - a `Measured`
    from whichlora.cli.sweep import run_sweep

    document = run_sweep(measured, "over", ["camera", "lighting"])
    for sentence in document["sentences"]:
        print("  ", sentence)
    truth = _true_optimum(measured, [point["weight"] for point in document["points"]], document)
    pick = document["optimum"]["weight"]
    return [
        Figure("tinyworld sweep: picked weight", pick, "printed", True),
        Figure("tinyworld sweep: planted weight (1 / 1.6)", round(1 / SCALE, 3), "printed", True),
        Figure("tinyworld sweep: weight nearest to the ground truth's pictures", truth, "printed", True),
        at_most("tinyworld sweep: distance to the planted optimum", abs(pick - 1 / SCALE), 0.1),
        at_most("tinyworld sweep: distance to the ground truth's optimum", abs(pick - truth), 0.1),
        at_least("tinyworld sweep: consistent at the pick on held-out photographs, minus at weight 1",
                 document["against_own"]["value"] if document["against_own"] else 0.0, 0.0),
    ]


def _true_optimum(measured, weights: list[float], document: dict) -> float:  # noqa: ANN001
    """Weight at which pictures lie nearest to the exact truth: the lowest point of a parabola through the nearest."""
    from whichlora.cli.sweep import at_weight
    from whichlora.plan.extend import part_of

    row = measured.row("over")
    distance = []
    for weight in weights:
        part = part_of(measured.plan, [at_weight(row, weight)], photos=document["photographs"]["picking"],
                       families=["camera", "lighting"])
        distance.append(float(np.mean([grade["distance"] for grade in graded(measured, part)])))
        print(f"   ground truth at weight {weight:g}: distance {distance[-1]:.4f}")
    order = np.argsort(distance)[:4]
    a, b, _ = np.polyfit(np.array(weights)[order], np.array(distance)[order], 2)
    return round(float(-b / (2 * a)), 3) if a > 0 else float(weights[int(np.argmin(distance))])


def graded(measured, plan) -> list[dict]:  # noqa: ANN001
    """Grades of a plan's pictures by the exact ground truth, each computed once and kept beside the project."""
    import torch
    from PIL import Image

    from whichlora.tinyworld.characters import mina, reference_states
    from whichlora.tinyworld.edits import Edit
    from whichlora.tinyworld.truth import TruthGrader

    kept = measured.store.folder / "grades.json"
    known = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    grader, cases = TruthGrader(), {case.id: case for case in plan.cases}
    done, found = measured.store.generations(), []
    total = len(measured.plan.sources)
    for cell in plan.cells:
        case, made = cases[cell.case], done.get(cell.id)
        if made is None or made.image is None:
            continue
        if cell.id in known:
            found.append(known[cell.id])
            continue
        number = int(case.source.rpartition("_")[2].rpartition("-")[2])
        with Image.open(measured.store.images.path(made.image)) as image:
            pixels = torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1).float() / 255
        if case.family == "camera":
            value = f"{'left' if case.target['yaw_deg'] < 0 else 'right'}_{abs(int(case.target['yaw_deg']))}"
            edit = Edit("camera", value)
        elif case.family == "lighting":
            edit = Edit("light", str(case.target["light"]))
        else:
            edit = Edit(case.family, str(case.target[case.family]))
        states = reference_states(max(number, total)).select([number - 1])
        grade = grader.grade(pixels, mina(), states, (edit,), case.source)
        known[cell.id] = {"consistent": grade.consistent, "distance": grade.distance}
        found.append(known[cell.id])
    kept.write_text(json.dumps(known), encoding="utf-8")
    return found


def _true_rate(measured, row: str, family: str) -> float:  # noqa: ANN001
    from whichlora.plan.extend import part_of

    part = part_of(measured.plan, [measured.row(row)], families=[family])
    return float(np.mean([grade["consistent"] for grade in graded(measured, part)]))


PAIRS = (("angles", "expression"), ("angles", "relight"), ("angles", "stranger"))
"""Complementary by the ground truth; complementary by their cards; and one that turns everybody into somebody else."""


def _stacks(measured) -> list[Figure]:  # noqa: ANN001
    from whichlora.analysis.combining import Proposal
    from whichlora.cli.combine import measure_stacks, propose

    proposed = propose(measured, 3)
    named = [set(one.parts) for one in proposed]
    print("   proposed:", [" & ".join(one.parts) for one in proposed])
    owners = {"angles": "camera", "expression": "expression", "relight": "lighting", "stranger": "camera"}
    wanted = [one for one in proposed if set(one.parts) in [set(pair) for pair in PAIRS]]
    wanted += [Proposal(pair, {owners[part]: part for part in reversed(pair)}, 0.0, 0.0) for pair in PAIRS
               if set(pair) not in [set(one.parts) for one in wanted]]
    document = measure_stacks(measured, wanted)
    figures = []
    for stack in document["stacks"]:
        for sentence in stack["sentences"]:
            print("  ", sentence)
        truth = {family: _true_rate(measured, stack["name"], family) for family in ("camera", "lighting", "expression")}
        alone = {part: {family: _true_rate(measured, part, family) for family in truth} for part in stack["parts"]}
        print(f"   ground truth: {stack['name']} {_rounded(truth)}; " + "; ".join(
            f"{part} {_rounded(rates)}" for part, rates in alone.items()))
        lost = any(truth[family] < max(rates[family] for rates in alone.values()) - 0.15 for family in truth)
        ahead = np.mean(list(truth.values())) > max(np.mean(list(rates.values())) for rates in alone.values())
        if stack["verdict"] != "open":
            # 'better' claims to be ahead of the better part over the must-haves; 'worse', to lose one or to be behind.
            right = bool(ahead) if stack["verdict"] == "better" else bool(lost or not ahead)
            figures.append(Figure(f"tinyworld stack {stack['name']}: verdict '{stack['verdict']}' true", float(right),
                                  "= 1", right))
        else:
            figures.append(Figure(f"tinyworld stack {stack['name']}: open; loses a capability by the truth",
                                  float(lost), "printed", True))
    stranger = [stack for stack in document["stacks"] if "stranger" in stack["parts"]]
    return [
        at_least("tinyworld: a complementary pair is proposed", float({"angles", "expression"} in named), 1.0),
        *figures,
        at_most("tinyworld: interfering stacks called better", sum(s["verdict"] == "better" for s in stranger), 0.0),
        at_least("tinyworld: interfering pair rejected at its parts' own weights",
                 float(stranger[0]["verdict"] == "worse") if stranger else 0.0, 1.0),
    ]


def _rounded(rates: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in rates.items()}


def _chain(measured) -> list[Figure]:  # noqa: ANN001
    from whichlora.cli.chain import run_chain

    document = run_chain(measured, (measured.row("angles"), "camera"), (measured.row("relight"), "lighting"))
    for sentence in document["sentences"]:
        print("  ", sentence)
    return [
        Figure(f"tinyworld chain angle, then relight: {name}", round(document[key]["value"], 3), "printed", True)
        for name, key in (("first step", "first"), ("first edit after the second step", "survived"),
                          ("second edit on the photograph", "direct"), ("second edit on the result", "second"),
                          ("both in one picture", "whole"))
    ]


def _route(measured) -> list[Figure]:  # noqa: ANN001
    from whichlora.cli.route import judge

    document = judge(measured)
    for sentence in document["sentences"]:
        print("  ", sentence)
    return [
        Figure("tinyworld routing: gain over the best single set-up, points", round(100 * document["gain"]["value"], 1),
               "printed", True),
        Figure("tinyworld routing: seconds of a switch", round(document.get("switch_seconds") or 0.0, 3), "printed",
               True),
        Figure("tinyworld routing: chosen", float(document["chosen"]), "printed", True),
    ]
