"""Stacks and merges beside their parts, and routing as one option."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from whichlora.findings import Estimate
from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import percent, points

VERDICTS = {"better": "kept", "worse": "rejected", "open": "undecided"}

TEMPLATE = """
{% if stacks %}<p class="lead">Stacks were proposed where the measured LoRAs complement each other, and each is
compared with its parts on the same photographs. Interference is what a capability loses against the part that is
ahead at it.</p>
{% call m.grid('Stacks beside their parts') %}
<thead><tr>{% for head in heads %}<th scope="col">{{ head }}</th>{% endfor %}</tr></thead><tbody>
{% for line in table %}<tr><th scope="row"><bdi>{{ line[0] }}</bdi></th>{% for cell in line[1:] %}<td>{{ cell }}</td>
{% endfor %}</tr>{% endfor %}</tbody>{% endcall %}
{% for stack in stacks %}<details><summary><bdi>{{ stack.name }}</bdi>: {{ verdicts[stack.verdict] }}</summary>
{{ m.sentences(stack.sentences) }}</details>{% endfor %}{% endif %}
{% if overlaps %}<h3>Where the parts meet in weight space</h3>{{ m.sentences(overlaps) }}{% endif %}
{% if routing %}<h3>Routing: another set-up for every kind of edit</h3>{{ m.sentences(routing) }}{% endif %}
"""
HEADS = ["Stack", "Verdict", "Against its better part", "Capability", "Stack alone reaches", "Parts alone",
         "Interference"]


def _stacks(page: Page) -> Sequence[Mapping[str, Any]]:
    return page.given.more.get("combinations", {}).get("stacks", ())


def _overlaps(page: Page) -> list[str]:
    return [str(one["sentence"]) for one in page.given.more.get("combinations", {}).get("overlaps", ())]


def _routing(page: Page) -> Sequence[str]:
    return page.given.more.get("routing", {}).get("sentences", ())


def _table(stacks: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    rows: list[list[str]] = []
    for stack in stacks:
        for place, item in enumerate(stack["capabilities"]):
            first = place == 0
            alone = ", ".join(f"{part} {percent(rate)}" for part, rate in item["parts"].items())
            rows.append([
                stack["name"], VERDICTS.get(stack["verdict"], "") if first else "",
                points(_change(stack["against_better"])) if first else "", item["capability"], percent(item["rate"]),
                alone, points(_change(item["against_owner"])),
            ])
    return rows


def _change(value: Mapping[str, Any]) -> Estimate:
    return Estimate(value["value"], value["low"], value["high"])


def _html(page: Page) -> Markup:
    stacks, routing = _stacks(page), _routing(page)
    if not stacks and not routing:
        return Markup("")
    return render(TEMPLATE, stacks=stacks, table=_table(stacks), heads=HEADS, verdicts=VERDICTS, routing=routing,
                  overlaps=_overlaps(page))


def _markdown(page: Page) -> str:
    parts: list[str] = []
    stacks, routing = _stacks(page), _routing(page)
    if stacks:
        parts.append(marks.table(HEADS, [[marks.text(cell) for cell in row] for row in _table(stacks)]))
        parts += [marks.bullets(stack["sentences"]) for stack in stacks]
        parts += [marks.bullets(_overlaps(page))] if _overlaps(page) else []
    if routing:
        parts.append("### Routing\n\n" + marks.bullets(routing))
    return "\n\n".join(parts)


PLUGIN = Section("combinations", "Together: stacks, merges and routes", "Together", 226, _html, _markdown)
