"""The open questions that every such comparison answers by a setting: default, reason, flag."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render

TEMPLATE = """
<table class="plain stack"><caption class="unseen">Choices behind the figures</caption>
<thead><tr><th scope="col">Question</th><th scope="col">Answer used here</th>
<th scope="col">Why</th><th scope="col">To change it</th></tr></thead>
<tbody>{% for q in questions %}<tr><th scope="row">{{ q.get('question', '') }}</th>
<td>{{ q.get('default', '') }}</td><td>{{ q.get('reason', '') }}</td><td><code>{{ q.get('flag', '') }}</code></td>
</tr>{% endfor %}</tbody></table>
"""


def _html(page: Page) -> Markup:
    questions = page.findings.questions
    return render(TEMPLATE, questions=questions) if questions else Markup("")


def _markdown(page: Page) -> str:
    keys = ("question", "default", "reason", "flag")
    rows = [[marks.text(item.get(key, "")) for key in keys] for item in page.findings.questions]
    return marks.table(["Question", "Answer used here", "Why", "To change it"], rows) if rows else ""


PLUGIN = Section("questions", "Choices behind the figures", "", 280, _html, _markdown)
