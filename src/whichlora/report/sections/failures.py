"""What went wrong, counted; every count opens its pictures."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.failing import compared, kinds
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import NOT_MEASURED, fault

COUNTS = ("planned", "done", "failed", "unscored")

TEMPLATE = """
{% if kinds %}
<p class="lead">Of {{ made|count('planned picture') }} of base and candidates; control rows, which must fail, are left
out. A picture can fail in more than one way. Each line opens its pictures.</p>
<ul class="failures">
{% for kind, cells, span in kinds %}
<li><button type="button" data-cells="{{ cells|join(',') }}" data-title="{{ kind|fault }}">
<span class="kind">{{ kind|fault }}</span>
<svg class="tally" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="rest"
width="100" height="8" rx="1"/><rect class="part" width="{{ span }}" height="8" rx="1"/></svg>
<span class="tell"><b>{{ cells|length }}</b> of {{ made }}</span></button></li>
{% endfor %}
</ul>
{% else %}<p>No failure was counted.</p>{% endif %}
{% if unmade or unscored %}<p class="quiet">Not measured: {{ unmade|count('picture') }} not made, {{
unscored|count('picture') }} without a full set of scores. They stay in these counts' denominator.</p>{% endif %}
<details><summary>By candidate, control rows included</summary>
{% call m.grid('Failures by candidate', 'plain dense') %}
<thead><tr><th scope="col">Candidate</th>{% for head in heads %}<th
scope="col">{{ head }}</th>{% endfor %}</tr></thead>
<tbody>{% for name, cells in rows %}<tr><th scope="row"><bdi>{{ name }}</bdi></th>{% for cell in cells %}<td>{{ cell
}}</td>{% endfor %}</tr>{% endfor %}
</tbody>{% endcall %}</details>
"""


def _table(page: Page) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Heads after the name, and by row its counts; 'not measured' where nothing looked for a fault."""
    counted = (name for row in page.findings.candidates for name in row.artefacts)
    names = list(dict.fromkeys([*page.findings.failures, *counted]))
    heads = [*(key.capitalize() for key in COUNTS), *map(fault, names)]
    return heads, [
        (row.name, [*(str(row.cells.get(key, NOT_MEASURED)) for key in COUNTS),
                    *(str(row.artefacts.get(name, NOT_MEASURED)) for name in names)])
        for row in page.findings.candidates
    ]


def _html(page: Page) -> Markup:
    mine = compared(page)
    unscored = sum(row.cells.get("unscored", 0) for row in page.findings.candidates if row.role != "control")
    heads, rows = _table(page)
    return render(TEMPLATE, kinds=kinds(page), made=len(mine), unscored=unscored, heads=heads, rows=rows,
                  unmade=sum(cell not in page.given.generations for cell in mine))


def _markdown(page: Page) -> str:
    made = len(compared(page))
    lines = [f"{fault(kind)}: {len(cells)} of {made} planned pictures" for kind, cells, _ in kinds(page)]
    heads, rows = _table(page)
    parts = [marks.bullets(lines) or "No failure was counted."]
    if lines:
        parts.append("Of base and candidates; control rows, which must fail, stand in the table only.")
    parts.append(marks.table(["Candidate", *map(marks.text, heads)],
                             [[marks.text(name), *cells] for name, cells in rows]))
    return "\n\n".join(parts)


PLUGIN = Section("failures", "What went wrong", "Failures", 120, _html, _markdown, "half")
