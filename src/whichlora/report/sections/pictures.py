"""The picture grid: source, base and every candidate for the case that the reader picks."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render

TEMPLATE = """
<form class="pick" id="grid-pick">
<button type="button" id="grid-previous" aria-label="Previous case">↑</button>
<label>Case <select id="grid-case">{% for family, cases in families %}
<optgroup label="{{ family|spoken }}">{% for number, case in cases %}
<option value="{{ number }}">{{ case.source }}: {{ case.prompt|shorten(80) }}</option>{% endfor %}
</optgroup>{% endfor %}</select></label>
<button type="button" id="grid-next" aria-label="Next case">↓</button>
<label>Seed <select id="grid-seed"><option value="all">all</option></select></label>
</form>
<p class="asked" id="grid-prompt" aria-live="polite"></p>
<div class="grid" id="grid" role="group" aria-label="Pictures of this case"></div>
<p class="quiet">Arrow keys: ← → candidate, ↑ ↓ case. Enter opens a picture with zoom, slider, fade and
difference.</p>
<noscript><p>The picture grid needs JavaScript; every other part of this page works without it.</p></noscript>
"""


def _html(page: Page) -> Markup:
    families: dict[str, list[tuple[int, object]]] = {}
    for number, case in enumerate(page.plan.cases):
        families.setdefault(case.family, []).append((number, case))
    return render(TEMPLATE, families=list(families.items())) if page.plan.cases else Markup("")


def _markdown(page: Page) -> str:
    """One case per capability; the page has them all."""
    if page.pictures.empty or not page.plan.cases:
        return ""
    first = {case.family: case for case in reversed(page.plan.cases)}
    heads = ["Asked for", "Source", *(marks.text(name) for name in page.order)]
    rows: list[list[str]] = []
    for case in first.values():
        seed = next((cell.seed for cell in page.plan.cells if cell.case == case.id), 0)
        shown = page.pictures.source(case.source)
        photo = marks.image("source", page.pictures.address(shown.thumb)) if shown.url else "missing"
        row = [marks.text(case.prompt), photo]
        for name in page.order:
            cell = page.by_place.get((name, case.id, seed))
            made = page.generation(cell.id) if cell else None
            picture = page.pictures.image(made.image if made else None)
            row.append(marks.image(name, page.pictures.address(picture.thumb)) if picture.url else "none")
        rows.append(row)
    return marks.table(heads, rows)


PLUGIN = Section("pictures", "Every picture", "Pictures", 200, _html, _markdown)
