"""Weights and luck: SMAA, Pareto, TOPSIS, value of information."""

import numpy as np
import pytest

from analysis.small_worlds import FAMILIES, PLANTED, rng, world
from whichlora.analysis import evidence, robust
from whichlora.analysis.robust import Draws
from whichlora.analysis.settings import Settings
from whichlora.analysis.simulate import table_of


def constant(rows):
    return Draws(tuple("abc"[: len(rows)]), ("x", "y"), np.tile(np.array(rows, float), (4_000, 1, 1)))


def test_acceptability_is_the_share_of_weights():
    """a wins while w·0.9 + (1−w)·0.1 > 0.5, that is for half of all weights; analytically."""
    found = robust.acceptability(constant([[0.9, 0.1], [0.5, 0.5]]), 0)
    assert found["a"]["first"] == pytest.approx(0.5, abs=0.03)
    assert found["a"]["weights"]["x"] == pytest.approx(0.75, abs=0.02)
    assert found["a"]["confidence"] == 1.0
    assert sum(entry["first"] for entry in found.values()) == pytest.approx(1)


def test_pareto_by_hand():
    found = robust.pareto(constant([[0.9, 0.1], [0.5, 0.5], [0.4, 0.4]]))
    assert found == {"a": 1.0, "b": 1.0, "c": 0.0}
    assert robust.pareto(constant([[0.5, 0.5], [0.5, 0.5]])) == {"a": 1.0, "b": 1.0}


def test_topsis_by_hand():
    # Columns (3, 4) and (4, 3) have norm 5: scaled by half each the rows lie on the ideal in one column each.
    assert robust.topsis(np.array([[3.0, 4.0], [4.0, 3.0]])) == pytest.approx([0.5, 0.5])
    assert robust.topsis(np.array([[1.0, 1.0], [0.5, 0.5], [0.0, 0.0]])) == pytest.approx([1.0, 0.5, 0.0])
    assert robust.topsis(np.ones((3, 2))) == pytest.approx([0.5] * 3)


def test_information_is_worth_nothing_when_nothing_is_open():
    assert robust.information_value(constant([[0.9, 0.9], [0.1, 0.1]])) == {"x": 0.0, "y": 0.0}


def test_information_about_the_open_capability_is_worth_most():
    r = rng()
    rates = np.tile([[0.6, 0.6], [0.6, 0.6]], (4_000, 1, 1)).astype(float)
    rates[:, 1, 0] += r.normal(0, 0.2, 4_000)
    found = robust.information_value(Draws(("a", "b"), ("x", "y"), rates))
    # Half a standard normal's positive part, over two capabilities: 0.2 · 0.399 / 2.
    assert found["x"] == pytest.approx(0.2 * 0.3989 / 2, abs=0.004)
    assert found["y"] == pytest.approx(0, abs=0.004)


def test_no_rows_are_no_trouble():
    empty = Draws((), (), np.empty((10, 0, 0)))
    assert robust.acceptability(empty, 0) == {}
    assert robust.pareto(empty) == {}
    assert robust.information_value(empty) == {}
    assert robust.best_probabilities(empty) == {}


def test_a_harmful_stack_is_flagged():
    planted = world({"base": (0.3,) * 4, "a": (0.97, 0.3, 0.3, 0.3), "b": (0.3, 0.97, 0.3, 0.3),
                     "a+b": (0.5, 0.5, 0.5, 0.5)}, photos=20)
    found = {c.name: c for c in evidence.contenders(table_of(planted, rng()), FAMILIES, Settings(), {})}
    assert found["a+b"].harmed
    assert not found["a"].harmed
    kind = {c.name: c.kind for c in found.values()}
    assert kind == {"base": "base", "a": "single", "b": "single", "a+b": "stack"}


def test_planted_worlds_are_what_they_say():
    assert {decision for _, decision, _ in PLANTED.values()} == {
        "existing", "multi", "hybrid", "custom", "undecided"}
