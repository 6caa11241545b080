"""Known limits of the measurement, and of the recognisers that judged identity."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.vision.limits import sentences


def _sentences(page: Page) -> tuple[str, ...]:
    known = sentences(page.plan.subject, page.plan.identity_packs)
    return tuple(dict.fromkeys((*page.findings.limits, *page.plan.notes, *known)))


def _html(page: Page) -> Markup:
    return render("{{ m.sentences(items) }}", items=_sentences(page)) if _sentences(page) else Markup("")


def _markdown(page: Page) -> str:
    return marks.bullets(_sentences(page))


PLUGIN = Section("limits", "What this report cannot tell you", "Limits", 260, _html, _markdown, "half")
