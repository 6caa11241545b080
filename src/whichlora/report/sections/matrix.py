"""The comparison matrix: candidates × capabilities, with intervals, coloured only where a row differs from base."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.findings import CandidateFacts, CapabilityFact, Estimate, State
from whichlora.report import marks
from whichlora.report.choose import strip
from whichlora.report.glance import glance
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import (
    NOT_MEASURED,
    STATE_MARKS,
    STATE_WORDS,
    count,
    gib,
    interval,
    percent,
    seconds,
    spoken,
)

TEMPLATE = """
<div class="scroll" tabindex="0" role="region" aria-label="Comparison matrix, scrolls sideways">
<table class="matrix" id="matrix-table">
<caption class="unseen">Share of pictures in which the edit was done and the person kept, by candidate and
capability. Base first, then candidates from most to least consistent. Target: {{ f.target|percent }}.</caption>
<thead><tr>
<th scope="col" class="who">Candidate</th>
{{ head('Overall', '') }}
{% for name in page.capabilities %}{{ head(name|spoken, WHOLE_WORDS.get(name, ''), name in f.must_have) }}{% endfor %}
{{ head('Time', 'per picture') }}
{{ head('Memory', 'peak') }}
{% if has_truth %}<th scope="col" class="truth">Truth<span class="unit">decides nothing</span></th>{% endif %}
</tr></thead>
<tbody>
{% for row in f.candidates %}
<tr class="{{ row.role }}{{ ' chosen' if row.name in page.recommended }}">
<th scope="row" class="who">
<button type="button" data-candidate="{{ place(row.name) }}"><bdi title="{{ row.name }}">
{{- row.name|shorten(60) }}</bdi></button>
{% if row.name in page.recommended %}<span class="tag">{{ word }}</span>
{% elif row.screened_out is not none %}<span class="tag plain">screened out after {{ row.screened_out }}
{{ 'picture' if row.screened_out == 1 else 'pictures' }}</span>
{% elif row.role != 'candidate' %}<span class="tag plain">{{ 'no LoRA' if row.role == 'base' else 'control' }}</span>
{% endif %}
</th>
{{ cell(row.name, row.ccr, '', none) }}
{% for name in page.capabilities %}
{% set fact = row.capabilities.get(name) %}
{{ cell(row.name, fact.rate if fact else none, name, fact) }}
{% endfor %}
{{ number(row.seconds_per_image, row.seconds_per_image|seconds, row.budget.get('time')) }}
{{ number(row.peak_memory_gib, row.peak_memory_gib|gib, row.budget.get('memory')) }}
{% if has_truth %}<td class="truth{{ ' blank' if row.truth is none }}">{{ row.truth|percent }}</td>{% endif %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
<p class="key">{{ m.bar(example, f.target) }}
Thick: 95% range on these photographs. Thin: on new ones. Upright: the {{ f.target|percent }} target.
<span class="nobreak"><b class="sign PASS">✓</b> reaches it</span>
<span class="nobreak"><b class="sign FAIL">✗</b> misses it</span>
<span class="nobreak"><b class="sign OPEN">?</b> still open</span>
<span class="nobreak"><i class="swatch better"></i>shown better than base</span>
<span class="nobreak"><i class="swatch worse"></i>shown worse</span>
{% if f.must_have %}<span class="nobreak"><span class="must">•</span> needed</span>{% endif %}
</p>
{% for line in reading %}<p class="key">{{ line }}</p>
{% endfor %}
{{ glance }}
"""

WHOLE_WORDS = {"identity": "kept", "artefacts": "free of them"}
"""What a share means in columns that are no kind of edit: 100% of 'artefacts' would read as 'all are spoilt'."""

CONTROL_WORDS = {
    "do-nothing": "the photograph unchanged, which must fail every edit",
    "vae-round-trip": "the photograph only encoded and decoded, which must fail every edit too",
    "other-person": "somebody else, who must fail identity",
    "real-pair": "another photograph of the same character, which shows how well identity can score at best",
}

MACROS = """
{% macro head(title, unit, must=false) %}
<th scope="col" aria-sort="none"><button type="button" data-sort>{{ title }}
{%- if must %}<span class="must" title="You need this">•<span class="unseen"> (needed)</span></span>{% endif %}
{% if unit %}<span class="unit">{{ unit }}</span>{% endif %}</button></th>
{% endmacro %}
{% macro place(name) %}{{ page.order.index(name) if name in page.order else -1 }}{% endmacro %}
{% macro number(value, text, state=none) %}
<td class="number{{ ' blank' if value is none }}" data-value="{{ -1 if value is none else value }}">
{%- if state %}<span class="nobreak">{{ text }} <span class="sign {{ state }}" aria-hidden="true">{{ STATE_MARKS[state]
}}</span></span><span class="unseen">, {{ LIMIT_WORDS[state] }}</span>{% else %}{{ text }}{% endif %}</td>
{% endmacro %}
{% macro cell(row_name, rate, family, fact) %}
{% if rate is none or rate.value is none %}
<td class="rate missing" data-value="-1">{{ NOT_MEASURED }}</td>
{% else %}
{% set differs = 'better' if fact and fact.better_than_base else 'worse' if fact and fact.worse_than_base else '' %}
<td class="rate {{ differs }}" data-value="{{ rate.value }}">
<button type="button" class="open" data-candidate="{{ place(row_name) }}" data-family="{{ family }}"
title="{{ rate|estimate }}
{%- if fact and fact.against_base %}; against base {{ fact.against_base|points }}{% endif %}
{% if rate.note %}; {{ rate.note }}{% endif %}">
<span class="value">{{ rate.value|percent }}</span>
{%- if fact %}<span class="sign {{ fact.state }}" aria-hidden="true">{{ STATE_MARKS[fact.state] }}</span>{% endif %}
{{ m.bar(rate, f.target) }}
<span class="unseen">{{ rate.low|interval(rate.high) }} on new photographs
{%- if fact %}, {{ STATE_WORDS[fact.state] }}{% endif %}
{% if differs %}, shown {{ differs }} than base{% endif %}. Open pictures of {{ row_name }}
{%- if family %} at {{ family|spoken }}{% endif %}.</span>
</button></td>
{% endif %}
{% endmacro %}
"""

EXAMPLE = Estimate(0.6, 0.2, 0.96, 0.43, 0.78)
"""The drawing in the key."""


def _html(page: Page) -> Markup:
    has_truth = any(row.truth is not None for row in page.findings.candidates)
    word = "recommended" if page.findings.recommendation.firm else "leading"
    return render(MACROS + TEMPLATE, page=page, f=page.findings, has_truth=has_truth, word=word, example=EXAMPLE,
                  glance="" if strip(page) else glance(page), reading=reading_aid(page),
                  WHOLE_WORDS=WHOLE_WORDS)


def capability_words(fact: CapabilityFact | None) -> str:
    """One cell of the matrix in short; 'not measured' when there is nothing."""
    if fact is None or fact.rate.value is None:
        return NOT_MEASURED
    differs = " ▲" if fact.better_than_base else " ▼" if fact.worse_than_base else ""
    return f"{_short(fact.rate)} {STATE_MARKS[fact.state]}{differs}"


def _short(rate: Estimate) -> str:
    """A rate with its range for new photographs."""
    if rate.value is None or rate.low is None or rate.high is None:
        return percent(rate.value)
    return f"{percent(rate.value)} ({interval(rate.low, rate.high)})"


def _cost(text: str, state: State | None) -> str:
    """Time or memory, with its mark where the user set a limit."""
    return f"{text} {STATE_MARKS[state]}" if state else text


def _row(page: Page, row: CandidateFacts, has_truth: bool) -> list[str]:
    name = marks.text(row.name)
    name = f"**{name}**" if row.name in page.recommended else name
    role = {"base": " (no LoRA)", "control": " (control)"}.get(row.role, "")
    if row.screened_out is not None:
        role = f" (screened out after {count(row.screened_out, 'picture')})"
    cells = [name + role, _short(row.ccr)]
    cells += [capability_words(row.capabilities.get(capability)) for capability in page.capabilities]
    cells += [_cost(seconds(row.seconds_per_image), row.budget.get("time")),
              _cost(gib(row.peak_memory_gib), row.budget.get("memory"))]
    return [*cells, percent(row.truth)] if has_truth else cells


def reading_aid(page: Page) -> list[str]:
    """Which columns decide, and what the control rows are for; no sentence on what the matrix does not show."""
    found = page.findings
    lines: list[str] = []
    decide = [spoken(name) for name in page.capabilities if name in found.must_have]
    if decide and len(decide) < len(page.capabilities):
        lines.append(f"The target is asked of the needed columns alone ({', '.join(decide)}), so an answer can be firm "
                     "beside another column that misses it. Overall is the mean over all kinds of edit.")
    named = [f"{row.name}: {CONTROL_WORDS[row.name]}" for row in found.candidates
             if row.role == "control" and row.name in CONTROL_WORDS]
    if named:
        lines.append("Control rows test the measurement and compete with nobody. " + "; ".join(named) + ".")
    if any(row.truth is not None for row in found.candidates):
        lines.append("Truth is the overall rate as the makers of a toy world know it. It decides nothing: it shows how "
                     "far the measured rates can be trusted.")
    return lines


def _markdown(page: Page) -> str:
    has_truth = any(row.truth is not None for row in page.findings.candidates)
    capabilities = [marks.text(spoken(name) + (f" ({WHOLE_WORDS[name]})" if name in WHOLE_WORDS else ""))
                    for name in page.capabilities]
    heads = ["Candidate", "Overall", *capabilities, "Time per picture", "Peak memory"]
    heads += ["Truth (decides nothing)"] if has_truth else []
    words = STATE_WORDS
    note = (f"Each figure is the share of pictures in which the edit was done and the person kept. "
            f"Target: {percent(page.findings.target)}. In brackets: the 95% range for new photographs; that "
            f"for these is in matrix.csv. ✓ {words['PASS']}, ✗ {words['FAIL']}, ? {words['OPEN']}; ▲ shown better than "
            f"base, ▼ shown worse.")
    rows = [_row(page, row, has_truth) for row in page.findings.candidates]
    return "\n\n".join([marks.table(heads, rows), note, *(marks.text(line) for line in reading_aid(page))])


PLUGIN = Section("matrix", "Comparison matrix", "Matrix", 30, _html, _markdown)
