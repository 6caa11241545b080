"""The flip card: what would change the answer, and the next step."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render

TEMPLATE = """
{% if chosen.flip %}{{ m.sentences(chosen.flip) }}{% else %}<p>Nothing that was tried would change it.</p>
{% endif %}
{% if chosen.next_step %}<p class="next"><b>Next step.</b> {{ chosen.next_step }}</p>{% endif %}
"""


def _html(page: Page) -> Markup:
    return render(TEMPLATE, chosen=page.findings.recommendation)


def _markdown(page: Page) -> str:
    chosen = page.findings.recommendation
    body = marks.bullets(chosen.flip) or "Nothing that was tried would change it."
    return body + (f"\n\n**Next step.** {marks.text(chosen.next_step)}" if chosen.next_step else "")


PLUGIN = Section("flip", "What would change the answer", "What if", 130, _html, _markdown, "half")
