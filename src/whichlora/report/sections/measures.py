"""Means of every metric that informs without deciding."""

from __future__ import annotations

from markupsafe import Markup

from whichlora import registry
from whichlora.errors import UnknownNameError
from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import mean, spoken

TEMPLATE = """
<p class="lead">Means over all scored pictures, in each metric's own unit. They inform; the rates and the decision
rest on the conditions under <a href="#methods">Methods</a>.</p>
{% call m.grid('Further measurements', 'plain dense') %}
<thead><tr><th scope="col">Metric</th><th scope="col">Unit</th>{% for row in rows %}<th
scope="col"><bdi>{{ row.name|shorten(28) }}</bdi></th>{% endfor %}</tr></thead>
<tbody>{% for name, title, unit in names %}<tr><th scope="row" title="{{ name|spoken }}">{{ title }}</th>
<td class="quiet">{{ unit }}</td>{% for row in rows %}<td>{{ row.means.get(name)|mean }}</td>{% endfor %}</tr>
{% endfor %}</tbody>{% endcall %}
"""
BETTER = {"higher": "higher is better", "lower": "lower is better"}


def _names(page: Page) -> list[tuple[str, str, str]]:
    """Metric, what it is called, and its unit with the better direction, as far as the metric is installed here."""
    return [(name, *_described(name)) for name in sorted({n for row in page.findings.candidates for n in row.means})]


def _described(name: str) -> tuple[str, str]:
    try:
        metric = registry.load("metrics", name)
    except UnknownNameError:  # stored by a plug-in that is not installed here
        return spoken(name), ""
    return metric.title, "; ".join(filter(None, (metric.unit, BETTER.get(metric.better, ""))))


def _html(page: Page) -> Markup:
    names = _names(page)
    return render(TEMPLATE, rows=page.findings.candidates, names=names) if names else Markup("")


def _markdown(page: Page) -> str:
    names = _names(page)
    heads = ["Metric", "Unit", *(marks.text(row.name) for row in page.findings.candidates)]
    rows = [[marks.text(f"{title} ({name})" if title != spoken(name) else title), marks.text(unit),
             *(mean(row.means.get(name)) for row in page.findings.candidates)] for name, title, unit in names]
    return "Means over all scored pictures. They inform.\n\n" + marks.table(heads, rows) if names else ""


PLUGIN = Section("measures", "Further measurements", "", 230, _html, _markdown)
