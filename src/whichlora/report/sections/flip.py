"""The flip card: what would change the answer, and the next step."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render

FIRM = ("The answer is firm for the target and limits as they are set and the rates as they were measured. What would "
        "change it, each on its own:")
OPEN = "The answer is open. What would settle or turn it, each on its own:"

TEMPLATE = """
{% if chosen.flip %}<p class="lead">{{ lead }}</p>
{{ m.sentences(chosen.flip) }}{% else %}<p>Nothing that was tried would change it.</p>
{% endif %}
{% if chosen.next_step %}<p class="next"><b>Next step.</b> {{ chosen.next_step }}</p>{% endif %}
"""


def _html(page: Page) -> Markup:
    chosen = page.findings.recommendation
    return render(TEMPLATE, chosen=chosen, lead=FIRM if chosen.firm else OPEN)


def _markdown(page: Page) -> str:
    chosen = page.findings.recommendation
    body = "Nothing that was tried would change it."
    if chosen.flip:
        body = f"{FIRM if chosen.firm else OPEN}\n\n{marks.bullets(chosen.flip)}"
    return body + (f"\n\n**Next step.** {marks.text(chosen.next_step)}" if chosen.next_step else "")


PLUGIN = Section("flip", "What would change the answer", "What if", 130, _html, _markdown, "half")
