"""Chains: one edit on the result of another, with the loss of each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render

TEMPLATE = """
<p class="lead">The second step edits the first one's picture. The first edit is read once more in the last picture.</p>
{% for name, sentences in chains %}<h3><bdi>{{ name }}</bdi></h3>{{ m.sentences(sentences) }}{% endfor %}
"""


def _chains(page: Page) -> list[tuple[str, list[str]]]:
    stored: Mapping[str, Any] = page.given.more.get("chains", {})
    return [(name, list(chain["sentences"])) for name, chain in stored.items() if chain.get("sentences")]


def _html(page: Page) -> Markup:
    chains = _chains(page)
    return render(TEMPLATE, chains=chains) if chains else Markup("")


def _markdown(page: Page) -> str:
    return "\n\n".join(f"### {marks.text(name)}\n\n{marks.bullets(sentences)}" for name, sentences in _chains(page))


PLUGIN = Section("chains", "One after the other: chained edits", "", 228, _html, _markdown, "half")
