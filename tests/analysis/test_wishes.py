"""What the user sets (thresholds, weights, limits), what carries the answer, ranks, one picture under many names."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.small_worlds import FAMILIES, PLANTED, rng, world
from whichlora.analysis import evidence, robust
from whichlora.analysis.analyse import analyse
from whichlora.analysis.decide import Contender, decide
from whichlora.analysis.evidence import Costs, budget_states
from whichlora.analysis.flip import choice, flips
from whichlora.analysis.ledger import Ledger
from whichlora.analysis.lint import lint_all
from whichlora.analysis.prose import texts
from whichlora.analysis.questions import questions
from whichlora.analysis.robust import Draws
from whichlora.analysis.settings import Settings
from whichlora.analysis.simulate import project_of, table_of
from whichlora.errors import UserError
from whichlora.types import Score


def told(planted, scores_of=lambda s: s, plan_of=lambda p: p, **wishes):
    plan, generations, scores = project_of(planted, rng())
    return analyse(plan_of(plan), generations, scores_of(scores), settings={"draws": 200, **wishes})


def facts_of(found, name):
    return next(row for row in found.candidates if row.name == name)


# ---------------------------------------------------------------- thresholds, weights, limits


def test_a_threshold_of_its_own_counts_for_its_capability_alone():
    planted = world({"base": (0.3,) * 4, "angles": (0.88, 0.97, 0.97, 0.97)}, photos=20)
    plain, strict = told(planted), told(planted, thresholds={"camera": 0.96})
    assert plain.recommendation.decision == "existing"
    assert strict.recommendation.decision in ("hybrid", "undecided")
    assert facts_of(plain, "angles").capabilities["camera"].state == "PASS"
    assert facts_of(strict, "angles").capabilities["camera"].state != "PASS"
    assert facts_of(strict, "angles").capabilities["lighting"].state == "PASS"
    assert "camera 96%" in strict.recommendation.sentence
    assert lint_all(texts(strict), strict) == ()


def test_a_threshold_is_the_same_as_a_target_when_it_stands_everywhere():
    planted = world({"base": (0.5,) * 4, "angles": (0.86, 0.9, 0.88, 0.9)}, photos=14)
    every = told(planted, thresholds=dict.fromkeys(FAMILIES, 0.85))
    plan, generations, scores = project_of(planted, rng(), target=0.85)
    target = analyse(plan, generations, scores, settings={"draws": 200})
    assert every.recommendation.decision == target.recommendation.decision
    assert every.recommendation.candidate == target.recommendation.candidate
    for row in target.candidates:
        assert {n: f.state for n, f in row.capabilities.items() if n in FAMILIES} == {
            n: f.state for n, f in facts_of(every, row.name).capabilities.items() if n in FAMILIES}


def test_weights_choose_among_those_that_pass():
    planted = world({"base": (0.2,) * 4, "one": (0.99, 0.9, 0.99, 0.9), "two": (0.9, 0.99, 0.9, 0.99)}, photos=24)
    for heavy, winner in (("camera", "one"), ("lighting", "two")):
        found = told(planted, weights=dict.fromkeys(FAMILIES, 0.0) | {heavy: 1.0})
        assert found.recommendation.decision == "existing"
        assert found.recommendation.candidate == winner
        assert lint_all(texts(found), found) == ()


def test_weighted_flips_are_exact():
    random = np.random.default_rng(1)
    said = 0
    for _ in range(40):
        shares = tuple(random.dirichlet(np.ones(3)))
        found = []
        for i in range(3):
            lean, half = random.uniform(0.5, 1.0, 3), random.uniform(0.02, 0.15, 3)
            kind = "base" if i == 0 else "single"
            found.append(Contender(f"c{i}", kind, tuple(lean - half), tuple(lean + half), tuple(lean), weights=shares))
        must = ("x", "y", "z")
        now = decide(found, must, 0.7)
        for flip in flips(found, must, 0.7, {}):
            if flip.kind != "rate":
                continue
            said += 1
            at = must.index(flip.what)
            for share, changes in ((1.0, True), (0.9, False)):
                moved = [c.shifted(at, share * flip.change) if c.name == flip.candidate else c for c in found]
                assert (choice(decide(moved, must, 0.7)) != choice(now)) is changes
    assert said > 60


@pytest.mark.parametrize(("cost", "states"), [
    (Costs(10, 5), {"time": "PASS", "memory": "PASS"}), (Costs(60, 5), {"time": "FAIL", "memory": "PASS"}),
    (Costs(None, 50), {"time": "OPEN", "memory": "FAIL"}), (None, {"time": "OPEN", "memory": "OPEN"}),
])
def test_time_and_memory_against_the_limits(cost, states):
    assert budget_states(cost, Settings(max_seconds=30, max_memory_gib=24)) == states
    assert budget_states(cost, Settings()) == {}


def test_beyond_the_limits_is_said_as_such_and_never_as_a_bad_rate():
    plan, generations, scores = project_of(world({"base": (0.3,) * 4, "angles": (0.96,) * 4}), rng())
    quick = [replace(g, seconds={"total": 2.0}) if "base" in g.cell else g for g in generations]
    found = analyse(plan, quick, scores, settings={"draws": 200, "max_seconds": 5.0})
    assert found.recommendation.decision == "custom"
    assert "every set-up within your limits is shown" in found.recommendation.sentence
    assert any("over your limit of time and therefore not" in line for line in found.recommendation.rationale)
    assert facts_of(found, "angles").capabilities["camera"].state == "PASS"
    assert facts_of(found, "angles").budget == {"time": "FAIL"}
    assert lint_all(texts(found), found) == ()


@pytest.mark.parametrize("wishes", [
    {"thresholds": {"smell": 0.5}}, {"thresholds": {"camera": 1.0}}, {"weights": {"camera": -1.0}},
    {"weights": {"camera": float("nan")}}, {"max_seconds": 0.0}, {"max_memory_gib": float("inf")}, {"colour": 1},
])
def test_impossible_wishes_are_refused(wishes):
    with pytest.raises(UserError):
        told(PLANTED["existing"][0], **wishes)


def test_the_five_questions_say_what_was_set():
    plan, *_ = project_of(PLANTED["existing"][0], rng())
    rows = questions(plan, Ledger(), Settings(thresholds={"identity": 0.9}, weights={"camera": 2.5}, max_seconds=45))
    assert len(rows) == 5
    assert all(row["question"] and row["default"] and row["reason"] and row["flag"] for row in rows)
    assert "identity 90%" in rows[0]["default"]
    assert "at most 45.0 s a picture" in rows[0]["default"]
    assert "camera 2.5" in rows[4]["default"]


# ---------------------------------------------------------------- what carries the answer


def test_a_rater_who_carries_the_answer_is_named():
    """Identity of 'angles' is known from one person alone; 'style' does well by all metrics but one."""
    planted = world({"base": (0.3,) * 4, "angles": (0.97,) * 4, "style": (0.97,) * 4}, photos=20)
    plan, generations, scores = project_of(planted, rng())
    owner = {cell.id: cell.candidate for cell in plan.cells}
    given = []
    for score in scores:
        if owner[score.cell] == "angles" and score.gate == "identity":
            given.append(Score(score.cell, "identity/figure", 1, None, "no figure", gate="identity"))
            given.append(Score(score.cell, "votes/identity", 1, 1.0, passed=score.passed, gate="identity", rater="ann"))
        else:
            given.append(score)
    given += [
        Score(cell.id, "following/second", 1, 0.0, passed=cell.candidate != "style", gate="edit") for cell in plan.cells
    ]
    found = analyse(plan, generations, given, settings={"draws": 200})
    assert found.recommendation.candidate == "angles"
    carried = {(f["kind"], f["what"]) for f in found.manifest["analysis"]["flips"]}
    assert ("rater", "ann") in carried
    assert any("without ann it becomes" in line for line in found.recommendation.flip)
    assert lint_all(texts(found), found) == ()


def test_a_metric_that_alone_keeps_a_rival_down_is_named():
    planted = world({"base": (0.3,) * 4, "angles": (0.3,) * 4, "style": (0.97,) * 4}, photos=20)
    plan, generations, scores = project_of(planted, rng())
    scores = scores + [
        Score(cell.id, "following/second", 1, 0.0, passed=cell.candidate != "style", gate="edit") for cell in plan.cells
    ]
    found = analyse(plan, generations, scores, settings={"draws": 200})
    assert found.recommendation.decision == "custom"
    named = {f["what"]: f for f in found.manifest["analysis"]["flips"] if f["kind"] == "metric"}
    assert (named["following/second"]["strategy"], named["following/second"]["choice"]) == ("existing", "style")
    assert any("following/second" in line for line in found.recommendation.flip)


def test_an_instruction_that_alone_fails_is_named():
    planted = world({"base": (0.3,) * 4, "angles": (0.97,) * 4}, photos=20)
    plan, generations, scores = project_of(planted, rng())
    broken = {case.id for case in plan.cases if case.edit == "camera-1"}
    hit = {cell.id for cell in plan.cells if cell.case in broken}
    scores = [replace(s, passed=False) if s.cell in hit and s.gate == "edit" else s for s in scores]
    found = analyse(plan, generations, scores, settings={"draws": 200})
    assert found.recommendation.candidate == "angles"
    assert found.recommendation.decision in ("hybrid", "undecided")
    assert ("edit", "camera-1") in {(f["kind"], f["what"]) for f in found.manifest["analysis"]["flips"]}
    assert lint_all(texts(found), found) == ()


# ---------------------------------------------------------------- one picture under many names


def test_one_picture_listed_twelve_times_is_one_photograph():
    planted = world({"base": (0.001,) * 4, "angles": (0.999,) * 4, "style": (0.001,) * 4}, photos=12)

    def alike(plan):
        return replace(plan, sources=tuple(replace(source, sha256="one") for source in plan.sources))

    found = told(planted, plan_of=alike)
    assert found.photos == 1
    assert not found.recommendation.firm
    assert found.recommendation.provisional == "existing"
    assert found.recommendation.candidate == "angles"
    assert sum("are the same picture" in line for line in found.limits) == 11
    assert told(planted).photos == 12
    assert lint_all(texts(found), found) == ()


def test_a_doubled_photograph_adds_no_evidence():
    planted = world({"base": (0.5,) * 4, "angles": (0.85,) * 4}, photos=6)
    plan, generations, scores = project_of(planted, rng())
    once = analyse(plan, generations, scores, settings={"draws": 200})
    twins = tuple(replace(source, id=f"{source.id}-copy") for source in plan.sources)
    copies = tuple(replace(case, id=f"{case.id}-copy", source=f"{case.source}-copy") for case in plan.cases)
    cells = tuple(replace(cell, case=f"{cell.case}-copy") for cell in plan.cells)
    doubled = replace(plan, sources=plan.sources + twins, cases=plan.cases + copies, cells=plan.cells + cells)
    twice = analyse(doubled, generations, scores, settings={"draws": 200})
    assert twice.photos == once.photos == 6
    assert [row.ccr for row in twice.candidates] == [row.ccr for row in once.candidates]
    assert twice.recommendation.decision == once.recommendation.decision


# ---------------------------------------------------------------- ranks and the worth of knowing


def test_ranks_by_hand():
    rates = np.tile(np.array([[[0.9], [0.5], [0.5]]]), (100, 1, 1))
    rates[:10, 0, 0] = 0.1  # first in nine draws of ten, last in the rest
    found = robust.rank_ranges(Draws(("a", "b", "c"), ("x",), rates))
    assert found == {"a": (1, 3), "b": (1, 2), "c": (1, 2)}
    assert robust.rank_ranges(Draws((), (), np.empty((10, 0, 0)))) == {}


def test_the_worth_per_hour_is_the_worth_over_the_hours_of_a_photograph():
    table = table_of(world({"base": (0.5,) * 4, "angles": (0.6,) * 4}, photos=8, seeds=1), rng())
    draws = robust.joint_draws(table, FAMILIES, 500, 1)
    worth = robust.information_value(draws)
    per_hour = robust.information_per_hour(draws, table, {"base": 30.0, "angles": 90.0})
    # Two edits of a family on one photograph, both rows: 2 · 30 + 2 · 90 seconds.
    assert per_hour == {name: pytest.approx(worth[name] / (240 / 3600)) for name in FAMILIES}
    assert robust.information_per_hour(draws, table, {"base": None, "angles": 90.0}) == {}


def test_gaps_that_only_training_could_close():
    found = told(PLANTED["hybrid"][0])
    assert found.recommendation.training_only == ("expression",)
    custom = next(o for o in found.recommendation.options if o.decision == "custom")
    assert any("pay off at expression if it reached 70%" in line for line in custom.pros)
    assert told(PLANTED["several"][0]).recommendation.training_only == ()


def test_easing_moves_bounds_and_guesses_together():
    one = Contender("a", "single", (0.5, 0.6), (0.8, 0.9), (0.7, 0.75))
    by = evidence.easings(("x", "y"), Settings(thresholds={"y": 0.9}), 0.7)
    moved = evidence.eased([one], by)[0]
    assert moved.low == pytest.approx((0.5, 0.4))
    assert moved.high == pytest.approx((0.8, 0.7))
    assert moved.states(0.7) == ("OPEN", "OPEN")


def test_what_is_over_a_limit_is_named_and_never_measures_the_others():
    """The row that does everything is too slow: it leads nothing, and a reader learns why, and that a limit decides."""
    rows = {"base": (0.2,) * 4, "slow": (0.98,) * 4, "weak": (0.3,) * 4}
    plan, generations, scores = project_of(world(rows, photos=20), rng())
    owner = {cell.id: cell.candidate for cell in plan.cells}
    generations = [replace(g, seconds={"total": 90.0}) if owner[g.cell] == "slow" else g for g in generations]
    found = analyse(plan, generations, scores, settings={"draws": 200, "max_seconds": 60.0})
    advice = found.recommendation
    assert advice.decision == "custom"
    assert any("slow is shown to pass" in line and "over your limit of time" in line for line in advice.rationale)
    assert not any("no set-up tried" in line for line in advice.rationale)
    assert "slow is over them" in advice.roadmap[0]
    assert not any("slow has the highest" in line or "slow stands at" in line for line in advice.rationale)
    assert found.manifest["analysis"]["second_opinion"] != "slow"
    custom = next(option for option in advice.options if option.decision == "custom")
    assert not any("slow at" in line for line in custom.pros)
    assert lint_all(texts(found), found) == ()


def test_a_second_opinion_weighs_must_haves_as_the_user_does():
    rows = {"base": (0.2,) * 4, "one": (0.99, 0.8, 0.8, 0.8), "two": (0.75, 0.99, 0.99, 0.99)}
    for heavy, first in (("camera", "one"), ("lighting", "two")):
        found = told(world(rows, photos=30), weights=dict.fromkeys(FAMILIES, 0.01) | {heavy: 1.0})
        assert found.manifest["analysis"]["second_opinion"] == first


@pytest.mark.parametrize(("wish", "said"), [
    ({"thresholds": {"camera": float("nan")}}, "threshold nan"), ({"weights": {"camera": float("nan")}}, "weight nan"),
    ({"weights": dict.fromkeys(FAMILIES, 0.0)}, "has weight 0"),
])
def test_impossible_wishes_are_refused_before_anything_is_computed(wish, said):
    with pytest.raises(UserError, match=said):
        told(world({"base": (0.3,) * 4}, photos=6), **wish)


def test_a_weight_without_effect_is_said():
    found = told(world({"base": (0.3,) * 4, "a": (0.9,) * 4}, photos=8), weights={"identity": 3.0})
    assert any("identity has no effect" in line for line in found.limits)


def test_a_must_have_named_twice_is_one():
    planted = world({"base": (0.3,) * 4, "a": (0.9, 0.3, 0.3, 0.3)}, photos=20)
    twice = told(planted, plan_of=lambda p: replace(p, must_have=("camera", "camera", "lighting", "background")))
    once = told(planted, plan_of=lambda p: replace(p, must_have=("camera", "lighting", "background")))
    assert twice.must_have == once.must_have == ("camera", "lighting", "background")
    assert twice.recommendation.sentence == once.recommendation.sentence


def test_the_base_is_not_called_a_lora_and_the_options_name_what_the_verdict_does():
    rows = {"base": (0.93,) * 4, "copy": (0.94,) * 4}
    found = told(world(rows, photos=20, icc=0.0))
    advice = found.recommendation
    assert (advice.decision, advice.candidate) == ("existing", "base")
    assert advice.options[0].title == "Base model alone"
    assert advice.options[0].candidate == "base"
    assert not any("LoRA (base)" in line for line in (*advice.flip, *advice.rationale))


def test_few_photographs_lean_to_whom_they_speak_for():
    """Two photographs, one LoRA of eight passes everything measured: the leaning is that LoRA and not a training."""
    rows = {"base": (0.02,) * 4, "does-it": (0.999,) * 4, **{f"lora-{i}": (0.02,) * 4 for i in range(7)}}
    found = told(world(rows, photos=2, edits=1, seeds=1, icc=0.0))
    advice = found.recommendation
    assert (advice.decision, advice.provisional, advice.candidate) == ("undecided", "existing", "does-it")
