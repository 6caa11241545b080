"""What changed against an earlier project, pair by pair."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.findings import Change
from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import percent, points, spoken

TEMPLATE = """
{{ m.sentences(a.sentences) }}
{% if a.before %}<p class="quiet">The earlier verdict was: {{ a.before }}</p>{% endif %}
<div class="scroll" tabindex="0" role="region" aria-label="Changes, scrolls sideways"><table class="plain changes">
<thead><tr><th scope="col">Candidate</th><th scope="col">Kind of edit</th><th scope="col">Then</th>
<th scope="col">Now</th><th scope="col">Change</th><th scope="col">Shown</th></tr></thead>
<tbody>{% for c in a.changes %}<tr><th scope="row"><bdi>{{ c.row }}</bdi></th><td>{{ c.capability|spoken }}</td>
<td>{{ c.then|percent }}</td><td>{{ c.now|percent }}</td><td>{{ c.difference|points }}</td>
<td class="{{ 'better' if c.better else 'worse' if c.worse }}">{{ said(c) }}</td></tr>{% endfor %}</tbody>
</table></div>
{% if a.refused %}<details><summary>Rows that are not compared</summary><dl class="refused">{% for row in a.refused %}
<dt><bdi>{{ row.get('name', '') }}</bdi></dt><dd>{{ row.get('reason', '') }}</dd>{% endfor %}</dl></details>{% endif %}
"""


def said(change: Change) -> str:
    """Whether a change is shown."""
    return "gain" if change.better else "loss" if change.worse else "not shown"


def _html(page: Page) -> Markup:
    against = page.findings.against
    return render(TEMPLATE, a=against, said=said) if against else Markup("")


def _markdown(page: Page) -> str:
    against = page.findings.against
    if against is None:
        return ""
    rows = [[marks.text(c.row), marks.text(spoken(c.capability)), percent(c.then), percent(c.now), points(c.difference),
             said(c)] for c in against.changes]
    parts = [marks.bullets(against.sentences)]
    if against.before:
        parts.append(f"The earlier verdict was: {marks.text(against.before)}")
    parts.append(marks.table(["Candidate", "Kind of edit", "Then", "Now", "Change", "Shown"], rows))
    if against.refused:
        parts.append(marks.table(["Not compared", "Why"], [
            [marks.text(row.get("name", "")), marks.text(row.get("reason", ""))] for row in against.refused
        ]))
    return "\n\n".join(parts)


PLUGIN = Section("against", "Since the earlier project", "Changes", 105, _html, _markdown)
