"""Means of every metric that informs without deciding."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import figure, spoken

TEMPLATE = """
<p class="lead">Means over all scored pictures, in each metric's own unit. They inform; they decide nothing.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Further measurements, scrolls sideways"><table
class="plain"><thead><tr><th scope="col">Metric</th>{% for row in rows %}<th scope="col"><bdi>{{
row.name|shorten(28) }}</bdi></th>{% endfor %}</tr></thead>
<tbody>{% for name in names %}<tr><th scope="row">{{ name|spoken }}</th>{% for row in rows %}
<td>{{ row.means.get(name)|figure }}</td>{% endfor %}</tr>{% endfor %}</tbody></table></div>
"""


def _names(page: Page) -> list[str]:
    return sorted({name for row in page.findings.candidates for name in row.means})


def _html(page: Page) -> Markup:
    names = _names(page)
    return render(TEMPLATE, rows=page.findings.candidates, names=names) if names else Markup("")


def _markdown(page: Page) -> str:
    names = _names(page)
    heads = ["Metric", *(marks.text(row.name) for row in page.findings.candidates)]
    rows = [[marks.text(spoken(name)), *(figure(row.means.get(name)) for row in page.findings.candidates)]
            for name in names]
    return marks.table(heads, rows) if names else ""


PLUGIN = Section("measures", "Further measurements", "", 230, _html, _markdown)
