"""The roadmap names what has to be loaded, set, collected and trained, and how long a comparison takes here."""

from dataclasses import replace

import pytest

from analysis.small_worlds import PLANTED, rng, world
from whichlora.analysis.analyse import analyse
from whichlora.analysis.lint import lint_all
from whichlora.analysis.options import WORK_HOURS
from whichlora.analysis.prose import texts
from whichlora.analysis.roadmap import PARTS
from whichlora.analysis.simulate import project_of
from whichlora.types import AdapterUse


def told(planted, rows_of=lambda row: row):
    plan, generations, scores = project_of(planted, rng())
    plan = replace(plan, candidates=tuple(rows_of(row) for row in plan.candidates))
    found = analyse(plan, generations, scores, settings={"draws": 200})
    assert lint_all(texts(found), found) == ()
    return found.recommendation


def step(advice, start):
    return next(step for step in advice.roadmap if step.startswith(start))


@pytest.mark.parametrize(("name", "wanted"), [
    ("base suffices", ("Set up base: no LoRA; 40 steps, guidance 4",)),
    ("existing", ("Set up angles: load angles", "40 steps, guidance 4", "1 to 2 hours", "export' with 'setup'")),
    ("several", ("load angles", "relight", "2 to 6 hours")),
    ("routed", ("Set up angles:", "Set up relight:", "Route each kind of edit", "2 to 6 hours")),
    ("hybrid", ("Set up angles:", "Train for expression", "pairs of one head with two expressions", "rank 16",
                "12 to 40 hours", "export' with 'dataset'", "musubi-tuner", "Learn from")),
    ("custom", ("Train for camera, lighting, background and expression", "two directions", "two lights",
                "20 to 60 hours", "Of these, 8 to 30 for the data, 8 to 24 for training and 4 to 6 for comparing")),
    ("undecided", ("Settle what is open first", "hours of work")),
])
def test_every_answer_comes_with_its_steps(name, wanted):
    advice = told(PLANTED[name][0])
    flat = " ".join(advice.roadmap)
    for words in wanted:
        assert words in flat, words
    assert ("Train for" in flat) is ((advice.provisional or advice.decision) in ("custom", "hybrid"))


def test_the_parts_of_the_hours_make_the_whole():
    for strategy, parts in PARTS.items():
        assert tuple(map(sum, zip(*parts.values(), strict=True))) == WORK_HOURS[strategy]


def test_the_loras_of_a_sampler_and_a_trigger_belong_to_a_set_up():
    """Four steps without the Lightning LoRA that they need would be another set-up than the one that was measured."""
    few = AdapterUse("lightning-4steps", "lightning.safetensors", "ab" * 32, 0.8)

    def quick(row):
        sampler = replace(row.sampler, name="few", num_inference_steps=4, true_cfg_scale=1.0, adapters=(few,))
        return replace(row, sampler=sampler, trigger="ohwx v2") if row.name == "angles" else row

    line = step(told(PLANTED["existing"][0], quick), "Set up angles")
    assert "angles.safetensors at weight 1 and lightning-4steps (for few steps) at weight 0.8" in line
    assert "4 steps, guidance 1" in line
    assert "put 'ohwx v2' before every instruction" in line


def test_a_comparison_is_priced_by_what_the_base_took_here():
    planted = world({"base": (0.2,) * 4, "angles": (0.1,) * 4}, photos=20, seeds=2)
    line = step(told(planted), "Add every checkpoint")
    assert f"about {20 * 2 * 2 * 4 * 30 / 3600:.1f} h of generation each" in line
