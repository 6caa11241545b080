"""How figures become words: nothing false, nothing missing that reads as zero."""

import ast
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whichlora
from whichlora.findings import Estimate
from whichlora.report import words


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (0.0, "0%"),
        (1.0, "100%"),
        (0.704, "70%"),
        (0.705, "71%"),
        (0.004, "under 1%"),
        (0.9951, "over 99%"),
        (None, "not measured"),
        (float("nan"), "not measured"),
    ],
)
def test_percent(rate, said):
    assert words.percent(rate) == said


@given(st.floats(0, 1))
def test_percent_never_claims_none_or_all_wrongly(rate):
    said = words.percent(rate)
    assert (said == "0%") == (rate == 0)
    assert (said == "100%") == (rate == 1)


@given(st.floats(-1e300, 1e300) | st.sampled_from([float("nan"), float("inf"), -float("inf")]))
def test_figures_are_near_their_value(value):
    said = words.figure(value)
    if not math.isfinite(value):
        assert said == "not measured"
    else:
        assert float(said.replace("−", "-")) == pytest.approx(value, rel=0.006)


def test_a_missing_figure_is_never_a_zero():
    for say in (words.percent, words.figure, words.seconds, words.gib):
        assert say(None) == "not measured"
    assert words.estimate(Estimate(None, 0.0, 0.0)) == "not measured"
    assert words.points(Estimate(None)) == words.points(None) == words.interval(None, 0.5) == "not measured"


def test_points_have_signs():
    assert words.points(Estimate(0.12, -0.03, 0.2)) == "+12 points [−3, +20]"
    assert words.points(Estimate(-0.004)) == "0 points"


@pytest.mark.parametrize(
    ("value", "said"), [(0.94, "0.9 s"), (42, "42 s"), (119, "2 min"), (5400, "90 min"), (7200, "2.0 h")]
)
def test_seconds(value, said):
    assert words.seconds(value) == said


def test_gib():
    assert words.gib(0.25) == "0.25 GiB"
    assert words.gib(23.96) == "24.0 GiB"


@given(st.text())
def test_clean_text_can_be_written_and_holds_no_controls(text):
    cleaned = words.clean(text)
    cleaned.encode("utf-8")
    assert not any(ord(char) < 32 and char not in "\n\t" for char in cleaned)
    assert len(cleaned) == len(text)


def test_clean_removes_what_deceives():
    assert words.clean("a\x1b[31m\ud800\u202eb") == "a\ufffd[31m\ufffd\ufffdb"


@pytest.mark.parametrize(
    ("licence", "flag"),
    [
        ("apache-2.0", "ok"),
        ("MIT", "ok"),
        ("", "check"),
        ("unknown", "check"),
        ("other", "check"),
        ("openrail++", "check"),
        ("cc-by-nc-4.0", "restricted"),
        ("flux-1-dev-non-commercial-license", "restricted"),
        ("gpl-3.0", "check"),
        ("mit-but-not-really", "check"),
    ],
)
def test_only_known_licences_pass(licence, flag):
    assert words.licence_flag(licence)[0] == flag


def test_shorten_keeps_its_length():
    assert words.shorten("a b  c\n d", 99) == "a b c d"
    assert len(words.shorten("x" * 99, 10)) == 10


def test_sentences_and_tables_round_alike():
    from whichlora.analysis.ledger import as_text

    for cells in (8, 16, 40, 200, 1000):
        for passed in range(cells + 1):
            assert as_text(passed / cells, "percent") == words.percent(passed / cells)
            assert as_text(passed / cells, "probability") == words.chance(passed / cells)
    assert as_text(-0.125, "points") == "-13 points"


def test_a_lower_bound_is_never_rounded_up():
    """'At or above 75%' of a bound at 74.8% promises more than was shown."""
    from whichlora.analysis.ledger import as_text

    assert [as_text(value, "floor") for value in (0.748, 0.7, 0.29, 0.996, 1.0)] == ["74%", "70%", "29%", "99%", "100%"]


def test_percentages_are_written_one_way_in_every_string_of_the_product():
    """'70%' everywhere: a table and a sentence side by side must not differ in a blank."""
    apart = []
    for path in Path(whichlora.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        spoken = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        for node in ast.walk(tree):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            text = "".join(part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "0"
                           for part in parts if isinstance(part, (ast.Constant, ast.FormattedValue)))
            if id(node) not in spoken and re.search(r"\d[\s\u00a0\u202f]%(?![}\w])", text):
                apart.append(f"{path.name}:{node.lineno}: {text[:60]}")
    assert apart == []


def test_a_chance_over_draws_is_never_certain():
    assert [words.chance(p) for p in (0.0, 0.004, 0.425, 0.996, 1.0)] == [
        "under 1%", "under 1%", "43%", "over 99%", "over 99%"]
    assert words.chance(None) == words.NOT_MEASURED
