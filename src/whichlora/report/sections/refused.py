"""Files that were refused, with the reason."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render

TEMPLATE = """
<p class="lead">These are not in the matrix, because a figure for them would mean nothing.</p>
<dl class="refused">{% for item in refused %}<dt><bdi>{{ item.get('name', 'unnamed') }}</bdi></dt>
<dd>{{ item.get('reason', 'no reason was stored') }}</dd>{% endfor %}</dl>
"""


def _html(page: Page) -> Markup:
    refused = page.findings.refused
    return render(TEMPLATE, refused=refused) if refused else Markup("")


def _markdown(page: Page) -> str:
    refused = page.findings.refused
    rows = [[marks.text(item.get("name", "unnamed")), marks.text(item.get("reason", "no reason was stored"))]
            for item in refused]
    return marks.table(["File", "Why it was refused"], rows) if refused else ""


PLUGIN = Section("refused", "Refused files", "", 250, _html, _markdown, "half")
