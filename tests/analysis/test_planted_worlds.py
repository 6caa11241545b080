"""Twenty recorded worlds with known truths: what is concluded from them, and that they are what they say."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))
from lab.planted import FOLDER, WORLDS, record, right_answer
from lab.recorded import load, plan_of, restore, rows_of
from worlds import agrees, through_report

from whichlora.analysis.analyse import analyse
from whichlora.analysis.lint import lint_all
from whichlora.analysis.prose import texts

PATHS = sorted(FOLDER.glob("*.json"))


def concluded(world, **wishes):
    plan = plan_of(world)
    named = {"max_memory_gib" if name == "max_vram_gib" else name: value for name, value in world["wishes"].items()}
    return analyse(plan, *rows_of(world, plan), settings={"draws": 300, **named, **wishes})


QUICK = ("01", "05", "07", "09", "17", "20")
"""One world of each kind; the others are replayed by bench/worlds.py, and here with --slow."""


@pytest.mark.parametrize("path", [
    pytest.param(path, marks=() if path.name[:2] in QUICK else pytest.mark.slow, id=path.stem) for path in PATHS
])
def test_the_verdict_is_the_truth(path):
    world = load(path)
    found = concluded(world)
    verdict = {"decision": found.recommendation.decision, "candidate": found.recommendation.candidate}
    assert agrees(world, verdict), (verdict, world["truth"])
    assert lint_all(texts(found), found) == ()


def test_the_worlds_are_many_and_different():
    truths = [load(path)["truth"] for path in PATHS]
    assert len(PATHS) == 20
    assert {truth["decision"] for truth in truths} == {"existing", "multi", "custom", "hybrid", "undecided"}
    assert sum(truth["decision"] == "undecided" for truth in truths) <= 4
    assert sum(truth["decision"] != "existing" or truth["candidates"] == ["base"] for truth in truths) >= 8
    assert sum(path.stat().st_size for path in PATHS) < 150_000


def test_the_recording_is_the_seeded_one():
    world = next(world for world in WORLDS if world.name == "routes")
    assert load(FOLDER / "07-routes.json") == json.loads(json.dumps(record(world)))
    assert right_answer(world) == ("multi", ())


def test_limits_and_not_luck_make_the_slow_one_lose():
    world = load(FOLDER / "04-best-too-slow.json")
    slow = concluded(world)
    assert {row.name: row.budget.get("time") for row in slow.candidates}["slow"] == "FAIL"
    assert slow.recommendation.candidate == "quick"
    assert concluded(world, max_seconds=None).recommendation.candidate == "slow"


def test_a_matrix_with_its_rows_exchanged_gives_the_other_answer():
    """The answer comes from the cells, not from names, order or story."""
    world = load(FOLDER / "03-one-existing.json")
    world["cells"]["angles"], world["cells"]["noise"] = world["cells"]["noise"], world["cells"]["angles"]
    assert concluded(world).recommendation.candidate == "noise"


def test_end_to_end_through_the_report(tmp_path, monkeypatch):
    monkeypatch.setattr("whichlora.report.plots.PLOTS", {})  # they have a test of their own
    world = load(FOLDER / "09-hybrid-one-gap.json")
    restore(world, tmp_path / "p")
    verdict = through_report(tmp_path / "p")
    assert agrees(world, verdict)
    assert verdict["training_only"] == ["expression"]
    assert "expression" in (tmp_path / "p" / "results.md").read_text(encoding="utf-8")
