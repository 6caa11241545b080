"""A matrix that was screened: who left is never failed, never recommended, and never makes the others look better."""

from dataclasses import replace

import numpy as np
import pytest

from whichlora.analysis import evidence
from whichlora.analysis.analyse import analyse
from whichlora.analysis.lint import lint
from whichlora.analysis.prose import texts
from whichlora.analysis.settings import Settings
from whichlora.analysis.simulate import World, project_of, table_of
from whichlora.plan.screening import Screening, cells_of, screening_from_json, screening_to_json, shared_steps
from whichlora.run.rounds import run_rounds
from whichlora.stats.multiple import max_t
from whichlora.stats.screening import schedule

FAMILIES = ("camera", "lighting")
QUICK = Settings(draws=400)


def screened(rates, photos=12, seed=1, share=0.5, edits=2):
    """Rows of a project that was really screened with its own stored scores."""
    rng = np.random.default_rng(seed)
    world = World({name: dict.fromkeys(FAMILIES, rate) for name, rate in rates.items()}, photos, edits, 1, 0.1)
    plan, generations, scores = project_of(world, rng, target=0.6)
    # Same cases for every row, as in a real plan.
    good = {}
    for score in scores:
        good[score.cell] = good.get(score.cell, True) and score.passed is not False
    names = [name for name in rates if name != "base"]
    made = set()
    rounds = schedule(len(names), photos * edits * len(FAMILIES), share)
    state = run_rounds(plan, rounds, made.update, lambda cells: {cell: good[cell] for cell in cells if cell in made})
    return (plan, [g for g in generations if g.cell in made], [s for s in scores if s.cell in made], state, made)


RATES = {"base": 0.3, "best": 0.95, "second": 0.7, **{f"poor-{i}": 0.1 for i in range(4)}}


def test_the_best_is_recommended_and_the_dropped_are_marked():
    plan, generations, scores, state, made = screened(RATES)
    assert set(state.out) == {f"poor-{i}" for i in range(4)}
    assert state.finalists[0] == "best"
    assert state.cells == sum(cell.id in made for cell in cells_of(plan, state.out)) + 2 * 48
    assert state.saved == 6 * 48 - state.cells > 0
    found = analyse(plan, generations, scores, settings=replace(QUICK, screening=state))
    rows = {row.name: row for row in found.candidates}
    assert [row.name for row in found.candidates[:3]] == ["base", "best", "second"]
    for name, pictures in state.out.items():
        row = rows[name]
        assert row.screened_out == pictures == row.cells["done"]
        assert row.cells["failed"] == 0
        assert "screened out" in row.ccr.note
        assert row.p_best is None
        assert not any(fact.state == "PASS" or fact.better_than_base or fact.worse_than_base
                       for fact in row.capabilities.values())
    assert rows["best"].screened_out is None
    # Figures of those who stay leave out what they were picked on; base is compared on the same cells.
    fresh = 48 - len(state.chosen_on)
    assert rows["best"].ccr.cells == rows["base"].ccr.cells <= fresh + 1
    assert rows["best"].cells["done"] == 48
    assert found.recommendation.candidate == "best"
    assert any("screened out on the way" in line for line in found.recommendation.rationale)
    assert [problem for text in texts(found) for problem in lint(text, found)] == []
    assert screening_from_json(screening_to_json(state)) == state


def test_the_same_rows_without_the_record_are_an_unfinished_run():
    plan, generations, scores, _, _ = screened(RATES)
    found = analyse(plan, generations, scores, settings=QUICK)
    assert all(row.screened_out is None for row in found.candidates)
    assert screening_from_json(None) == Screening()


def test_what_was_dropped_early_may_still_change_the_answer():
    """No set-up that was left does it; of those dropped nobody knows: then 'train your own' is not shown."""
    rates = {"base": 0.1, "a": 0.2, "b": 0.2, "c": 0.15, "d": 0.15, "e": 0.15, "f": 0.15}
    plan, generations, scores, state, _ = screened(rates, photos=16, share=0.45)
    found = analyse(plan, generations, scores, settings=replace(QUICK, screening=state))
    left = [row for row in found.candidates if row.role == "candidate" and row.screened_out is None]
    assert all(fact.state == "FAIL" for row in left for name, fact in row.capabilities.items() if name in FAMILIES)
    dropped = [row for row in found.candidates if row.screened_out is not None]
    assert any(fact.state == "OPEN" for row in dropped for fact in row.capabilities.values())
    assert not found.recommendation.firm
    assert "--full" in found.recommendation.next_step
    assert found.recommendation.candidate not in state.out


def test_comparisons_with_base_count_those_who_left():
    rng = np.random.default_rng(2)
    d = rng.normal(0.35, 1.0, (20, 2))
    alone, among = max_t(d), max_t(d, absent=18)
    assert (among >= alone).all()
    assert among[0] > alone[0]
    # As good as Bonferroni or better: independent normals are no harder to beat.
    strong = rng.normal(1.4, 1.0, (20, 1))
    assert max_t(strong, absent=19)[0] <= 20 * max_t(strong)[0] + 0.003


def test_the_report_corrects_for_all_who_began():
    rng = np.random.default_rng(4)
    gone = [f"gone-{i}" for i in range(10)]
    rates = {"base": 0.5, "good": 0.72, **dict.fromkeys(gone, 0.4)}
    table = table_of(World({name: dict.fromkeys(FAMILIES, rate) for name, rate in rates.items()}, 12, 2, 1, 0.1), rng)
    dropped = replace(table, screening=Screening(out=dict.fromkeys(gone, 12), planned=4))
    alone = evidence.compared(table, [0, 1], ("overall",), FAMILIES)[1, "overall"]
    among = evidence.compared(dropped, [0, 1], ("overall",), FAMILIES)[1, "overall"]
    assert 0 < 3 * alone < among <= 1


@pytest.mark.parametrize("capability", FAMILIES)
def test_a_bound_of_the_dropped_is_wider_than_the_plain_one(capability):
    rng = np.random.default_rng(3)
    world = World({"base": dict.fromkeys(FAMILIES, 0.5), "x": dict.fromkeys(FAMILIES, 0.4)}, 12, 2, 1, 0.1)
    table = replace(table_of(world, rng), screening=Screening(out={"x": 12}, planned=5))
    plain = evidence.capability_rate(table, 1, capability)
    assert evidence.cautious_ceiling(table, 1, capability) > plain.ceiling
    assert evidence.in_play(table) == [0]


def test_steps_are_what_every_candidate_is_asked():
    world = World({"base": {"x": 0.5}, "a": {"x": 0.5}, "b": {"x": 0.5}}, 3, 2, 2)
    plan, _, _ = project_of(world, np.random.default_rng(0))
    steps = shared_steps(plan)
    assert len(steps) == 3 * 2 * 2
    photos = [next(case.source for case in plan.cases if case.id == name) for name, _ in steps]
    assert len(set(photos[:3])) == 3
    # The second seed comes when every instruction had its first.
    assert {seed for _, seed in steps[:6]} == {0}
    less = replace(plan, cells=tuple(c for c in plan.cells if not (c.candidate == "b" and c.case == steps[0][0])))
    assert steps[0][0] not in {case for case, _ in shared_steps(less)}
