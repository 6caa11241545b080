"""Whole reports, HTML and Markdown: nothing in them says more than was stored, and planted violations are caught."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))
from lab.pages import report_problems
from lab.planted import FOLDER
from lab.prose import PLANTED, caught, given_of, random_report
from lab.recorded import load, plan_of, rows_of

from whichlora.analysis.analyse import analyse
from whichlora.analysis.lint import lint_all
from whichlora.analysis.prose import texts


@pytest.fixture(scope="module")
def reports():
    rng = np.random.default_rng(3)
    return [random_report(rng, number) for number in range(4)]


@pytest.fixture(scope="module")
def open_report():
    world = load(FOLDER / "19-few-photographs.json")
    plan = plan_of(world)
    generations, scores = rows_of(world, plan)
    return given_of(plan, generations, scores, analyse(plan, generations, scores, settings={"draws": 200}))


def test_generated_reports_are_clean_in_every_layer(reports, open_report):
    for given in (*reports, open_report):
        assert lint_all(texts(given.findings), given.findings) == ()
        assert report_problems(given) == []


@pytest.mark.parametrize("sentence", PLANTED)
def test_planted_violations_are_caught_in_every_layer(open_report, sentence):
    assert caught(open_report, sentence)


def test_a_changed_figure_of_the_matrix_is_caught(open_report):
    """One that is stored nowhere, put where only the page shows it."""
    rows = open_report.findings.candidates
    off = replace(rows[1], seconds_per_image=77.0)
    spoilt = replace(open_report.findings, candidates=(rows[0], off, *rows[2:]))
    assert report_problems(replace(open_report, findings=spoilt)) == []  # stored, so bound
    text = "\n".join(section for section in ("Time: 78 s.", "Memory: 99.9 GiB.", "Rate: 3.3%.", "Range: 1–99%."))
    noted = replace(open_report.findings, limits=(*open_report.findings.limits, text))
    found = " ".join(report_problems(replace(open_report, findings=noted), only="limits"))
    for token in ("78 s", "99.9 GiB", "3.3%", "1", "99"):
        assert token in found


def test_firm_words_need_a_firm_decision(open_report):
    assert not open_report.findings.recommendation.firm
    said = replace(open_report.findings.recommendation, roadmap=("Take angles: it is the best.",))
    found = report_problems(replace(open_report, findings=replace(open_report.findings, recommendation=said)))
    assert any("'the best' needs a firm decision" in problem and "roadmap (html)" in problem for problem in found)
    assert any("roadmap (markdown)" in problem for problem in found)
