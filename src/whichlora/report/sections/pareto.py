"""Identity against edit: who trades one for the other. Dot size is seconds a picture."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.findings import CandidateFacts
from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.scatter import scatter
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import percent, seconds

TEMPLATE = """
<p class="lead">Up is “still the same person”, right is “did what was asked”. The goal is the top right corner.
A larger dot takes longer.{% if s.front %} The
dashed line joins those that none surpasses at both.{% endif %}</p>
<p class="key dots">{% for kind, said in legend %}<span class="nobreak"><svg viewBox="0 0 12 12"
aria-hidden="true"><circle class="point {{ kind }}" cx="6" cy="6" r="5"/></svg> {{ said }}</span>{% endfor %}</p>
<svg class="scatter" viewBox="0 0 {{ s.width }} {{ s.height }}" role="img"
aria-label="Edit done against identity kept, one dot per candidate; the figures are in the table below">
{% for tick in s.x_ticks %}<line class="grid" x1="{{ tick.at }}" x2="{{ tick.at }}" y1="{{ s.top }}"
y2="{{ s.bottom }}"/><text class="tick" x="{{ tick.at }}" y="{{ s.bottom + 16 }}" text-anchor="middle">{{
tick.label }}</text>{% endfor %}
{% for tick in s.y_ticks %}<line class="grid" x1="{{ s.left }}" x2="{{ s.right }}" y1="{{ tick.at }}"
y2="{{ tick.at }}"/><text class="tick" x="{{ s.left - 6 }}" y="{{ tick.at + 4 }}" text-anchor="end">{{ tick.label
}}</text>{% endfor %}
{% if s.front %}<polyline class="front" points="{{ s.front }}"/>{% endif %}
{% for dot in s.drawn %}<circle class="point {{ dot.kind }}" cx="{{ dot.x }}" cy="{{ dot.y }}"
r="{{ dot.r }}"><title>{{ dot.name }}: edit done {{ dot.edit|percent }}, identity kept {{ dot.identity|percent }},
{{ dot.seconds|seconds }}</title></circle>{% endfor %}
{% for dot in s.dots %}{% if dot.leader %}
<line class="leader {{ dot.kind }}" x1="{{ dot.x }}" y1="{{ dot.y }}" x2="{{ dot.label_x }}"
y2="{{ dot.label_y - 4 }}"/>{% endif
%}<text class="label {{ dot.kind }}" x="{{ dot.label_x }}" y="{{ dot.label_y }}" text-anchor="{{ dot.anchor }}">{{
dot.label }}</text>{% endfor %}
<text class="axis" x="{{ s.right }}" y="{{ s.height - 4 }}" text-anchor="end">edit done →</text>
<text class="axis" x="4" y="12">↑ identity kept</text>
</svg>
<details><summary>The same as a table</summary>
{% call m.grid("Edit done and identity kept, shares of a candidate's pictures") %}
<thead><tr><th scope="col">Candidate</th><th scope="col">Edit done</th>
<th scope="col">Identity kept</th><th scope="col">Kept, where the edit was done</th>
<th scope="col">Nothing changed</th></tr></thead>
<tbody>{% for row in rows %}<tr><th scope="row"><bdi>{{ row.name }}</bdi></th><td>{{ row.p_edit|percent }}</td>
<td>{{ row.p_identity|percent }}</td><td>{{ given(row) }}</td>
<td>{{ row.no_op_rate|percent }}</td></tr>{% endfor %}</tbody>{% endcall %}
</details>
"""


def _html(page: Page) -> Markup:
    drawn = scatter(page.findings.candidates, page.recommended)
    return render(TEMPLATE, s=drawn, rows=page.findings.candidates, given=given,
                  legend=legend(page)) if drawn.dots else Markup("")


def legend(page: Page) -> list[tuple[str, str]]:
    """(kind of dot, what it stands for), of those that are drawn."""
    chosen = "recommended" if page.findings.recommendation.firm else "leading"
    words = {"base": "base", "chosen": chosen, "candidate": "other candidates", "control": "control rows"}
    there = {"chosen" if row.name in page.recommended else row.role for row in page.findings.candidates}
    return [(kind, said) for kind, said in words.items() if kind in there]


def given(row: CandidateFacts) -> str:
    """Share of kept identity among edits that were done; a row that did none has no such share."""
    return "no edit done" if row.p_edit == 0 else percent(row.p_identity_given_edit)


def _markdown(page: Page) -> str:
    rows = [[marks.text(row.name), percent(row.p_edit), percent(row.p_identity), given(row),
             percent(row.no_op_rate), seconds(row.seconds_per_image)] for row in page.findings.candidates]
    heads = ["Candidate", "Edit done", "Identity kept", "Kept, where the edit was done", "Nothing changed",
             "Time per picture"]
    plot = ""
    if not page.pictures.empty:
        plot = marks.image("Identity kept against edit done, one dot per candidate",
                           page.pictures.address("assets/plots/pareto.png")) + "\n\n"
    return plot + marks.table(heads, rows)


PLUGIN = Section("pareto", "Does it edit, and does it keep the person?", "Trade-off", 110, _html, _markdown, "half")
