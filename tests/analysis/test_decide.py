"""The truth table, over all combinations."""

from itertools import product

import numpy as np
import pytest

from whichlora.analysis.decide import Contender, decide, possible_strategies, state_of, strategy_of

MUST = ("camera", "lighting", "identity")
STATES = ("PASS", "FAIL", "OPEN")


def by_trying(kinds, states, must):
    """Every way in which OPEN may turn out, one by one."""
    cells = [(i, j) for i, row in enumerate(states) for j, s in enumerate(row) if s == "OPEN"]
    found = set()
    for answer in product((True, False), repeat=len(cells)):
        world = [[s == "PASS" for s in row] for row in states]
        for (i, j), value in zip(cells, answer, strict=True):
            world[i][j] = value
        found.add(strategy_of(kinds, world, must))
    return found


@pytest.mark.parametrize("kinds", [("base", "single"), ("base", "stack"), ("single", "stack")])
def test_possible_strategies_over_every_state_of_two_rows_and_three_must_haves(kinds):
    for flat in product(STATES, repeat=6):
        states = [flat[:3], flat[3:]]
        assert possible_strategies(kinds, states, MUST) == by_trying(kinds, states, MUST), (kinds, states)


def test_possible_strategies_of_larger_tables():
    rng = np.random.default_rng(0)
    for _ in range(400):
        kinds = ["base", *rng.choice(["single", "stack"], 2)]
        must = ("camera", "lighting", "background", "expression")[: rng.integers(1, 5)]
        states = [[str(rng.choice(STATES, p=(0.35, 0.4, 0.25))) for _ in must] for _ in kinds]
        assert possible_strategies(kinds, states, must) == by_trying(kinds, states, must), (kinds, states)


@pytest.mark.parametrize(("passes", "kinds", "expected"), [
    ([[1, 1, 1], [0, 0, 0]], ("base", "single"), "existing"),
    ([[0, 0, 0], [1, 1, 1]], ("base", "single"), "existing"),
    ([[0, 0, 0], [1, 1, 1]], ("base", "stack"), "multi"),
    ([[1, 1, 0], [0, 0, 1]], ("base", "single"), "multi"),
    ([[0, 0, 1], [0, 1, 1]], ("base", "single"), "hybrid"),
    ([[1, 1, 0], [1, 1, 0]], ("base", "single"), "custom"),
    ([[0, 0, 1], [0, 0, 1]], ("base", "single"), "custom"),
    ([[0, 0, 0], [0, 0, 0]], ("base", "stack"), "custom"),
])
def test_strategies_of_known_worlds(passes, kinds, expected):
    assert strategy_of(kinds, [[bool(v) for v in row] for row in passes], MUST) == expected


def contender(name, kind, lean, half=0.05, **more):
    lean = tuple(lean)
    return Contender(name, kind, tuple(v - half for v in lean), tuple(v + half for v in lean), lean, **more)


def test_bounds_meet_the_target_as_promised():
    assert state_of(0.7, 0.9, 0.7) == "PASS"
    assert state_of(0.6, 0.7, 0.7) == "OPEN"
    assert state_of(0.5, 0.6999, 0.7) == "FAIL"


def test_the_base_is_enough_unless_somebody_is_shown_better():
    base, lora = contender("base", "base", (0.9, 0.9)), contender("lora", "single", (0.95, 0.95))
    assert decide([base, lora], ("a", "b"), 0.7).candidate == "base"
    shown = contender("lora", "single", (0.95, 0.95), better=True)
    assert decide([base, shown], ("a", "b"), 0.7).candidate == "lora"
    fails = contender("lora", "single", (0.99, 0.3), better=True)
    assert decide([base, fails], ("a", "b"), 0.7).candidate == "base"


def test_equals_are_settled_the_same_in_any_order():
    rows = [contender(name, "single", (0.9, 0.9)) for name in ("c", "a", "b")] + [contender("base", "base", (0.3, 0.3))]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        assert decide([rows[i] for i in order], ("x", "y"), 0.7).candidate == "a"


def test_open_questions_that_matter_leave_it_undecided_with_a_leaning():
    base, lora = contender("base", "base", (0.4, 0.4)), contender("lora", "single", (0.9, 0.72))
    row = decide([base, lora], ("a", "b"), 0.7)
    assert (row.decision, row.provisional, row.candidate, row.firm) == ("undecided", "existing", "lora", False)
    assert row.possible == {"existing", "hybrid"}


def test_open_questions_that_do_not_matter_leave_it_firm():
    rows = [contender("base", "base", (0.7, 0.7)), contender("lora", "single", (0.9, 0.9))]
    row = decide(rows, ("a", "b"), 0.7)
    assert (row.decision, row.candidate, row.firm) == ("existing", "lora", True)


def test_over_budget_is_out():
    rows = [contender("base", "base", (0.2, 0.2)), contender("slow", "single", (0.9, 0.9), barred=True)]
    assert decide(rows, ("a", "b"), 0.7).decision == "custom"


def test_a_stack_that_harms_its_member_gives_way_to_routes():
    rows = [contender("a", "single", (0.99, 0.3)), contender("b", "single", (0.3, 0.99)),
            contender("a+b", "stack", (0.85, 0.85), harmed=True)]
    row = decide(rows, ("x", "y"), 0.7)
    assert row.decision == "multi"
    assert row.routes == {"x": "a", "y": "b"}
    alone = decide([contender("c", "single", (0.3, 0.3)), rows[2]], ("x", "y"), 0.7)
    assert (alone.decision, alone.candidate) == ("multi", "a+b")


def test_routes_name_the_best_for_each_and_what_is_missing():
    rows = [contender("base", "base", (0.8, 0.3, 0.3)), contender("lora", "single", (0.9, 0.95, 0.2))]
    row = decide(rows, ("x", "y", "z"), 0.7)
    assert row.decision == "hybrid"
    assert row.routes == {"x": "lora", "y": "lora"}
    assert row.missing == ("z",)


def test_nothing_measured_is_undecided():
    assert decide([], ("x",), 0.7).decision == "undecided"
    assert decide([contender("base", "base", ())], (), 0.7).decision == "undecided"
