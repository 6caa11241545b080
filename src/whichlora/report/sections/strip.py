"""The winner strip: source, base, winner and runner-up on three cases, the worst one included."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.choose import headings, strip
from whichlora.report.glance import glance
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render

TEMPLATE = """
<div class="strip columns-{{ heads|length + 1 }}">
<div class="heads" aria-hidden="true"><span>Source</span>{% for head in heads %}<span>{{ head }}</span>{% endfor
%}
</div>
{% for row in rows %}
<div class="row" role="group" aria-label="{{ row.why }}: {{ row.case.prompt }}">
<p class="asked"><b>{{ row.why }}</b> <q><bdi>{{ row.case.prompt|shorten(90) }}</bdi></q></p>
{{ m.photo(page, row.case.source, eager=true) }}
{% for name, cell in row.cells %}
{% if cell %}{{ m.shot(page, cell, eager=true) }}{% else %}
<span class="shot none"><span class="nopicture">not planned</span></span>{% endif %}
{% endfor %}
</div>
{% endfor %}
</div>
{{ glance }}
"""


def _html(page: Page) -> Markup:
    rows = strip(page)
    return render(TEMPLATE, page=page, rows=rows, heads=headings(page), glance=glance(page)) if rows else Markup("")


def _markdown(page: Page) -> str:
    rows = strip(page)
    if not rows or page.pictures.empty:
        return ""
    body = [[_photo(page, row.case.source), *(_picture(page, cell) for _, cell in row.cells),
             f"{row.why}: {marks.text(row.case.prompt)}"] for row in rows]
    return marks.table(["Source", *headings(page), "Asked for"], body)


def _photo(page: Page, source: str) -> str:
    shown = page.pictures.source(source)
    return marks.image(f"source {source}", page.pictures.address(shown.thumb)) if shown.url else "photograph missing"


def _picture(page: Page, cell: str) -> str:
    if not cell:
        return "not planned"
    made = page.generation(cell)
    shown = page.pictures.image(made.image if made else None)
    said = page.verdict(cell)[1]
    return f"{marks.image(page.caption(cell), page.pictures.address(shown.thumb))} {said}" if shown.url else said


PLUGIN = Section("strip", "Seen on three cases", "", 20, _html, _markdown)
