"""The worst cases of the recommended row and of base: shown before anybody has to look for them."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.findings import CandidateFacts
from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render

SHOWN = 6

TEMPLATE = """
{% for row, cells in rows %}<h3><bdi>{{ row.name }}</bdi></h3>
<div class="shots">{% for cell in cells %}
<figure>{{ m.shot(page, cell) }}<figcaption><q><bdi>{{ page.cases[page.cells[cell].case].prompt|shorten(70)
}}</bdi></q></figcaption></figure>{% endfor %}</div>{% endfor %}
"""


def _rows(page: Page) -> list[tuple[CandidateFacts, list[str]]]:
    leaders = [page.facts[name] for name in page.recommended] or page.rivals[:1]
    rows = {row.name: row for row in [*leaders, *([page.base] if page.base else [])]}
    found = [(row, [c for c in page.known(row.worst_cells) if page.cells[c].case in page.cases][:SHOWN])
             for row in rows.values()]
    return [(row, cells) for row, cells in found if cells]


def _html(page: Page) -> Markup:
    rows = _rows(page)
    return render(TEMPLATE, page=page, rows=rows) if rows else Markup("")


def _markdown(page: Page) -> str:
    return marks.bullets(f"{page.caption(cell)}: {page.verdict(cell)[1]}" for _, cells in _rows(page) for cell in cells)


PLUGIN = Section("worst", "Worst cases", "", 210, _html, _markdown)
