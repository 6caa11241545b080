"""The four strategies side by side."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.findings import Option
from whichlora.report import marks
from whichlora.report.page import Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import spoken

LETTERS = "ABCDEFGH"

TEMPLATE = """
<div class="options">{% for o in chosen.options %}
<article class="{{ 'chosen' if o.decision == picked }}">
<h3>{{ letters[loop.index0] }} {{ o.title }}{% if o.decision == picked %} <span class="tag">{{ 'recommended' if
chosen.firm else 'leading' }}</span>{% endif %}</h3>
<dl>
<dt>Uses</dt><dd><bdi>{{ uses(o) }}</bdi></dd>
<dt>Hours</dt><dd>{{ o.hours or 'not estimated' }}</dd>
<dt>Complexity</dt><dd>{{ o.complexity or 'not stated' }}</dd>
<dt>Remaining gaps</dt><dd>{{ gaps(o) }}</dd>
{% if o.learn_from %}<dt>Reference to learn from</dt><dd><bdi>{{ o.learn_from }}</bdi></dd>{% endif %}
</dl>
{% if o.pros %}<h4>For</h4><ul class="pros">{% for item in o.pros %}<li>{{ item }}</li>{% endfor %}</ul>{% endif
%}
{% if o.cons %}<h4>Against</h4><ul class="cons">{% for item in o.cons %}<li>{{ item }}</li>{% endfor %}</ul>
{% endif %}
</article>{% endfor %}</div>
<p class="training"><b>Gaps that only training could close:</b> {{ chosen.training_only|map('spoken')|join(', ') or
'none among what you need' }}.</p>
{% if chosen.routes %}<h3>Which set-up for what</h3>{% call m.grid('Which set-up for what') %}<thead><tr>
<th scope="col">For</th><th scope="col">Use</th></tr></thead><tbody>{% for family, name in chosen.routes.items()
%}
<tr><th scope="row">{{ family|spoken }}</th><td><bdi>{{ name }}</bdi></td></tr>{% endfor %}</tbody>{% endcall %}
{% endif %}
"""


def _html(page: Page) -> Markup:
    chosen = page.findings.recommendation
    if not chosen.options:
        return Markup("")
    picked = chosen.provisional if chosen.decision == "undecided" else chosen.decision
    return render(TEMPLATE, chosen=chosen, picked=picked, letters=LETTERS, uses=uses, gaps=gaps)


def uses(option: Option) -> str:
    """What an option would use, or why that is nothing."""
    return option.candidate or ("nothing that exists yet" if option.decision == "custom" else "nothing that was tried")


def gaps(option: Option) -> str:
    """What an option leaves below the target; of what is to be trained nothing is known yet."""
    left = ", ".join(map(spoken, option.gaps))
    if option.decision == "custom":
        return "unknown until it is trained"
    return f"{left}, until trained" if left and option.decision == "hybrid" else left or "none measured"


def _markdown(page: Page) -> str:
    chosen = page.findings.recommendation
    if not chosen.options:
        return ""
    fields: list[tuple[str, list[str]]] = [
        ("Uses", [marks.text(uses(o)) for o in chosen.options]),
        ("For", [_joined(o.pros) for o in chosen.options]),
        ("Against", [_joined(o.cons) for o in chosen.options]),
        ("Remaining gaps", [marks.text(gaps(o)) for o in chosen.options]),
        ("Hours", [marks.text(o.hours) or "not estimated" for o in chosen.options]),
        ("Complexity", [marks.text(o.complexity) or "not stated" for o in chosen.options]),
        ("Reference to learn from", [marks.text(o.learn_from) for o in chosen.options]),
    ]
    titles = [f"{letter} {_title(o, page)}" for letter, o in zip(LETTERS, chosen.options, strict=False)]
    body = marks.table(["", *titles], [[name, *row] for name, row in fields])
    only = ", ".join(spoken(name) for name in chosen.training_only) or "none among what you need"
    body += f"\n\nGaps that only training could close: {marks.text(only)}."
    if chosen.routes:
        routes = [[marks.text(family), marks.text(name)] for family, name in chosen.routes.items()]
        body += "\n\n" + marks.table(["For", "Use"], routes)
    return body


def _title(option: Option, page: Page) -> str:
    chosen = page.findings.recommendation
    picked = chosen.provisional if chosen.decision == "undecided" else chosen.decision
    return marks.text(option.title) + (" (this one)" if option.decision == picked else "")


def _joined(items: tuple[str, ...]) -> str:
    return " ".join(marks.text(item) for item in items)


PLUGIN = Section("options", "The four ways, side by side", "Options", 150, _html, _markdown)
