"""Grades of demo pictures from the embedded world's exact ground truth. Read by no decision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from whichlora.store import Store
from whichlora.types import EditCase, Plan, Score

TRUTH_METRIC = "truth/consistent"
_VERSION = 1


def truth_scores(store: Store, plan: Plan) -> Iterator[Score]:
    """One grade per finished picture: was the asked edit done, and is it still the same person?"""
    import torch

    from whichlora.tinyworld.characters import mina, reference_states
    from whichlora.tinyworld.truth import TruthGrader

    graded = {score.cell for score in store.scores() if score.metric == TRUTH_METRIC}
    generations = store.generations()
    cases = {case.id: case for case in plan.cases}
    states = reference_states(max(_number(source.id) for source in plan.sources))
    grader = TruthGrader()
    seen: set[str] = set()
    for cell in plan.cells:
        generation = generations.get(cell.id)
        if cell.id in graded or cell.id in seen or generation is None or generation.image is None:
            continue
        seen.add(cell.id)
        case = cases[cell.case]
        with Image.open(store.images.path(generation.image), formats=("PNG",)) as image:
            pixels = np.asarray(image.convert("RGB"))
        tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
        verdict = grader.grade(tensor, mina(), states.select([_number(case.source) - 1]), (_edit(case),), case.source)
        detail: dict[str, Any] = {
            "edit_done": verdict.edit_done, "identity_kept": verdict.identity_kept,
            "lost_traits": list(verdict.lost_traits), "nearest_state": verdict.nearest_state,
        }
        passed = verdict.consistent
        yield Score(cell.id, TRUTH_METRIC, _VERSION, float(passed), "", passed, None, "", detail)


def _number(source: str) -> int:
    """Number of a demo photograph, from its file name."""
    return int(source.rpartition("_")[2].rpartition("-")[2])


def _edit(case: EditCase) -> Any:
    """The world's edit that a demo case asks for."""
    from whichlora.tinyworld.edits import Edit

    target = case.target
    if case.family == "camera":
        side = "left" if target["yaw_deg"] < 0 else "right"
        return Edit("camera", f"{side}_{abs(int(target['yaw_deg']))}")
    if case.family == "lighting":
        return Edit("light", str(target["light"]))
    return Edit(case.family, str(target[case.family]))
