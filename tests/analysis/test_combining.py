"""Stacks are proposed where parts complement each other, and judged against their parts."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.small_worlds import FAMILIES
from whichlora.analysis.combining import calmed, compare, leaders, propose, wording
from whichlora.analysis.ledger import Ledger
from whichlora.analysis.simulate import World, table_of
from whichlora.analysis.told import unproposed
from whichlora.types import Candidate

BASE = (0.3, 0.3, 0.3, 0.3)
ANGLES, RELIGHT = (0.95, 0.3, 0.3, 0.3), (0.3, 0.95, 0.3, 0.3)


def table(rows, photos=12, seed=0):
    world = World({name: dict(zip(FAMILIES, rates, strict=True)) for name, rates in rows.items()}, photos, 2, 2, 0.05)
    return table_of(world, np.random.default_rng(seed))


def names(found):
    return [set(proposal.parts) for proposal in found]


# ------------------------------------------------------------------ proposing


def test_complementary_winners_are_proposed_with_what_they_would_bring():
    found = propose(table({"base": BASE, "angles": ANGLES, "relight": RELIGHT}), FAMILIES)
    assert names(found) == [{"angles", "relight"}]
    assert found[0].owners == {"camera": "angles", "lighting": "relight"}
    assert found[0].gain == pytest.approx(0.65 / 4, abs=0.06)


@pytest.mark.parametrize("rows", [
    {"angles": ANGLES, "worse angles": (0.6, 0.3, 0.3, 0.3)},
    {"all": (0.95,) * 4, "angles": ANGLES},
    {"angles": ANGLES, "idle": BASE},
    {"harm a": (0.1,) * 4, "harm b": (0.1, 0.2, 0.1, 0.1)},
    {"angles": ANGLES},
])
def test_nothing_is_proposed_where_nothing_complements(rows):
    assert propose(table({"base": BASE, **rows}), FAMILIES) == []


def test_who_is_ahead_of_the_base_is_told_where_nothing_is_proposed():
    found = leaders(table({"base": BASE, "angles": ANGLES, "worse angles": (0.6, 0.3, 0.3, 0.3)}), FAMILIES)
    assert found == {FAMILIES[0]: "angles", **dict.fromkeys(FAMILIES[1:], "")}
    ledger = Ledger()
    text = unproposed({"camera": "angles", "lighting": "", "background": ""}, ["expression"], ledger)
    assert "angles at camera and no LoRA at lighting and background" in text
    assert "expression is none" in text
    assert [entry["text"] for entry in ledger.sentences] == [text]


def test_never_the_power_set():
    """Twelve LoRAs have 66 pairs and 220 triples; few are proposed, the most promising first."""
    rng = np.random.default_rng(1)
    rows = {f"lora-{i:02d}": tuple(rng.uniform(0.2, 0.95, 4)) for i in range(12)}
    found = propose(table({"base": BASE, **rows}), FAMILIES, limit=3)
    assert len(found) <= 3
    assert [p.gain for p in found] == sorted((p.gain for p in found), reverse=True)
    assert all(2 <= len(p.parts) <= 3 for p in found)


def test_a_triple_only_where_the_third_adds_to_every_pair():
    three = {"angles": ANGLES, "relight": RELIGHT, "scene": (0.3, 0.3, 0.95, 0.3)}
    assert {"angles", "relight", "scene"} in names(propose(table({"base": BASE, **three}), FAMILIES, limit=4))
    two = {**three, "scene": (0.3, 0.3, 0.34, 0.3)}
    assert all(len(parts) == 2 for parts in names(propose(table({"base": BASE, **two}), FAMILIES, limit=4)))
    # Truly ahead, and shown so by many photographs, but adding hardly anything over four must-haves.
    little = table({"base": BASE, **three, "scene": (0.3, 0.3, 0.36, 0.3)}, photos=600)
    assert all(len(parts) == 2 for parts in names(propose(little, FAMILIES, limit=4)))


def test_luck_among_equals_proposes_next_to_nothing():
    proposed = sum(bool(propose(table({"base": (0.6,) * 4, **{f"l{i}": (0.6,) * 4 for i in range(6)}}, 8, seed),
                                FAMILIES)) for seed in range(30))
    assert proposed <= 3


def test_rows_of_different_samplers_are_not_stacked():
    measured = table({"base": BASE, "angles": ANGLES, "relight": RELIGHT})
    fast = replace(measured.candidates[2].sampler, num_inference_steps=4, scheduler={"base_shift": 1.1})
    rows = tuple(replace(row, sampler=fast) if row.name == "relight" else row for row in measured.candidates)
    assert propose(replace(measured, candidates=rows), FAMILIES) == []


# ------------------------------------------------------------------ judging


def stacked(rates, seed=0, photos=16):
    return table({"base": BASE, "angles": ANGLES, "relight": RELIGHT, "angles+relight": rates}, photos, seed)


def test_a_stack_that_holds_both_is_better_than_both():
    found = compare(stacked((0.95, 0.95, 0.3, 0.3)), "angles+relight", FAMILIES)
    assert found.verdict == "better"
    assert found.complementary
    assert found.gained["angles"] == ("lighting",)
    assert found.gained["relight"] == ("camera",)
    assert found.lost == ()
    camera = next(i for i in found.capabilities if i.capability == "camera")
    assert camera.owner == "angles"
    assert abs(camera.against_owner.value) < 0.1


@pytest.mark.parametrize("rates", [(0.35, 0.95, 0.3, 0.3), (0.95, 0.3, 0.3, 0.3), (0.2, 0.2, 0.2, 0.2)])
def test_an_interfering_stack_is_rejected(rates):
    found = compare(stacked(rates), "angles+relight", FAMILIES)
    assert found.verdict == "worse"
    assert found.lost


def test_a_stack_that_loses_a_little_is_open_with_few_photographs():
    found = compare(stacked((0.85, 0.88, 0.3, 0.3), photos=4, seed=2), "angles+relight", FAMILIES, among=3)
    assert found.verdict == "open"


def test_false_verdicts_are_rare():
    """A stack exactly as good as its better part everywhere is seldom called better or worse."""
    same = (0.8, 0.8, 0.5, 0.5)
    wrong = 0
    for seed in range(40):
        measured = table({"base": same, "angles": same, "relight": same, "angles+relight": same}, 10, seed)
        wrong += compare(measured, "angles+relight", FAMILIES, among=2).verdict != "open"
    assert wrong <= 4


def test_parts_are_found_by_content_and_must_be_measured():
    measured = stacked((0.9, 0.9, 0.3, 0.3))
    rows = tuple(replace(row, name="renamed") if row.name == "angles" else row for row in measured.candidates)
    assert compare(replace(measured, candidates=rows), "angles+relight", FAMILIES).parts == ("renamed", "relight")
    lonely = table({"base": BASE, "angles": ANGLES, "angles+relight": ANGLES})
    with pytest.raises(ValueError, match="fewer than two parts"):
        compare(lonely, "angles+relight", FAMILIES)


# ------------------------------------------------------------------ other weights


def test_who_disturbs_steps_back_and_not_below_a_limit():
    found = compare(stacked((0.35, 0.95, 0.3, 0.3)), "angles+relight", FAMILIES)
    full = {"angles": 1.0, "relight": 1.0}
    assert calmed(found, full, full) == {"angles": 1.0, "relight": 0.8}
    low = {"angles": 1.0, "relight": 0.45}
    assert calmed(found, low, full) is None
    both = compare(stacked((0.3, 0.3, 0.3, 0.3)), "angles+relight", FAMILIES)
    assert calmed(both, full, full) == {"angles": 0.8, "relight": 0.8}
    fine = compare(stacked((0.95, 0.95, 0.3, 0.3)), "angles+relight", FAMILIES)
    assert not fine.disturbed
    assert calmed(fine, full, full) is None


def test_each_edit_is_asked_in_its_owners_words():
    angles = Candidate("angles", prompts={"left": "将镜头向左旋转45度"})
    relight = Candidate("relight", trigger="sks")
    asked = {"left": ("camera", "turn left"), "right": ("camera", "turn right"), "sunset": ("lighting", "sunset"),
             "beach": ("background", "a beach")}
    owners = {"camera": "angles", "lighting": "relight"}
    assert wording([angles, relight], owners, asked) == {"left": "将镜头向左旋转45度", "sunset": "sks sunset"}


def test_sentences_are_bound_and_no_stronger_than_the_verdict():
    from whichlora.analysis import told
    from whichlora.analysis.ledger import Ledger
    from whichlora.analysis.lint import lint
    from whichlora.findings import Findings, Recommendation

    ledger = Ledger()
    measured = stacked((0.35, 0.95, 0.3, 0.3))
    lines = [told.proposal(proposal, ledger) for proposal in propose(measured, FAMILIES)]
    lines += told.stack(compare(measured, "angles+relight", FAMILIES), ledger)
    lines.append(told.overlap(("angles", "relight"), {"shared": 720, "cosine": -0.02, "conflict": 0.51}, ledger))
    lines.append(told.overlap(("angles", "scene"), {"shared": 0, "cosine": None, "conflict": None}, ledger))
    findings = Findings("t", "base", 0.7, (), 16, (), (), Recommendation("undecided", None, "", False, ""), {}, (), (),
                        {"analysis": told.bound(ledger)})
    assert [problem for line in lines for problem in lint(line, findings)] == []
    assert any("rejected" in line for line in lines)
    assert lint(lines[0].replace("%", "9%"), findings)


def test_one_unlucky_photograph_is_no_reason_for_other_weights():
    """One of eight photographs failing is what luck does; half of them failing is not."""
    measured = stacked((0.95, 0.95, 0.3, 0.3), photos=8)
    camera, stack = measured.families.index("camera"), measured.index("angles+relight")
    for failing, disturbed in ((1, False), (4, True)):
        passed = measured.passed.copy()
        passed[:, camera, :] = 0
        passed[measured.index("angles"), camera] = passed[stack, camera] = measured.scored[stack, camera]
        passed[stack, camera, :failing] = 0
        found = compare(replace(measured, passed=passed), "angles+relight", FAMILIES)
        assert ("camera" in found.disturbed) == disturbed
