"""What a chain loses at each step, from links whose fate is planted."""

import pytest

from whichlora.analysis.chaining import Link, conclude, pairs


def links(first, survived, direct, second, photos=10):
    """One link a photograph; each argument is how many of them succeed."""
    return [Link(f"p{i}", first=i < first, survived=i < survived, direct=i < direct, second=i < second)
            for i in range(photos)]


def test_losses_are_the_differences_of_the_rates():
    found = conclude(links(9, 6, 8, 7))
    assert found.first.value == pytest.approx(0.9)
    assert found.survived.value == pytest.approx(0.6)
    assert found.loss_of_first.value == pytest.approx(found.survived.value - found.first.value)
    assert found.loss_of_second.value == pytest.approx(-0.1)
    assert found.whole.value == pytest.approx(0.6)


def test_before_and_after_are_of_the_same_pictures():
    """A picture that nobody could judge before counts on neither side, and its failure afterwards is no loss."""
    mixed = [*links(5, 5, 5, 5, photos=5), Link("p5", first=None, survived=False, second=True, direct=True)]
    found = conclude(mixed)
    assert found.loss_of_first.value == found.survived.value - found.first.value == 0
    assert found.whole.value == pytest.approx(5 / 6)


def test_a_failed_half_fails_the_whole_and_silence_is_no_success():
    assert Link("p", first=True, survived=False, second=None, direct=True).whole is False
    assert Link("p", first=True, survived=True, second=None, direct=True).whole is None
    assert conclude([Link("p", None, None, None, None)]) is None
    assert conclude([]) is None


def test_every_edit_is_chained_and_not_all_combinations():
    first = {f"p{i}": ["left", "right", "up"] for i in range(4)}
    second = {f"p{i}": ["sunset", "moon"] for i in range(4)}
    found = pairs(first, second)
    assert len(found) == 12
    assert len(set(found)) == 12
    assert {one for _, one, _ in found} == {"left", "right", "up"}
    assert {(one, other) for _, one, other in found} == {(a, b) for a in first["p0"] for b in second["p0"]}
    assert pairs(first, {}) == []


@pytest.mark.parametrize(("value", "unit", "text"), [
    (-0.003, "percent", "0%"), (-0.003, "points", "+0 points"), (0.126, "percent", "13%"), (-0.12, "points",
                                                                                              "-12 points"),
    (0.65, "weight", "0.65"), (1.0, "weight", "1"),
])
def test_figures_are_printed_without_a_negative_zero(value, unit, text):
    from whichlora.analysis.ledger import as_text

    assert as_text(value, unit) == text
