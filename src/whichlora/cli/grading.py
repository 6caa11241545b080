"""Grades of demo pictures from the embedded world's exact ground truth. Read by no decision."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from whichlora.errors import MachineError
from whichlora.store import Store
from whichlora.types import EditCase, Generation, Plan, Score

TRUTH_METRIC = "truth/consistent"
_VERSION = 1
_FINISH = "finish"


class Grader:
    """Grades finished pictures of a plan, each once."""

    def __init__(self, store: Store) -> None:
        from whichlora.tinyworld.truth import TruthGrader

        self._store = store
        self._grader = TruthGrader()

    def grade_new(self, plan: Plan) -> int:
        """Grade every finished picture of base and candidates that has no grade yet; returns how many."""
        from whichlora.metrics.stage import scoring_context

        context = scoring_context(plan)
        graded = {score.cell for score in self._store.scores(context=context) if score.metric == TRUTH_METRIC}
        generations = self._store.generations()
        controls = {candidate.name for candidate in plan.candidates if candidate.role == "control"}
        cases = {case.id: case for case in plan.cases}
        new = [
            (generation, cases[cell.case]) for cell in plan.cells
            if cell.candidate not in controls and cell.id not in graded
            and (generation := generations.get(cell.id)) is not None and generation.image is not None
        ]
        for generation, case in new:
            self._store.add_scores([self._score(generation, case, plan)], context=context)
        return len(new)

    def _score(self, generation: Generation, case: EditCase, plan: Plan) -> Score:
        """Was the asked edit done, and is it still the same person?"""
        import torch

        from whichlora.tinyworld.characters import mina, reference_states

        assert generation.image is not None
        with Image.open(self._store.images.path(generation.image), formats=("PNG",)) as image:
            pixels = np.asarray(image.convert("RGB"))
        tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
        number = _number(case.source)
        states = reference_states(max(number, len(plan.sources))).select([number - 1])
        verdict = self._grader.grade(tensor, mina(), states, (_edit(case),), case.source)
        detail: dict[str, Any] = {
            "edit_done": verdict.edit_done, "identity_kept": verdict.identity_kept,
            "lost_traits": list(verdict.lost_traits), "nearest_state": verdict.nearest_state,
        }
        passed = verdict.consistent
        return Score(generation.cell, TRUTH_METRIC, _VERSION, float(passed), "", passed, None, "", detail)


class GradingProcess:
    """Grades beside the run, on a core that the tiny model leaves idle."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "whichlora.cli.grading", str(folder)], stdin=subprocess.PIPE, text=True,
        )

    def finish(self) -> None:
        """Let it grade what is left and wait for it.

        Raises:
            MachineError: It failed; the demo's own verdict does not depend on it.
        """
        self._process.communicate(_FINISH)
        if self._process.returncode:
            raise MachineError(f"Grading with the ground truth ended with status {self._process.returncode}.",
                               fix="Run the demo again; pictures and scores are kept.")

    def stop(self) -> None:
        """End it without waiting for what is left; safe to call at any time."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def main(folder: Path) -> None:
    """Grade pictures as they appear until the parent says that all are there; end when it dies."""
    import threading

    import torch

    from whichlora.plan.codec import plan_from_json

    torch.set_num_threads(1)
    heard: list[str] = []
    listener = threading.Thread(target=lambda: heard.append(sys.stdin.read()), daemon=True)
    listener.start()
    while not (folder / "store.sqlite").exists():
        if heard:
            return
        time.sleep(0.2)
    started = time.time()
    with Store(folder) as store:
        grader = Grader(store)
        while True:
            last_round = bool(heard)
            if last_round and heard[0] != _FINISH:
                return
            document = store.document("plan")
            done = grader.grade_new(plan_from_json(document)) if document else 0
            if last_round and not done:
                return
            if not done:
                time.sleep(0.5 if time.time() - started < 30 else 1.0)


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


if __name__ == "__main__":
    main(Path(sys.argv[1]))
