"""Time and memory."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import gib, seconds

TEMPLATE = """
{% call m.grid('Time and memory by candidate', 'plain cost') %}<thead><tr><th scope="col">Candidate</th>
<th scope="col">A picture takes</th><th scope="col">Peak memory</th></tr></thead>
<tbody>{% for row in rows %}<tr><th scope="row"><bdi>{{ row.name }}</bdi></th>
<td>{{ row.seconds_per_image|seconds }} {{ tally(row.seconds_per_image, slowest) }}</td>
<td>{{ row.peak_memory_gib|gib }} {{ tally(row.peak_memory_gib, largest) }}</td></tr>{% endfor %}
</tbody>{% endcall %}
{% if device %}<p class="quiet">Measured on: {{ device|join('; ') }}.</p>{% endif %}
"""

TALLY = """{% macro tally(value, most) %}{% if value is not none and most %}<svg class="tally" viewBox="0 0 100 8"
preserveAspectRatio="none" aria-hidden="true"><rect class="rest" width="100" height="8" rx="1"/><rect
class="part plain" width="{{ '%.1f' % (100 * value / most) }}" height="8" rx="1"/></svg>{% endif %}{% endmacro %}"""


def _html(page: Page) -> Markup:
    rows = page.findings.candidates
    return render(
        TALLY + TEMPLATE, rows=rows, device=_devices(page),
        slowest=max((row.seconds_per_image or 0 for row in rows), default=0),
        largest=max((row.peak_memory_gib or 0 for row in rows), default=0),
    )


def _devices(page: Page) -> list[str]:
    """Devices named by the pictures themselves."""
    named = (made.facts.get("device") for made in page.given.generations.values())
    return list(dict.fromkeys(str(name) for name in named if name))


def _markdown(page: Page) -> str:
    rows = [[marks.text(row.name), seconds(row.seconds_per_image), gib(row.peak_memory_gib)]
            for row in page.findings.candidates]
    device = _devices(page)
    note = f"\n\nMeasured on: {marks.text('; '.join(device))}." if device else ""
    return marks.table(["Candidate", "A picture takes", "Peak memory"], rows) + note


PLUGIN = Section("cost", "Time and memory", "", 240, _html, _markdown, "half")
