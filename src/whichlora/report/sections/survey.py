"""Survey findings and training approaches learned from model cards, when the manifest carries them.

Reads manifest['survey'] (a list of entries, or {'entries': [...]}) and manifest['training'] (a list of sentences).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import shorten

COLUMNS = (("verdict", "Fits the base"), ("list", "Worth testing"), ("relevance", "Relevance"),
           ("training", "How it was trained"), ("requires", "Needs"), ("licence", "Licence"))

TEMPLATE = """
{% if entries %}{% call m.grid('Survey', 'plain survey') %}
<thead><tr><th scope="col">LoRA</th>{% for _, head in columns %}<th scope="col">{{ head
}}</th>{% endfor %}</tr></thead>
<tbody>{% for name, cells in entries %}<tr><th scope="row"><bdi>{{ name }}</bdi></th>{% for cell in cells %}
<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</tbody>{% endcall %}{% endif %}
{% if training %}<h3>Training approaches</h3>{{ m.sentences(training) }}{% endif %}
"""


def _entries(page: Page) -> list[tuple[str, list[str]]]:
    stored = page.findings.manifest.get("survey") or []
    rows = stored.get("entries", []) if isinstance(stored, Mapping) else stored
    return [(_name(row), [shorten(_plain(row.get(key)), 160) for key, _ in COLUMNS])
            for row in rows if isinstance(row, Mapping)]


def _name(row: Mapping[str, Any]) -> str:
    parts = [_plain(row.get("repo_id")), _plain(row.get("file"))]
    return ": ".join(part for part in parts if part) or _plain(row.get("name")) or "unnamed"


def _plain(value: Any) -> str:
    """Any stored value as a few words."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def _training(page: Page) -> list[str]:
    stored = page.findings.manifest.get("training") or []
    items = [stored] if isinstance(stored, str | Mapping) else list(stored)
    return [text for text in map(_plain, items) if text]


def _html(page: Page) -> Markup:
    entries, training = _entries(page), _training(page)
    return render(TEMPLATE, entries=entries, training=training, columns=COLUMNS) if entries or training else Markup("")


def _markdown(page: Page) -> str:
    entries, training = _entries(page), _training(page)
    parts: list[str] = []
    if entries:
        heads = ["LoRA", *(head for _, head in COLUMNS)]
        parts.append(marks.table(heads, [[marks.text(name), *map(marks.text, cells)] for name, cells in entries]))
    if training:
        parts.append("### Training approaches\n\n" + marks.bullets(training))
    return "\n\n".join(parts)


PLUGIN = Section("survey", "What the survey found", "", 270, _html, _markdown)
