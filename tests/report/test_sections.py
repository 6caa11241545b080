"""Sections are plug-ins: one file each, found by themselves, each rendering from the stored input."""

import html.parser
import sys

import pytest
from markupsafe import Markup

from whichlora import registry
from whichlora.report import sections as package
from whichlora.report.html import sections, write_report
from whichlora.report.markdown import write_markdown
from whichlora.report.page import Page
from whichlora.report.pictures import NO_PICTURES, collect

VOID = {"img", "br", "hr", "input", "meta", "link"}

NEW = """
from markupsafe import Markup
from whichlora.report.sections.base import Section
PLUGIN = Section("zebra", "Stripes", "Zebra", 105, lambda page: Markup("<p>%d stripes</p>") % len(page.plan.cells),
                 lambda page: f"{len(page.plan.cells)} stripes")
"""


class Nesting(html.parser.HTMLParser):
    """Finds tags that are not closed where they should be."""

    def __init__(self):
        super().__init__()
        self.stack, self.faults = [], []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name.startswith("on") or name == "style" or (value or "").lower().startswith("javascript:"):
                self.faults.append(f"{tag} {name}={value}")
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if not self.stack or self.stack.pop() != tag:
            self.faults.append(f"</{tag}>")


@pytest.fixture
def page(project, tmp_path):
    return Page(project.given, collect(project.given, tmp_path))


@pytest.mark.parametrize("name", registry.names("sections"))
@pytest.mark.parametrize("world", ["project", "hostile"])
def test_contract(name, world, request, tmp_path):
    given = getattr(request.getfixturevalue(world), "given", request.getfixturevalue(world))
    section = registry.load("sections", name)
    page = Page(given, collect(given, tmp_path))
    body = section.html(page)
    assert section.name == name
    assert isinstance(body, Markup)
    assert section.width in {"full", "half"}
    nesting = Nesting()
    nesting.feed(body)
    assert nesting.faults == []
    assert nesting.stack == []
    assert isinstance(section.markdown(page), str)
    assert "![" not in section.markdown(Page(given, NO_PICTURES)).replace("\\![", "").replace("\\!\\[", "")


def test_every_required_part_is_there(page):
    shown = {section.name for section in sections() if section.html(page)}
    assert {
        "verdict",
        "strip",
        "matrix",
        "pareto",
        "failures",
        "flip",
        "options",
        "roadmap",
        "licences",
        "pictures",
        "worst",
        "candidates",
        "limits",
        "refused",
        "cost",
        "survey",
        "methods",
        "questions",
        "manifest",
    } <= shown


def test_orders_are_distinct():
    orders = [section.order for section in sections()]
    assert len(orders) == len(set(orders))


def test_adding_a_section_is_one_file(project, tmp_path, monkeypatch):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "zebra.py").write_text(NEW, encoding="utf-8")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "more")])
    monkeypatch.setattr("whichlora.report.plots.PLOTS", {})
    try:
        html = write_report(project.given, tmp_path / "r").index.read_text(encoding="utf-8")
        document = write_markdown(project.given, tmp_path / "r.md").read_text(encoding="utf-8")
    finally:
        sys.modules.pop("whichlora.report.sections.zebra", None)
    stripes = f"{len(project.given.plan.cells)} stripes"
    assert '<a href="#zebra">Zebra</a>' in html
    assert html.index(stripes) < html.index('id="pareto"')
    assert f"## Stripes\n\n{stripes}" in document


def test_an_empty_section_leaves_no_heading(page):
    from dataclasses import replace

    bare = replace(page.findings, refused=(), questions=())
    given = replace(page.given, findings=bare)
    for name in ("refused", "questions"):  # limits are never empty: those of the recogniser stand in every report
        section = registry.load("sections", name)
        assert section.html(Page(given, page.pictures)) == ""
        assert section.markdown(Page(given, page.pictures)) == ""


def test_the_worst_case_is_on_the_first_screen(page):
    from whichlora.report.choose import strip

    rows = strip(page)
    assert len(rows) == 3
    worst = page.facts[page.recommended[0]].worst_cells[0]
    assert rows[0].why == "Worst case"
    assert worst in [cell for _, cell in rows[0].cells]
    assert len({row.case.id for row in rows}) == 3
    assert len({row.case.source for row in rows}) > 1


def test_a_report_does_not_read_scores_of_people_as_verdicts_of_machines(page):
    from dataclasses import replace

    from whichlora.types import Score

    cell = next(c for c in page.cells if page.verdict(c)[0] == "good")
    vote = Score(cell, "identity/blind", 1, 0.0, passed=False, gate="identity", rater="kim")
    given = replace(page.given, scores={**page.given.scores, cell: (*page.scores(cell), vote)})
    assert Page(given, page.pictures).verdict(cell)[0] == "good"
    machine = replace(vote, rater="")
    given = replace(page.given, scores={**page.given.scores, cell: (machine, *page.scores(cell))})
    assert Page(given, page.pictures).verdict(cell) == ("bad", "identity lost")


def test_routes_choose_the_winner_of_each_case(page):
    from dataclasses import replace

    names = [row.name for row in page.rivals]
    chosen = replace(
        page.findings.recommendation,
        decision="hybrid",
        candidate=f"{names[2]} + {names[3]}",
        routes={"camera": names[2], "lighting": names[3]},
    )
    routed = Page(replace(page.given, findings=replace(page.findings, recommendation=chosen)), page.pictures)
    assert routed.recommended == [names[2], names[3]]
    by_family = {case.family: routed.winner_for(case) for case in page.plan.cases}
    assert by_family["camera"] == names[2]
    assert by_family["lighting"] == names[3]
    assert routed.runner_up == names[0]


def test_the_matrix_says_which_columns_decide_and_what_controls_are(page, project, tmp_path):
    from dataclasses import replace

    from whichlora.report.sections import matrix

    needed = [name for name in page.capabilities if name in page.findings.must_have]
    controls = [row.name for row in page.findings.candidates if row.role == "control"]
    assert controls
    for said in (str(matrix.PLUGIN.html(page)), matrix.PLUGIN.markdown(page)):
        text = " ".join(said.split())
        assert f"needed columns alone ({', '.join(needed)})" in text
        assert [name for name in controls if f"{name}: " in text] == controls
    rows = tuple(row for row in page.findings.candidates if row.role != "control")
    bare = replace(project.given, findings=replace(page.findings, candidates=rows))
    assert "Control rows" not in str(matrix.PLUGIN.html(Page(bare, collect(bare, tmp_path / "bare"))))
