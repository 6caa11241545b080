"""Masks drawn by a segmentation LoRA beside the default masks: kept only where they are shown to help."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render


def _sentences(page: Page) -> list[str]:
    return list(page.given.more.get("masks", {}).get("sentences", ()))


def _html(page: Page) -> Markup:
    sentences = _sentences(page)
    return render("{{ m.sentences(items) }}", items=sentences) if sentences else Markup("")


def _markdown(page: Page) -> str:
    return marks.bullets(_sentences(page))


PLUGIN = Section("masks", "Masks drawn by a LoRA", "", 232, _html, _markdown, "half")
