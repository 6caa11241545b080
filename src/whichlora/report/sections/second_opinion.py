"""What a vision-language model preferred, beside what was measured. A second opinion; prints the stored summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import NOT_MEASURED, interval, percent

HEADS = ["Candidate", "Asked about", "Preferred to base (ties count half)", "Wins", "Base wins", "Ties",
         "of these changed with the order", "No answer"]
WORDS = {"identity": "the character", "edit": "the edit", "defects": "defects"}

TEMPLATE = """
{{ m.sentences(sentences) }}
{% if rows %}{% call m.grid("A judge's answers") %}<thead><tr>
{% for head in heads %}<th scope="col">{{ head }}</th>{% endfor %}</tr></thead><tbody>
{% for row in rows %}<tr><th scope="row"><bdi>{{ row[0]|shorten(40) }}</bdi></th>
{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</tbody>{% endcall %}{% endif %}
"""


def _rows(found: Mapping[str, Any]) -> list[list[str]]:
    return [
        [row["name"], WORDS[row["question"]], _share(row), str(row["preferred"]), str(row["base_preferred"]),
         str(row["ties"]), str(row["changed_with_order"]), str(row["unscored"])]
        for row in found["rows"]
    ]


def _share(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return NOT_MEASURED
    text = f"{percent(row['value'])} ({interval(row['low'], row['high'])})"
    return f"{text}; {row['note']}" if row["note"] else text


def _html(page: Page) -> Markup:
    found = page.given.more.get("judge")
    if not found:
        return Markup("")
    return render(TEMPLATE, sentences=found["sentences"], heads=HEADS, rows=_rows(found))


def _markdown(page: Page) -> str:
    found = page.given.more.get("judge")
    if not found:
        return ""
    rows = [[marks.text(cell) for cell in row] for row in _rows(found)]
    return "\n\n".join([marks.bullets(found["sentences"]), *([marks.table(HEADS, rows)] if rows else [])])


PLUGIN = Section("second_opinion", "A second opinion by a model", "", 175, _html, _markdown)
