"""Licence flags of everything that is compared, the recommended rows first."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import licence_flag

TEMPLATE = """
<ul class="licences">{% for row, (flag, said) in rows %}
<li class="{{ flag }}"><b><bdi>{{ row.name }}</bdi></b> <code>{{ row.licence or 'unknown' }}</code> {{ said
}}</li>
{% endfor %}</ul>
<p class="quiet">Read from the model cards; not legal advice. The base model has its own licence.</p>
"""


def _rows(page: Page) -> list[tuple[object, tuple[str, str]]]:
    rows = [row for row in page.findings.candidates if row.role == "candidate"]
    rows.sort(key=lambda row: row.name not in page.recommended)
    return [(row, licence_flag(row.licence)) for row in rows]


def _html(page: Page) -> Markup:
    rows = _rows(page)
    return render(TEMPLATE, rows=rows) if rows else Markup("")


def _markdown(page: Page) -> str:
    rows = [row for row in page.findings.candidates if row.role == "candidate"]
    rows.sort(key=lambda row: row.name not in page.recommended)
    return marks.table(["Candidate", "Licence", "What to do"], [
        [marks.text(row.name), marks.text(row.licence or "unknown"), licence_flag(row.licence)[1]] for row in rows
    ]) if rows else ""


PLUGIN = Section("licences", "Licences", "", 140, _html, _markdown, "half")
