"""Sections of sweeps, combinations, chains and masks: from stored documents, hostile names included."""

import json
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest

from analysis.small_worlds import FAMILIES
from report.hostile import PAYLOADS
from report.test_sections import Nesting
from whichlora import registry
from whichlora.analysis import chaining, combining, judging, sweeping, told
from whichlora.analysis.ledger import Ledger
from whichlora.analysis.routing import route
from whichlora.analysis.simulate import World, table_of
from whichlora.report.curves import curves
from whichlora.report.page import Page
from whichlora.report.pictures import NO_PICTURES


def swept(name):
    points, best = sweeping.search(lambda weights: [
        sweeping.Point(w, max(0.0, 1 - 3 * abs(w - 0.8)), min(1.0, w), max(0.0, 1.4 - w), 24) for w in weights])
    held = {key: (np.full((2, 6), rate), np.full((2, 6), 2.0)) for key, rate in
            (("pick", 0.9), ("own", 0.4), ("base", 0.2))}
    result = sweeping.conclude(points, best, held, (0.9, 0.95))
    ledger = Ledger()
    return {**asdict(result), "own_weight": 1.0, "base": {"rate": 0.2},
            "sentences": told.sweep(result, name, 1.0, (6, 6), ledger), "bound": told.bound(ledger)}


def stacked(name):
    base = dict.fromkeys(FAMILIES, 0.3)
    world = World({"base": base, "a": {**base, "camera": 0.95}, "b": {**base, "lighting": 0.95},
                   "a+b": {**base, "camera": 0.9, "lighting": 0.95}}, 12)
    table = table_of(world, np.random.default_rng(0))
    result = replace(combining.compare(table, "a+b", FAMILIES), name=name)
    ledger = Ledger()
    met = {"shared": 24, "cosine": -0.03, "conflict": 0.48}
    return ({"stacks": [{**asdict(result), "sentences": told.stack(result, ledger)}],
             "overlaps": [{**met, "sentence": told.overlap((name, "b"), met, ledger)}]},
            {"sentences": told.routing(route(table, FAMILIES), ledger)})


def chained():
    links = [chaining.Link(f"p{i}", True, i % 3 > 0, i % 4 > 0, True) for i in range(12)]
    return {"sentences": told.chain(chaining.conclude(links), (("a", "camera"), ("b", "lighting")), Ledger())}


def more(name):
    combinations, routing = stacked(name)
    return json.loads(json.dumps({
        "sweeps": {name: swept(name)}, "combinations": combinations, "routing": routing, "chains": {name: chained()},
    }))


def page(project, name="angles & relight"):
    return Page(replace(project.given, more=more(name)), NO_PICTURES)


NAMES = ["sweeps", "combinations", "chains"]


@pytest.mark.parametrize("section", NAMES)
def test_nothing_stored_is_nothing_shown(project, section):
    plugin = registry.load("sections", section)
    assert plugin.html(Page(project.given, NO_PICTURES)) == ""
    assert plugin.markdown(Page(project.given, NO_PICTURES)) == ""


@pytest.mark.parametrize("section", NAMES)
def test_stored_sentences_are_shown_in_both_outputs(project, section):
    plugin = registry.load("sections", section)
    shown = page(project)
    body, text = plugin.html(shown), plugin.markdown(shown)
    stored = shown.given.more[section]
    held = stored["stacks"][0] if section == "combinations" else next(iter(stored.values()))
    first = held["sentences"]
    assert " ".join(first[0].split()[-4:]).split("&")[0] in body
    assert first[0].split()[-1].rstrip(".") in text
    assert "not measured" not in text


@pytest.mark.parametrize("payload", [p for p in PAYLOADS if len(p) < 60][::6])
@pytest.mark.parametrize("section", NAMES)
def test_hostile_names_stay_text(project, section, payload):
    body = registry.load("sections", section).html(page(project, payload))
    nesting = Nesting()
    nesting.feed(body)
    assert nesting.faults == []
    assert nesting.stack == []
    assert payload not in body or "<" not in payload


def test_the_curve_lies_where_its_figures_are():
    sweep = swept("x")
    drawn = curves(sweep["points"], sweep["optimum"], 1.0, 0.2)
    xs = [dot.at for dot in drawn.dots]
    assert xs == sorted(xs)
    assert all(drawn.left <= x <= drawn.right for x in (*xs, drawn.pick, drawn.own, *drawn.band))
    best = max(sweep["points"], key=lambda point: point["rate"])
    highest = min(drawn.dots, key=lambda dot: dot.y)
    assert highest.label.startswith(f"weight {best['weight']:g}:")
    assert drawn.band[0] <= drawn.pick <= drawn.band[1]
    labels = sorted(line.label_y for line in drawn.lines)
    assert all(b - a >= 14 for a, b in pairwise(labels))
    assert drawn.base.y == pytest.approx(drawn.bottom - 0.2 * (drawn.bottom - drawn.top))


def test_a_sweep_of_one_weight_is_drawn_too():
    point = {"weight": 1.0, "rate": 0.5, "edit": 0.5, "identity": 0.5, "cells": 4}
    drawn = curves([point], {"weight": 1.0, "low": 1.0, "high": 1.0}, 1.0, None)
    assert len(drawn.dots) == 1
    assert drawn.base is None


def test_overlap_is_told_as_an_explanation(project):
    plugin = registry.load("sections", "combinations")
    for text in (plugin.html(page(project)), plugin.markdown(page(project))):
        assert "does not judge it" in text
        assert "24 weights" in text


def second_opinion(project, name):
    asked = [judging.Asked(question, name, f"p{i % 6}", (f"{question}{i}", f"base{i}"), outcome, i == 11)
             for question in judging.WORDS
             for i, outcome in enumerate(["first"] * 7 + ["second"] * 2 + ["unscored"] + ["tie"] * 2)]
    gates = {f"edit{i}": {"edit": True} for i in range(12)} | {f"base{i}": {"edit": False} for i in range(12)}
    people = {("identity", "base0", "identity0"): "second", ("identity", "base1", "identity1"): "first"}
    found = json.loads(json.dumps(judging.summarise(asked, gates, people, f"model {name}")))
    return found, Page(replace(project.given, more={"judge": found}), NO_PICTURES)


def test_a_second_opinion_shows_counts_and_what_metrics_and_people_say(project):
    plugin = registry.load("sections", "second_opinion")
    assert plugin.html(Page(project.given, NO_PICTURES)) == plugin.markdown(Page(project.given, NO_PICTURES)) == ""
    found, shown = second_opinion(project, "angles")
    row = found["rows"][0]
    # 7 wins and 2 ties of 11 answers, on six photographs that weigh the same.
    assert (row["preferred"], row["base_preferred"], row["ties"], row["unscored"]) == (7, 2, 2, 1)
    assert row["value"] == pytest.approx(np.mean([(1 + 1) / 2, 0.5, 0.5, 1.0, (1 + 0.5) / 2, (1 + 0.5) / 2]), abs=0.01)
    by_question = {item["question"]: item for item in found["metrics"]}
    assert (by_question["edit"]["same"], by_question["edit"]["pairs"]) == (7, 9)
    assert by_question["identity"]["pairs"] == 0
    assert [(item["same"], item["pairs"]) for item in found["people"]] == [(1, 2), (0, 0), (0, 0)]
    for text in (plugin.html(shown), plugin.markdown(shown)):
        assert "it decides nothing here" in text
        assert "agreed in 7 of 9 pairs" in text
        assert "agreed in 1 of 2 pairs" in text


def test_a_judge_that_answers_by_place_is_not_shown_as_evidence():
    asked = [judging.Asked("edit", "a", f"p{i}", (f"a{i}", f"b{i}"), "tie", True) for i in range(6)]
    found = judging.summarise(asked, {}, {}, "m")
    assert not found["reliable"]
    assert "not worth reading" in found["sentences"][0]
    mute = judging.summarise([replace(item, outcome="unscored", changed=False) for item in asked], {}, {}, "m")
    assert "never gave a usable answer" in mute["sentences"][0]
    assert mute["rows"][0]["value"] is None


@pytest.mark.parametrize("payload", [p for p in PAYLOADS if len(p) < 60][::6])
def test_a_hostile_judge_or_row_stays_text(project, payload):
    body = registry.load("sections", "second_opinion").html(second_opinion(project, payload)[1])
    nesting = Nesting()
    nesting.feed(body)
    assert nesting.faults == nesting.stack == []
    assert payload not in body or "<" not in payload
