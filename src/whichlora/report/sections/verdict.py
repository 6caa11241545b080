"""The verdict: one sentence, its confidence word, and why."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import percent

DECISIONS = {
    "existing": "Use an existing LoRA", "multi": "Use several LoRAs together", "custom": "Train your own LoRA",
    "hybrid": "Use existing LoRAs and train the rest", "undecided": "Not decided yet",
}
"""Headline of each decision."""

FIRM = "At this target it stays, however the open marks (?) turn out."
PROVISIONAL = "It could still change; what would settle it stands below."

TEMPLATE = """
<p class="eyebrow">{{ headline }} <span class="pill {{ 'firm' if chosen.firm else 'provisional' }}">{{ word
}}</span>
<span class="quiet">{{ why }}</span></p>
<h1>{{ chosen.sentence }}</h1>
<div class="facts"><span>{{ f.photos|count('photograph') }}</span><span>target {{ f.target|percent }}</span><span
class="base">base <bdi>{{ f.base|shorten(60) }}</bdi></span>{% if chosen.rationale %}<details
class="why"><summary>Why</summary>{{ m.sentences(chosen.rationale) }}</details>{% endif %}</div>
"""


ONE_PER_KIND = "Use several set-ups, one per kind of edit"
"""Headline of 'multi' where nothing is stacked."""


def headline(page: Page) -> str:
    """The decision in a few words, with its leaning while undecided."""
    chosen = page.findings.recommendation
    if "multi" in (chosen.decision, chosen.provisional) and len(set(chosen.routes.values())) > 1:
        return ONE_PER_KIND if chosen.decision == "multi" else (
            f"{DECISIONS['undecided']}; leaning to: {ONE_PER_KIND[0].lower()}{ONE_PER_KIND[1:]}")
    if chosen.decision == "existing" and page.base and page.recommended == [page.base.name]:
        return "No LoRA is needed"
    if chosen.decision == "undecided" and chosen.provisional and chosen.provisional != "undecided":
        lean = DECISIONS[chosen.provisional]
        return f"{DECISIONS['undecided']}; leaning to: {lean[0].lower()}{lean[1:]}"
    return DECISIONS[chosen.decision]


def _html(page: Page) -> Markup:
    chosen = page.findings.recommendation
    return render(TEMPLATE, f=page.findings, chosen=chosen, headline=headline(page), word=_word(page),
                  why=FIRM if chosen.firm else PROVISIONAL)


def _word(page: Page) -> str:
    return "firm" if page.findings.recommendation.firm else "provisional"


def _markdown(page: Page) -> str:
    chosen, findings = page.findings.recommendation, page.findings
    lines = [f"**{marks.text(chosen.sentence)}**", "",
             f"{marks.text(headline(page))} (**{_word(page)}**). {FIRM if chosen.firm else PROVISIONAL}", "",
             f"Base model: {marks.text(findings.base)}. Source photographs: {findings.photos}. "
             f"Target: {percent(findings.target)} consistent pictures. "
             f"Needed: {marks.text(', '.join(findings.must_have) or 'nothing named')}."]
    if chosen.rationale:
        lines += ["", marks.bullets(chosen.rationale)]
    return "\n".join(lines)


PLUGIN = Section("verdict", "Verdict", "", 10, _html, _markdown)
