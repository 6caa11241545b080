"""Generated reports: does anything in them say more than was stored?

Every report is linted in all its layers: the sentences of the analysis (verdict, reasons, options, roadmap, flip card),
the HTML text of every section, and the Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lab.decisions import random_world
from lab.figures import Figure, at_least, at_most
from lab.pages import report_problems
from whichlora.analysis.analyse import analyse
from whichlora.analysis.lint import lint_all
from whichlora.analysis.prose import texts
from whichlora.analysis.settings import Settings
from whichlora.analysis.simulate import project_of
from whichlora.findings import Findings
from whichlora.report.model import ReportInput
from whichlora.types import Generation, Plan, Score

PLANTED = (
    "It stands at 83.71%.", "This took 4,211 pictures.", "It gains +193 points.", "It needs 97.3 h.",
    "This proves it.", "It certainly keeps the face.", "The result is perfect.",
)
"""Sentences that no report may hold; each must be caught wherever it stands."""


def prose(quick: bool) -> list[Figure]:
    """Random projects of 3 to 12 photographs, firm and not, with and without limits, some against an earlier one."""
    rng = np.random.default_rng(11)
    count = 8 if quick else 1_000
    sentences = pages = missed = firm = 0
    for i in range(count):
        given = random_report(rng, i)
        firm += given.findings.recommendation.firm
        sentences += len(lint_all(texts(given.findings), given.findings))
        pages += len(report_problems(given))
        missed += not caught(given, PLANTED[i % len(PLANTED)])
    return [
        Figure("reports linted", float(count), "printed", True),
        Figure("of these with a firm decision", float(firm), "printed", True),
        at_most("unbound numbers and over-strong words in their sentences", sentences, 0),
        at_most("the same in their HTML and Markdown", pages, 0),
        at_least("planted violations caught, share", 1 - missed / count, 1.0),
    ]


def random_report(rng: np.random.Generator, number: int) -> ReportInput:
    """A report's input from a random project."""
    world = replace(random_world(rng, int(rng.choice((3, 5, 8, 12))), bool(number % 2)), seeds=1, edits=1)
    plan, generations, scores = project_of(world, rng, seconds=float(rng.uniform(2, 90)))
    wishes = {
        0: {}, 1: {"max_seconds": 45.0}, 2: {"thresholds": {"camera": 0.85}, "weights": {"camera": 2.0}},
        3: {"max_memory_gib": 16.0},
    }[number % 4]
    found = analyse(plan, generations, scores, settings=Settings(draws=200, **wishes))
    return given_of(plan, generations, scores, found)


def given_of(plan: Plan, generations: list[Generation], scores: list[Score], found: Findings) -> ReportInput:
    """What a report reads, without pictures."""
    by_cell: dict[str, list[Score]] = {}
    for score in scores:
        by_cell.setdefault(score.cell, []).append(score)
    return ReportInput(found, plan, {made.cell: made for made in generations},
                       {cell: tuple(mine) for cell, mine in by_cell.items()}, _nowhere, _nowhere)


def caught(given: ReportInput, sentence: str) -> bool:
    """Is a planted sentence noticed in the words of the analysis and on the page?"""
    told = given.findings.recommendation
    spoilt = replace(given.findings, recommendation=replace(told, rationale=(*told.rationale, sentence)))
    page = replace(given, findings=spoilt)
    return bool(lint_all([sentence], spoilt)) and bool(report_problems(page, only="verdict"))


def _nowhere(name: str) -> Mapping[str, str]:
    raise FileNotFoundError(name)
