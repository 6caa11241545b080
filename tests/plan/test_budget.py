"""From GPU time to a plan: photographs first, never over the budget, and the choice survives storage."""

from dataclasses import replace

import pytest

from whichlora.errors import UserError
from whichlora.plan.budget import (
    LEAST_STEPS,
    Design,
    Material,
    as_time,
    choose_design,
    design_from_json,
    design_to_json,
    full_design,
    parse_budget,
)
from whichlora.plan.price import passes, power_sentence
from whichlora.stats.power import rough_points
from whichlora.stats.screening import cost
from whichlora.types import SamplerProfile

EDITS = {f"{family}-{i}": family for family in ("camera", "lighting", "background", "expression") for i in range(2)}
PLENTY = Material(20, EDITS, ("camera", "lighting"), (1, 2), (1.0,) * 12)


@pytest.mark.parametrize(("text", "seconds"), [
    ("3h", 10800), ("90m", 5400), ("40 GPU-min", 2400), ("1h30m", 5400), ("2.5 GPU-hours", 9000), ("45 s", 45),
    ("1,5h", 5400), ("3 H", 10800),
])
def test_budgets_are_read_as_people_write_them(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-3h", "3", "3 days", "0h", "1h foo", "3h3", "1e9h", "nanh", "３ｈ４"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(UserError, match="is no budget"):
        parse_budget(text)


@pytest.mark.parametrize("hours", [0.3, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 20, 40, 100])
def test_a_design_keeps_its_budget_and_its_shape(hours):
    design = choose_design(PLENTY, hours * 3600, 30.0, "test")
    assert design.seconds <= hours * 3600
    steps = design.photos * len(design.edits) * len(design.seeds)
    families = {EDITS[name] for name in design.edits}
    assert families >= {"camera", "lighting"}
    if design.screened:
        assert design.rounds[-1].steps == steps
        assert design.rounds[0].steps >= min(LEAST_STEPS, steps)
        assert design.cells == steps + cost(12, design.rounds) < design.full_cells
    else:
        assert design.cells == 13 * steps
    assert design_from_json(design_to_json(design)) == design
    assert len(design.why) == 2


def test_more_time_never_shows_less():
    shown = []
    for hours in (1, 2, 4, 8, 16, 32):
        design = choose_design(PLENTY, hours * 3600, 30.0, "test")
        points = rough_points(design.photos, len(design.edits) * len(design.seeds), candidates=12)
        shown.append(100.0 if points is None else points)
    assert shown == sorted(shown, reverse=True)
    assert shown[-1] < shown[0]


def test_photographs_are_given_up_last():
    full = full_design(PLENTY, 20, 30.0, "test")
    design = choose_design(PLENTY, full.seconds / 4, 30.0, "test")
    assert design.photos == 20
    assert len(design.seeds) == 1
    assert design.screened


def test_what_fits_is_measured_in_full():
    few = Material(6, EDITS, ("camera",), (1,), (1.0, 1.0, 1.0))
    design = choose_design(few, 1e6, 30.0, "test")
    assert not design.screened
    assert (design.photos, len(design.edits), design.share) == (6, 8, 1.0)


@pytest.mark.parametrize("photos", [1, 2, 5])
def test_where_nothing_can_be_shown_all_that_the_budget_pays_for_is_asked(photos):
    few = Material(photos, EDITS, ("camera", "lighting"), (1, 2), (1.0,) * 3)
    full = full_design(few, photos, 30.0, "test")
    design = choose_design(few, full.seconds, 30.0, "test")
    assert (design.photos, len(design.edits), len(design.seeds), design.screened) == (photos, 8, 2, False)
    half = choose_design(few, full.seconds / 2, 30.0, "test")
    assert half.photos == photos
    assert len({EDITS[name] for name in half.edits}) == 4


def test_a_budget_for_nothing_says_what_would_do():
    with pytest.raises(UserError, match="the smallest comparison of these candidates takes 26") as told:
        choose_design(PLENTY, 600, 30.0, "test")
    enough = parse_budget(told.value.fix.split()[1] + told.value.fix.split()[2])
    choose_design(PLENTY, enough * 1.05, 30.0, "test")


def test_candidates_with_cheap_samplers_cost_less():
    slow = choose_design(PLENTY, 4 * 3600, 30.0, "test")
    quick = choose_design(replace(PLENTY, candidates=(0.1,) * 12), 4 * 3600, 30.0, "test")
    assert quick.cells > slow.cells


def test_the_schedule_adapts_to_who_was_admitted():
    design = choose_design(PLENTY, 4 * 3600, 30.0, "test")
    steps = design.rounds[-1].steps
    assert design.rounds_for(12, steps) == design.rounds
    fewer = design.rounds_for(9, steps)
    assert cost(9, fewer) <= cost(12, design.rounds) + 12
    assert design.rounds_for(2, steps) == ()
    assert Design(5, ("a",), (1,)).rounds_for(12, 40) == ()


def test_passes_count_guidance_steps_and_area():
    full = SamplerProfile()
    assert passes(replace(full, true_cfg_scale=1.0)) < 0.52 * passes(full)
    assert passes(replace(full, num_inference_steps=8, true_cfg_scale=1.0)) < 0.12 * passes(full)
    quarter = passes(replace(full, reference_area_px=512 * 512)) / passes(full)
    assert quarter == pytest.approx(3.6 / 16.9 * 0.78, abs=0.02)


def test_the_advice_says_when_nothing_can_be_shown():
    points, text = power_sentence(5, ["x"] * 8, 1, 3)
    assert points is None
    assert "needs 6 or more" in text
    same = power_sentence(20, ["x"] * 2, 1, 3)[0]
    assert f"20 photographs at about the same cost: {same:.0f} points or more" in text
    few = power_sentence(5, ["x"] * 2, 1, 3)[1]
    assert f"20 photographs at about four times the cost: {same:.0f} points or more" in few
    assert power_sentence(1, ["x"] * 8, 1, 3)[1].startswith("With 1 photograph no difference")
    assert power_sentence(20, ["x"] * 8, 1, 0) == (
        None, "No LoRA is compared with the base, so no gain over it can be shown: name candidates first.")
    points, text = power_sentence(20, ["x"] * 8, 1, 8)
    assert f"{points:.0f} points" in text
    assert "80 photographs" in text


def test_times_are_short():
    assert [as_time(value) for value in (12.4, 90, 600, 3 * 3600)] == ["12 s", "1.5 min", "10 min", "3.0 h"]
