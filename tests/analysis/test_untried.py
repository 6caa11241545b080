"""What nothing is known of decides nothing: rows without a picture or a score, a base compared with nobody."""

from dataclasses import replace

import pytest

from analysis.small_worlds import PLANTED, rng, world
from whichlora.analysis.analyse import analyse
from whichlora.analysis.lint import lint_all
from whichlora.analysis.prose import texts
from whichlora.analysis.simulate import project_of

POOR = world({"base": (0.2,) * 4, "angles": (0.96,) * 4, "style": (0.1,) * 4, "noise": (0.1,) * 4}, photos=20, seeds=1,
             icc=0.0)
"""Without 'angles', training is shown to be the only way; with it, nothing need be trained."""


def concluded(planted, *, fail=(), unscored=(), unmade=(), **wishes):
    """Findings of a planted world some of whose rows came to nothing ('*' for all)."""
    def hit(cell, names):
        return any(name == "*" or f"-{name}-" in cell for name in names)

    plan, generations, scores = project_of(planted, rng())
    generations = [replace(g, status="failed", image=None, error="CUDA out of memory") if hit(g.cell, fail) else g
                   for g in generations if not hit(g.cell, unmade)]
    scores = [s for s in scores if not hit(s.cell, (*fail, *unscored, *unmade))]
    found = analyse(plan, generations, scores, settings={"draws": 200, **wishes})
    assert lint_all(texts(found), found) == ()
    return found


def test_the_planted_world_without_its_only_good_row_is_a_training():
    rates = {name: rates for name, rates in POOR.rates.items() if name != "angles"}
    told = concluded(replace(POOR, rates=rates)).recommendation
    assert (told.decision, told.firm) == ("custom", True)
    assert concluded(POOR).recommendation.candidate == "angles"


@pytest.mark.parametrize(("how", "why"), [
    ("fail", "160 pictures could be made"), ("unscored", "160 pictures has a score"),
    ("unmade", "no picture of it has been made"),
])
def test_a_row_of_which_nothing_is_known_forbids_what_it_could_change(how, why):
    found = concluded(POOR, **{how: ("angles",)})
    told = found.recommendation
    assert (told.decision, told.provisional, told.firm) == ("undecided", "custom", False)
    assert "Nothing is known of angles" in told.sentence
    assert why in told.sentence
    assert "Have angles measured" in told.next_step
    assert "without it the answer would be settled" in told.next_step
    assert all(option.candidate != "angles" and option.learn_from != "angles" for option in told.options)
    row = next(row for row in found.candidates if row.name == "angles")
    assert row.ccr.value is None
    assert {fact.state for fact in row.capabilities.values()} == {"OPEN"}
    assert row.p_edit is None
    assert row.cells["failed"] == (160 if how == "fail" else 0)


def test_a_row_of_which_nothing_is_known_leaves_what_it_cannot_change():
    found = concluded(POOR, fail=("style",))
    assert (found.recommendation.decision, found.recommendation.candidate) == ("existing", "angles")
    assert found.recommendation.firm
    assert any(line.startswith("style counts neither for nor against") for line in found.recommendation.rationale)


def test_nobody_knows_whether_a_lora_is_needed_when_the_base_came_to_nothing():
    found = concluded(POOR, unscored=("base",))
    assert found.recommendation.candidate == "angles"
    assert any("Whether the base model alone would do" in line for line in found.recommendation.rationale)


def test_many_rows_are_counted_and_not_all_listed():
    rates = {"base": (0.2,) * 4, **{f"lora-{n}": (0.3,) * 4 for n in "abcdef"}}
    told = concluded(world(rates, photos=20), fail=[f"lora-{n}" for n in "bcdef"]).recommendation
    assert "Nothing is known of 5 set-ups, lora-b, lora-c, lora-d among them" in told.sentence


def test_no_picture_at_all_is_no_reason_to_train():
    told = concluded(POOR, fail="*").recommendation
    assert told.decision == "undecided"
    assert told.sentence == "Undecided: no picture could be made (640 attempts failed)."
    assert "run again" in told.next_step


def test_pictures_without_scores_ask_for_scores_and_not_for_photographs():
    told = concluded(POOR, unscored="*").recommendation
    assert "640 pictures wait for their scores" in told.sentence
    assert "whichlora score" in told.next_step
    assert "Make the pictures" in concluded(POOR, unmade="*").recommendation.next_step


def test_the_base_compared_with_nobody_is_no_reason_to_train():
    told = concluded(world({"base": (0.2, 0.2, 0.2, 0.72)}, photos=20)).recommendation
    assert (told.decision, told.firm) == ("undecided", False)
    assert "no LoRA was tried" in told.sentence
    assert "below the target of 70% at camera, lighting and background and is open at expression" in told.sentence
    assert "Name LoRAs as candidates" in told.next_step
    good = concluded(world({"base": (0.97,) * 4}, photos=20, icc=0.0)).recommendation
    assert (good.decision, good.candidate, good.firm) == ("existing", "base", True)


def test_a_training_cannot_cure_a_limit_that_the_base_breaks():
    told = concluded(PLANTED["existing"][0], max_seconds=1.0).recommendation
    assert (told.decision, told.firm) == ("undecided", False)
    assert "over your limit of time, the base model alone included" in told.sentence
    assert "Loosen the limit of time" in told.next_step


def test_a_must_have_that_nothing_could_tell_is_not_settled_by_photographs():
    plan, generations, scores = project_of(POOR, rng())
    family = {case.id: case.family for case in plan.cases}
    mute = {cell.id for cell in plan.cells if family[cell.case] == "expression"}
    scores = [replace(s, value=None, passed=None, reason="no verifier") if s.cell in mute else s for s in scores]
    told = analyse(plan, generations, scores, settings={"draws": 200}).recommendation
    assert not told.firm
    assert "No picture could be scored at expression" in told.next_step
    assert "whichlora review" in told.next_step


def test_few_photographs_are_not_taken_for_rates_near_the_target():
    """What three photographs cannot show need not lie near the target: the cure is photographs, not another target."""
    few = concluded(world({"base": (0.4,) * 4, "angles": (0.85,) * 4}, photos=3, seeds=1)).recommendation
    assert not few.firm
    assert few.next_step.startswith("Add photographs and report again")
    assert "another target" not in few.next_step
    near = concluded(world({"base": (0.3,) * 4, "angles": (0.71,) * 4}, photos=20, seeds=1)).recommendation
    assert not near.firm
    assert "Set another target" in near.next_step


def test_one_photograph_is_one():
    told = concluded(world({"base": (0.3,) * 4, "angles": (0.97,) * 4}, photos=1)).recommendation
    assert "1 photograph does not settle" in told.sentence
    assert "the evidence is 1 photograph, not" in " ".join(told.rationale)
