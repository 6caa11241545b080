"""The implementation roadmap: steps in order."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render

TEMPLATE = """<ol class="roadmap">{% for step in steps %}<li>{{ step }}</li>{% endfor %}</ol>"""


def _html(page: Page) -> Markup:
    steps = page.findings.recommendation.roadmap
    return render(TEMPLATE, steps=steps) if steps else Markup("")


def _markdown(page: Page) -> str:
    return marks.bullets(page.findings.recommendation.roadmap, numbered=True)


PLUGIN = Section("roadmap", "Roadmap", "Roadmap", 160, _html, _markdown)
