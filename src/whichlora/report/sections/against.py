"""What changed against an earlier project, pair by pair."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.findings import Against, Change
from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import NOT_MEASURED, percent, shift

TEMPLATE = """
{{ m.sentences(a.sentences) }}
{% if a.before %}<p class="quiet">The earlier verdict was: {{ a.before }}</p>{% endif %}
{% if rows %}<div class="scroll" tabindex="0" role="region" aria-label="Changes, scrolls sideways"><table
class="plain changes"><caption class="unseen">Change of each rate since the earlier project, in points, with its 95%
range for new photographs</caption><thead><tr><th scope="col">Candidate</th><th scope="col">Then → now</th>
{% for name in names %}<th scope="col">{{ name|spoken }}</th>{% endfor %}</tr></thead>
<tbody>{% for row, cells in rows %}<tr><th scope="row"><bdi>{{ row }}</bdi></th>{% for name in names %}
{% set c = cells.get(name) %}{% if loop.first %}<td>{% if c %}{{ c.then|percent }} → {{ c.now|percent }}{% endif %}</td>
{% endif %}<td class="{{ kind(c) }}">{% if c %}{{ c.difference|shift }}{% if kind(c) %}
<span class="unseen">, a shown {{ said(c) }}</span>{% endif %}{% else %}{{ NOT_MEASURED }}{% endif %}</td>{% endfor %}
</tr>{% endfor %}</tbody></table></div>
<p class="quiet">Points of change with their 95% range for new photographs; coloured where a gain or a loss is shown.
Rows whose pictures are the very same files are left out.</p>{% endif %}
{% if a.refused %}<details><summary>Rows that are not compared</summary><dl class="refused">{% for row in a.refused %}
<dt><bdi>{{ row.get('name', '') }}</bdi></dt><dd>{{ row.get('reason', '') }}</dd>{% endfor %}</dl></details>{% endif %}
"""


def said(change: Change | None) -> str:
    """'gain' or 'loss' where one is shown, else ''."""
    return "" if change is None else "gain" if change.better else "loss" if change.worse else ""


def kind(change: Change | None) -> str:
    """How a cell is coloured."""
    return {"gain": "better", "loss": "worse"}.get(said(change), "")


def _rows(against: Against) -> tuple[list[str], list[tuple[str, dict[str, Change]]]]:
    """Capabilities, and by row what changed at each; rows with the very same pictures are left out."""
    names = list(dict.fromkeys(change.capability for change in against.changes))
    rows: dict[str, dict[str, Change]] = {}
    for change in against.changes:
        if change.row not in against.same:
            rows.setdefault(change.row, {})[change.capability] = change
    return names, list(rows.items())


def _html(page: Page) -> Markup:
    against = page.findings.against
    if against is None:
        return Markup("")
    names, rows = _rows(against)
    return render(TEMPLATE, a=against, said=said, kind=kind, names=names, rows=rows)


def _markdown(page: Page) -> str:
    against = page.findings.against
    if against is None:
        return ""
    names, rows = _rows(against)
    parts = [marks.bullets(against.sentences)]
    if against.before:
        parts.append(f"The earlier verdict was: {marks.text(against.before)}")
    if rows:
        lines = []
        for row, cells in rows:
            whole = cells.get("overall")
            ends = f"{percent(whole.then)} → {percent(whole.now)}" if whole else NOT_MEASURED
            lines.append([marks.text(row), ends, *(_cell(cells.get(name)) for name in names)])
        parts.append(marks.table(["Candidate", "Then → now", *(marks.text(n) for n in names)], lines))
        parts.append("Points of change with their 95% range for new photographs; ▲ a shown gain, ▼ a shown loss.")
    if against.refused:
        parts.append(marks.table(["Not compared", "Why"], [
            [marks.text(row.get("name", "")), marks.text(row.get("reason", ""))] for row in against.refused
        ]))
    return "\n\n".join(parts)


def _cell(change: Change | None) -> str:
    if change is None:
        return NOT_MEASURED
    return shift(change.difference) + {"gain": " ▲", "loss": " ▼"}.get(said(change), "")


PLUGIN = Section("against", "Since the earlier project", "Changes", 102, _html, _markdown)
