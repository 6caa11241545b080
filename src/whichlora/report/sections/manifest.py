"""Settings, versions and hashes, with the command that repeats the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render

SHOWN_ELSEWHERE = {"survey", "training", "command", "analysis", "notes"}
"""'analysis' holds thousands of figures behind the sentences; they stand in findings.json. Notes are among the
limits."""
TOP = {"base.id": "base", "base.fingerprint": "base fingerprint", "base_fingerprint": "base fingerprint"}
"""Keys of the manifest under another name: what is stored twice is printed once."""

TEMPLATE = """
{% if command %}<p class="lead">This repeats the run:</p>
<p class="command"><code id="command">{{ command }}</code> <button type="button" id="copy"
data-copy="command">Copy</button></p>{% endif %}
<dl class="manifest">{% for key, value in rows %}<dt>{{ key }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
<p class="quiet">Every figure that a sentence uses stands in findings.json under manifest.analysis.
Beside this page: <a href="matrix.csv">matrix.csv</a>, <a href="findings.json">findings.json</a>{%
for plot in plots %}, <a href="{{ plot }}">{{ plot.rsplit('/', 1)[-1] }}</a>{% endfor %}.</p>
"""


def flat(manifest: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, value in words)."""
    rows: list[tuple[str, str]] = []
    for key, value in manifest.items():
        name = f"{prefix}{key}"
        if name in SHOWN_ELSEWHERE or value is None or value == {} or value == []:
            continue
        if isinstance(value, Mapping) and value:
            rows += flat(value, f"{name}.")
        elif isinstance(value, str | int | float):
            rows.append((name, str(value)))
        else:
            rows.append((name, json.dumps(value, ensure_ascii=False, default=str)))
    return rows


def _command(page: Page) -> str:
    command = page.findings.manifest.get("command", "")
    return " ".join(map(str, command)) if isinstance(command, list | tuple) else str(command)


def _rows(page: Page) -> list[tuple[str, str]]:
    base = page.plan.base
    own = [("base", page.findings.base), ("base fingerprint", base.fingerprint), ("cells", str(len(page.plan.cells)))]
    named = [(TOP.get(key, key), value) for key, value in flat(page.findings.manifest)]
    return list(dict.fromkeys([*own, *((_told(key), value) for key, value in named)]))


def _told(key: str) -> str:
    """'fingerprint of angles' for 'candidates.angles'."""
    return f"fingerprint of {key.removeprefix('candidates.')}" if key.startswith("candidates.") else key


def _html(page: Page) -> Markup:
    from whichlora.report.plots import PLOTS

    return render(TEMPLATE, command=_command(page), rows=_rows(page),
                  plots=[f"assets/plots/{name}.svg" for name in PLOTS])


def _markdown(page: Page) -> str:
    rows = [[marks.text(key), marks.text(value)] for key, value in _rows(page)]
    command = _command(page)
    lead = f"This repeats the run: {marks.code(command)}\n\n" if command else ""
    return lead + marks.table(["Setting", "Value"], rows)


PLUGIN = Section("manifest", "Settings", "Settings", 300, _html, _markdown)
