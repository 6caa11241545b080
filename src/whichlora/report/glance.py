"""Three lines for the first screen: what would change the answer, what failed, which licences need a look."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report.failing import compared, kinds
from whichlora.report.page import Page
from whichlora.report.templates import render
from whichlora.report.words import count, fault, licence_flag

SHOWN = 3

TEMPLATE = """
<ul class="glance" aria-label="At a glance">
{% if flip %}<li><a href="#flip">What if</a> <span>{{ flip[0] }}</span></li>{% endif %}
{% if failures %}<li><a href="#failures">Failures</a> <span>{{ failures }}</span></li>{% endif %}
{% if licences %}<li><a href="#licences">Licences</a> <span>{{ licences }}</span></li>{% endif %}
</ul>
"""


def glance(page: Page) -> Markup:
    """The lines as a list; those with nothing to say are left out."""
    return render(TEMPLATE, flip=page.findings.recommendation.flip, failures=failure_words(page),
                  licences=licence_words(page))


def failure_words(page: Page) -> str:
    """Count failures of base and candidates: 'edit not done 92, identity lost 24 of 320 pictures'.

    Control rows are left out: they must fail.
    """
    said = [f"{fault(kind)} {len(cells)}" for kind, cells, _ in kinds(page)[:SHOWN]]
    return f"{', '.join(said)} of {count(len(compared(page)), 'picture')}" if said else ""


def licence_words(page: Page) -> str:
    """Count the licences that need a look: '2 to check, 1 not for commercial use, of 4 candidates'."""
    flags = [licence_flag(row.licence)[0] for row in page.rivals]
    checked, restricted = flags.count("check"), flags.count("restricted")
    said = [f"{checked} to check"] * bool(checked) + [f"{restricted} not for commercial use"] * bool(restricted)
    return f"{', '.join(said) or 'all permissive'}, of {count(len(flags), 'candidate')}" if flags else ""
