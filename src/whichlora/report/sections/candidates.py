"""Strengths and weaknesses of every row, with its best and worst pictures and what its card claims."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.findings import CandidateFacts
from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import chance, estimate, interval

SHOWN = 3

TEMPLATE = """
{% for row in rows %}
<article class="candidate" id="candidate-{{ loop.index0 }}">
<header><h3><bdi>{{ row.name }}</bdi>{% if row.name in page.recommended %} <span class="tag">{{ 'recommended' if
firm else 'leading' }}</span>{% endif %}</h3>
<p class="quiet">Overall {{ row.ccr|estimate }}{% if row.ccr_worst_case is not none and row.ccr_worst_case !=
row.ccr_best_case %}; {{ row.ccr_worst_case|interval(row.ccr_best_case) }} if everything unscored had failed or
passed{% endif %}{% if row.p_best is not none %}. Probability of the highest rate: {{ row.p_best|chance }}{% endif %}
{% if row.rank_low is not none %}. {{ rank(row) }}{% endif %}
{% if row.ccr.note %}. {{ row.ccr.note }}{% endif %}</p></header>
<div class="two"><div>
{% if row.strengths %}<h4>Strengths</h4><ul class="pros">{% for item in row.strengths %}<li>{{ item }}</li>
{% endfor %}</ul>{% endif %}
{% if row.weaknesses %}<h4>{{ 'Limits of the base model' if row.role == 'base' else 'Weaknesses' }}</h4>
<ul class="cons">{% for item in row.weaknesses %}<li>{{ item }}</li>{% endfor %}</ul>{% endif %}
{% if not row.strengths and not row.weaknesses %}<p class="quiet">Nothing that stands out was measured.</p>
{% endif %}
{% if row.card %}<details class="card"><summary>What its card claims</summary>
<blockquote>{{ row.card|card }}</blockquote></details>{% endif %}
</div><div class="ends">
{% for label, cells in (('Best', page.known(row.best_cells)[:shown]), ('Worst',
page.known(row.worst_cells)[:shown])) %}{% if cells %}<div><h4>{{ label }}</h4><div class="shots small">{% for
cell in cells %}{{ m.shot(page, cell) }}{% endfor %}</div></div>{% endif %}{% endfor %}
</div></div>
</article>
{% endfor %}
"""


def _rows(page: Page) -> list[CandidateFacts]:
    return [row for row in page.findings.candidates if row.role != "control"]


def rank_words(row: CandidateFacts) -> str:
    """Ranks that 95 % of the draws leave possible."""
    low, high = row.rank_low, row.rank_high
    return f"Likely rank: {low}" if low == high else f"Likely rank: {low} to {high}"


def _html(page: Page) -> Markup:
    firm = page.findings.recommendation.firm
    return render(TEMPLATE, page=page, rows=_rows(page), shown=SHOWN, rank=rank_words, firm=firm)


def _markdown(page: Page) -> str:
    return "\n\n".join(_one(page, row) for row in _rows(page))


def _one(page: Page, row: CandidateFacts) -> str:
    parts = [f"### {marks.text(row.name)}", f"Overall: {estimate(row.ccr)}."]
    if row.ccr_worst_case is not None and row.ccr_worst_case != row.ccr_best_case:
        parts[-1] += f" {interval(row.ccr_worst_case, row.ccr_best_case)} if everything unscored had failed or passed."
    if row.p_best is not None:
        parts[-1] += f" Probability of the highest rate: {chance(row.p_best)}."
    if row.rank_low is not None:
        parts[-1] += f" {rank_words(row)}."
    if row.ccr.note:
        parts[-1] += f" {marks.text(row.ccr.note)}."
    if row.strengths:
        parts += ["Strengths:", marks.bullets(row.strengths)]
    if row.weaknesses:
        parts += ["Limits of the base model:" if row.role == "base" else "Weaknesses:", marks.bullets(row.weaknesses)]
    if row.card:
        parts.append(f"Its card claims: {marks.text(row.card)}")
    if not page.pictures.empty:
        for label, cells in (("Best", row.best_cells), ("Worst", row.worst_cells)):
            shown = [_picture(page, cell) for cell in page.known(cells)[:SHOWN]]
            if any(shown):
                parts.append(f"{label}: " + " ".join(filter(None, shown)))
    return "\n\n".join(parts)


def _picture(page: Page, cell: str) -> str:
    made = page.generation(cell)
    shown = page.pictures.image(made.image if made else None)
    return marks.image(page.caption(cell), page.pictures.address(shown.thumb)) if shown.url else ""


PLUGIN = Section("candidates", "One by one: strengths and weaknesses", "One by one", 220, _html, _markdown)
