"""What went wrong, counted; every count opens its pictures."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import NOT_MEASURED, spoken

COUNTS = ("planned", "done", "failed", "unscored")

TEMPLATE = """
{% if kinds %}
<p class="lead">Of {{ made|count('planned picture') }}. A picture can fail in more than one way. Each line opens
its pictures.</p>
<ul class="failures">
{% for kind, cells, span in kinds %}
<li><button type="button" data-cells="{{ cells|join(',') }}" data-title="{{ kind|spoken }}">
<span class="kind">{{ kind|spoken }}</span>
<svg class="tally" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="rest"
width="100" height="8" rx="1"/><rect class="part" width="{{ span }}" height="8" rx="1"/></svg>
<span class="tell"><b>{{ cells|length }}</b> of {{ made }}</span></button></li>
{% endfor %}
</ul>
{% else %}<p>No failure was counted.</p>{% endif %}
{% if unmade or unscored %}<p class="quiet">Not measured: {{ unmade|count('picture') }} not made, {{
unscored|count('picture') }} without a full set of scores. They stay in these counts' denominator.</p>{% endif %}
<details><summary>By candidate</summary>
<div class="scroll" tabindex="0" role="region" aria-label="Failures by candidate, scrolls sideways"><table
class="plain"><thead><tr><th scope="col">Candidate</th><th scope="col">Planned</th><th scope="col">Done</th><th
scope="col">Failed</th><th scope="col">Unscored</th>{% for name in names %}<th scope="col">{{ name|spoken }}</th>{%
endfor %}</tr></thead>
<tbody>{% for row in rows %}<tr><th scope="row"><bdi>{{ row.name }}</bdi></th>
{% for key in ('planned', 'done', 'failed', 'unscored') %}<td>{{ row.cells.get(key, NOT_MEASURED) }}</td>
{% endfor %}{% for name in names %}<td>{{ row.artefacts.get(name, NOT_MEASURED) }}</td>{% endfor %}</tr>{% endfor
%}
</tbody></table></div></details>
"""


def _names(page: Page) -> list[str]:
    return list(dict.fromkeys(name for row in page.findings.candidates for name in row.artefacts))


def kinds(page: Page) -> list[tuple[str, list[int], float]]:
    """(kind, numbers of its cells, share of all planned pictures in percent), most frequent first."""
    made = max(1, len(page.plan.cells))
    found = [(kind, [page.cell_numbers[cell] for cell in page.known(cells)])
             for kind, cells in page.findings.failures.items()]
    found = sorted((item for item in found if item[1]), key=lambda item: -len(item[1]))
    return [(kind, cells, round(100 * len(cells) / made, 2)) for kind, cells in found]


def _html(page: Page) -> Markup:
    unscored = sum(row.cells.get("unscored", 0) for row in page.findings.candidates)
    unmade = sum(cell not in page.given.generations for cell in page.cells)
    return render(TEMPLATE, kinds=kinds(page), made=len(page.plan.cells), unmade=unmade, unscored=unscored,
                  rows=page.findings.candidates, names=_names(page))


def _markdown(page: Page) -> str:
    found = kinds(page)
    lines = [f"{spoken(kind)}: {len(cells)} of {len(page.plan.cells)} planned pictures" for kind, cells, _ in found]
    names = _names(page)
    rows = [[marks.text(row.name), *(str(row.cells.get(key, NOT_MEASURED)) for key in COUNTS),
             *(str(row.artefacts.get(name, NOT_MEASURED)) for name in names)] for row in page.findings.candidates]
    heads = ["Candidate", "Planned", "Done", "Failed", "Unscored", *(marks.text(spoken(name)) for name in names)]
    return (marks.bullets(lines) or "No failure was counted.") + "\n\n" + marks.table(heads, rows)


PLUGIN = Section("failures", "What went wrong", "Failures", 120, _html, _markdown, "half")
