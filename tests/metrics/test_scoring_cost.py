"""What a picture costs to score, counted in runs of networks and searches for features, never in seconds."""

from collections import Counter

import cv2
import pytest

from metrics.photos import OWN, noisy, portrait, scaled, warp
from metrics.projects import make_cells, plan_of
from whichlora.metrics.stage import PictureScorer, lacking
from whichlora.run.pictures import photograph_reader
from whichlora.store import Store
from whichlora.types import EditCase
from whichlora.vision import onnx

FACES, PERSON, MESH = "centerface.onnx", "person_mask.onnx", "face_mesh_468.onnx"
WHO, LPIPS = "face_embedding_resnet29_u8.onnx", "lpips_alex_f16.onnx"
EDITS = {
    "camera": ({"yaw_deg": 30}, ("identity", "background")), "expression": ({"expression": "smile"}, ("identity",)),
    "background": ({"background": "beach"}, ("identity",)), "lighting": ({"light": "sunset"}, ("identity",)),
}
ROWS = ("one", "two", "three")


@pytest.fixture
def counts(monkeypatch):
    """Runs by model, and 'features' for SIFT."""
    found: Counter[str] = Counter()
    load, create = onnx._session, cv2.SIFT_create

    class Counting:
        def __init__(self, name, model):
            self.name, self.model = name, model

        def run(self, *args):
            found[self.name] += 1
            return self.model.run(*args)

    class Features:
        def __init__(self, **settings):
            self.sift = create(**settings)

        def detectAndCompute(self, *args):  # noqa: N802 - OpenCV's name
            found["features"] += 1
            return self.sift.detectAndCompute(*args)

    monkeypatch.setattr(onnx, "_session", lambda file, process: Counting(file, load(file, process)))
    monkeypatch.setattr(cv2, "SIFT_create", Features)
    return found


def test_a_picture_costs_few_runs_and_a_photograph_only_its_first_ones(tmp_path, counts):
    # Pictures that no other test has seen: nothing may be remembered of them.
    own = [noisy(scaled(portrait(name), 320), 1, 77) for name in OWN]
    stranger = noisy(scaled(portrait("vice-president"), 320), 1, 77)
    edits = [EditCase(f"own-0/{family}", "own-0", family, family, "do it", target, keep)
             for family, (target, keep) in EDITS.items()]
    rows = {name: [noisy(warp(own[0], 1.01, 2, 1), 4, 10 * row + case) for case in range(len(edits))]
            for row, name in enumerate(ROWS)}
    plan = plan_of(tmp_path, "photograph", own, [stranger], edits, rows)
    make_cells(tmp_path, plan, rows, set(ROWS))
    spent: dict[tuple[str, str], Counter[str]] = {}
    with Store(tmp_path) as store:
        tasks = lacking(plan, store, "")
        scorer = PictureScorer(plan, store.images, photograph_reader(plan, tmp_path))
        for task in tasks:
            counts.clear()
            assert not [row for row in scorer.scores(task) if "Error" in row.reason]
            spent[task.generation.cell.split("-")[1], task.case.split("/")[1]] = Counter(counts)
    # Of the output: its faces once, the largest one's identity once and its mesh in three passes, its features once.
    # The person is sought in the output, and where something must stay, once more in the output laid back.
    always = {FACES: 1, WHO: 1, MESH: 3, "features": 1, PERSON: 1}
    expected = {
        "camera": {**always, PERSON: 2, LPIPS: 1}, "expression": {**always, LPIPS: 1},
        "background": {**always, PERSON: 2, LPIPS: 1}, "lighting": always,
    }
    for row in ROWS[1:]:  # the first row paid for calibration and for the photograph
        for family, runs in expected.items():
            assert dict(spent[row, family]) == runs, (row, family)
    first = sum((spent[ROWS[0], family] for family in EDITS), Counter())
    later = sum((Counter(runs) for runs in expected.values()), Counter())
    # Calibration sees four photographs. The edited one is among them, so that its features are all that it adds.
    assert first["features"] == later["features"] + 1
    assert first[FACES] == later[FACES] + len(own) + 1
    assert first[WHO] == later[WHO] + len(own) + 1
