"""The linter catches what the analysis would never write, and passes what it does write."""

import json

import pytest

from analysis.small_worlds import PLANTED, rng
from whichlora.analysis.analyse import analyse
from whichlora.analysis.lint import assert_clean, lint
from whichlora.analysis.prose import texts
from whichlora.analysis.settings import Settings
from whichlora.analysis.simulate import project_of
from whichlora.findings import findings_from_json, to_json


def findings(name):
    plan, generations, scores = project_of(PLANTED[name][0], rng())
    return analyse(plan, generations, scores, settings=Settings(draws=300))


@pytest.fixture(scope="module")
def firm():
    return findings("existing")


@pytest.fixture(scope="module")
def open_():
    return findings("undecided")


@pytest.mark.parametrize("name", list(PLANTED))
def test_what_the_analysis_writes_is_clean(name):
    found = findings(name)
    assert_clean(texts(found), found)
    assert_clean(texts(found), findings_from_json(json.loads(json.dumps(to_json(found)))))


@pytest.mark.parametrize("text", [
    "angles stands at 83.7%.", "It took 4,211 pictures.", "angles gains +37 points.", "About 97.3 h are needed.",
    "With probability 0.4242 it holds.",
])
def test_planted_numbers_are_caught(firm, text):
    assert any("unbound number" in problem for problem in lint(text, firm))


def test_a_stored_figure_with_another_unit_is_unbound(firm):
    assert lint("The target is 70%.", firm) == ()
    assert lint("It takes 70 h.", firm)


def test_a_changed_number_in_a_bound_sentence_is_caught(firm):
    sentence = firm.recommendation.sentence
    assert lint(sentence, firm) == ()
    assert lint(sentence.replace("70%", "75.5%"), firm)


def test_a_bound_sentence_may_use_only_its_own_figures(firm):
    entry = next(s for s in firm.manifest["analysis"]["sentences"] if s["text"] == firm.recommendation.sentence)
    entry["figures"].remove("target")
    assert any("unbound" in problem for problem in lint(firm.recommendation.sentence, firm))
    entry["figures"].append("target")


@pytest.mark.parametrize("text", [
    "This proves that angles works.", "angles certainly keeps the face.", "It is always right.", "Perfect results.",
])
def test_words_that_nothing_supports(firm, text):
    assert lint(text, firm)


@pytest.mark.parametrize("text", ["angles is the best.", "angles beats all others.", "No LoRA is needed."])
def test_words_that_only_a_firm_decision_supports(firm, open_, text):
    assert lint(text, open_)
    assert not [p for p in lint(text, firm) if "firm decision" in p]


def test_claims_beyond_the_facts(firm, open_):
    assert lint("angles passes at camera.", firm) == ()
    assert lint("noise passes at camera.", firm)
    assert lint("angles passes at camera.", open_)
    assert lint("angles fails at camera.", firm)
    assert lint("noise is better than base at camera.", firm)
    assert lint("angles is better than base at camera.", firm) == ()


def test_hedges_take_the_claim_away(firm):
    assert lint("It is not shown whether noise passes at camera.", firm) == ()


def test_a_claim_whose_fact_changed_is_caught(firm):
    data = json.loads(json.dumps(to_json(firm)))
    for row in data["candidates"]:
        if row["name"] == "angles":
            row["capabilities"]["camera"]["state"] = "OPEN"
    assert lint(firm.recommendation.sentence, findings_from_json(data))


def test_names_with_digits_are_no_numbers(firm):
    assert lint("Everything was made with Qwen/Qwen-Image-Edit-2509.", firm) == ()


def test_reaching_print_with_a_problem_raises(firm):
    with pytest.raises(ValueError, match="more than was stored"):
        assert_clean(["It proves 83.7%."], firm)
