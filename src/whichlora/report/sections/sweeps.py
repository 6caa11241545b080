"""Weight sweeps: edit success against identity over the weight, the pick, and what it is worth elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.curves import curves
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import percent

TEMPLATE = """
<p class="lead">A heavier weight does the edit more surely and keeps the person less surely. The weight is picked on
half of the photographs and judged on the others.</p>
{% for row in rows %}
<article><h3><bdi>{{ row.name }}</bdi></h3>
{{ m.sentences(row.sentences) }}
<svg class="scatter" viewBox="0 0 {{ row.s.width }} {{ row.s.height }}" role="img"
aria-label="Edit done, identity kept and both, over the weight of {{ row.name }}; the figures are in the table below">
<rect class="band" x="{{ row.s.band[0] }}" y="{{ row.s.top }}" width="{{ '%.1f' % (row.s.band[1] - row.s.band[0]) }}"
height="{{ row.s.bottom - row.s.top }}"/>
{% for tick in row.s.y_ticks %}<line class="grid" x1="{{ row.s.left }}" x2="{{ row.s.right }}" y1="{{ tick.at }}"
y2="{{ tick.at }}"/><text class="tick" x="{{ row.s.left - 6 }}" y="{{ tick.at + 4 }}" text-anchor="end">{{ tick.label
}}</text>{% endfor %}
{% for tick in row.s.x_ticks %}<text class="tick" x="{{ tick.at }}" y="{{ row.s.bottom + 16 }}"
text-anchor="middle">{{ tick.label }}</text>{% endfor %}
{% if row.s.base %}<line class="front" x1="{{ row.s.left }}" x2="{{ row.s.right }}" y1="{{ row.s.base.y }}"
y2="{{ row.s.base.y }}"/><text class="tick" x="{{ row.s.left + 4 }}" y="{{ row.s.base.y - 4 }}">{{ row.s.base.label
}}</text>{% endif %}
<line class="pick" x1="{{ row.s.pick }}" x2="{{ row.s.pick }}" y1="{{ row.s.top }}" y2="{{ row.s.bottom }}"/>
{% for line in row.s.lines %}<polyline class="curve {{ line.kind }}" points="{{ line.points }}"/>
<text class="label {{ line.kind }}" x="{{ row.s.right + 6 }}" y="{{ line.label_y }}">{{ line.label }}</text>{% endfor %}
{% for dot in row.s.dots %}<circle class="knot" cx="{{ dot.at }}" cy="{{ dot.y }}" r="4"><title>{{ dot.label
}}</title></circle>{% endfor %}
<text class="axis" x="{{ row.s.right }}" y="{{ row.s.height - 6 }}" text-anchor="end">weight →</text>
</svg>
<details><summary>The same as a table</summary>{% call m.grid('Rates by weight of ' ~ row.name) %}
<thead><tr>{% for head in heads
%}<th scope="col">{{ head }}</th>{% endfor %}</tr></thead><tbody>{% for line in row.table %}<tr>
<th scope="row">{{ line[0] }}</th>{% for cell
in line[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</tbody>{% endcall %}</details></article>
{% endfor %}
"""
HEADS = ["Weight", "Both", "Edit done", "Identity kept", "Pictures"]


def _rows(page: Page) -> list[dict[str, Any]]:
    stored: Mapping[str, Any] = page.given.more.get("sweeps", {})
    found: list[dict[str, Any]] = []
    for name, sweep in stored.items():
        if not sweep.get("points"):
            continue
        base = sweep.get("base")
        found.append({
            "name": name, "sentences": sweep["sentences"], "table": _table(sweep),
            "s": curves(sweep["points"], sweep["optimum"], sweep["own_weight"], base["rate"] if base else None),
        })
    return found


def _table(sweep: Mapping[str, Any]) -> list[list[str]]:
    return [[f"{point['weight']:g}", percent(point["rate"]), percent(point["edit"]), percent(point["identity"]),
             str(point["cells"])] for point in sweep["points"]]


def _html(page: Page) -> Markup:
    rows = _rows(page)
    return render(TEMPLATE, rows=rows, heads=HEADS) if rows else Markup("")


def _markdown(page: Page) -> str:
    return "\n\n".join(
        f"### {marks.text(row['name'])}\n\n{marks.bullets(row['sentences'])}\n\n{marks.table(HEADS, row['table'])}"
        for row in _rows(page)
    )


PLUGIN = Section("sweeps", "How strong should it be? Weights of one LoRA", "Weights", 224, _html, _markdown)
