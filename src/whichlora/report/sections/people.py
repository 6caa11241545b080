"""What people said, beside what metrics said, and the pictures on which they differ. Prints the stored summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import NOT_MEASURED, chance, figure, interval, percent, spoken

TRUST = {True: "may decide", False: "may not decide"}
SHOWN = 6

TEMPLATE = """
{{ m.sentences(sentences) }}
{% for title, heads, rows in tables %}<h3>{{ title }}</h3>
{% call m.grid(title) %}<thead><tr>
{% for head in heads %}<th scope="col">{{ head }}</th>{% endfor %}</tr></thead><tbody>
{% for row in rows %}<tr><th scope="row"><bdi>{{ row[0]|shorten(40) }}</bdi></th>
{% for cell in row[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</tbody>{% endcall %}
{% endfor %}
{% if differ %}<h3>Where people and metrics differ</h3><div class="shots">
{% for row in differ %}<figure>{{ m.shot(page, row['cell']) }}<figcaption>people: {{ row['people']|figure }} of 5
{% for note in row['notes'][:2] %}<br><q><bdi>{{ note|shorten(80) }}</bdi></q>{% endfor %}</figcaption></figure>
{% endfor %}</div>{% endif %}
"""

Table = tuple[str, list[str], list[list[str]]]


def _tables(people: Mapping[str, Any]) -> list[Table]:
    tables = [*_preferences(people), _trust(people), _rates(people), _extremes(people), _voters(people)]
    return [table for table in tables if table[2]]


def _preferences(people: Mapping[str, Any]) -> list[Table]:
    """Who is preferred, question by question."""
    tables: list[Table] = []
    for question in people["questions"].values():
        rows = [
            [row["name"], _against(row.get("against_base")), chance(row["p_best"]), str(row["votes"])]
            for row in question["candidates"]
        ]
        note = f" ({question['note']})" if question.get("note") else ""
        heads = ["Candidate", "Preferred to base, of decided votes", "Probability of being the best", "Votes"]
        tables.append((f"{question['words']}{note}", heads, rows))
    return tables


def _against(contrast: Mapping[str, float] | None) -> str:
    if contrast is None:
        return "–"
    return f"{percent(contrast['preferred'])} ({interval(contrast['preferred_low'], contrast['preferred_high'])})"


def _trust(people: Mapping[str, Any]) -> Table:
    """Which metrics people bear out."""
    rows = [
        [spoken(row["metric"]), _ranged(row["auc"]), _ranged(row["pairs"]), figure(row["tau_b"]["value"]),
         _therefore(row)]
        for row in people["metrics"]
    ]
    return ("Which metrics agree with people", ["Metric", "Tells good from bad (AUC; half is chance)",
            "Prefers what people prefer", "Kendall’s τ-b", "Therefore"], rows)


def _therefore(row: Mapping[str, Any]) -> str:
    return f"{TRUST[row['may_decide']]}: {row['why']}" if row["may_decide"] in TRUST else str(row["why"])


def _ranged(value: Mapping[str, Any]) -> str:
    if value["value"] is None:
        return NOT_MEASURED
    if value["low"] is None:
        return f"{percent(value['value'])} ({value['note']})"
    return f"{percent(value['value'])} ({interval(value['low'], value['high'])})"


def _rates(people: Mapping[str, Any]) -> Table:
    """Consistency rate by people, strengthened by the machine's verdicts."""
    rows = [
        [row["name"], f"{percent(row['value'])} ({interval(row['low'], row['high'])})",
         interval(row["alone"]["low"], row["alone"]["high"]), percent(row["machine"]), str(row["labels"])]
        for row in people["rates"] if row["value"] is not None
    ]
    return ("Same character and edit done, by people", ["Candidate", "With the metrics’ help", "From the ratings alone",
            "Metrics alone", "Rated pictures"], rows)


def _extremes(people: Mapping[str, Any]) -> Table:
    rows = [[row["name"], str(row["best"]), str(row["worst"]), str(row["shown"])] for row in people["extremes"]]
    return ("Best and worst of a line-up", ["Candidate", "Best", "Worst", "Shown"], rows)


def _voters(people: Mapping[str, Any]) -> Table:
    """Do voters agree with each other and with themselves?"""
    agreement = people["agreement"]
    rows = [
        [f"each other, {name} (α)", f"Krippendorff’s α {_alpha(agreement[key])}"]
        for key, name in (("identity", "identity"), ("edit", "edit"), ("pairs", "pairs"))
        if agreement[key]["value"] is not None
    ]
    rows += [
        [f"{rater}, with themselves", f"{percent(row['value'])} of {row['repeats']} repeated pairs"]
        for rater, row in agreement["self"].items() if row["value"] is not None
    ]
    return ("How much voters agree", ["With", "Agreement"], rows)


def _alpha(value: Mapping[str, Any]) -> str:
    if value["low"] is None:
        return figure(value["value"])
    return f"{figure(value['value'])} ({figure(value['low'])} to {figure(value['high'])})"


def _html(page: Page) -> Markup:
    people = page.given.people
    if not people:
        return Markup("")
    differ = [row for row in people["disagreements"] if page.known([row["cell"]])][:SHOWN]
    return render(TEMPLATE, page=page, sentences=people["sentences"], tables=_tables(people), differ=differ)


def _markdown(page: Page) -> str:
    people = page.given.people
    if not people:
        return ""
    parts = [marks.bullets(people["sentences"])]
    for title, heads, rows in _tables(people):
        parts += [f"### {marks.text(title)}", marks.table(heads, [[marks.text(cell) for cell in row] for row in rows])]
    return "\n\n".join(parts)


PLUGIN = Section("people", "What people said", "People", 170, _html, _markdown)
