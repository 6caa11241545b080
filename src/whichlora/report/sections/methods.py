"""How the figures came about, in plain words. Standing text; what was used in this run is named from the scores."""

from __future__ import annotations

from markupsafe import Markup

from whichlora.report import marks
from whichlora.report.page import GATES, Page
from whichlora.report.sections.base import Section
from whichlora.report.templates import render
from whichlora.report.words import percent, spoken

CONDITIONS = {
    "valid": "the picture is usable", "edit": "the edit was done", "identity": "the same person is in it",
    "artefact": "it has no defect that spoils it",
}

TEXT = (
    "Every candidate and the base model got the same photographs, the same instructions and the same seeds. Only the "
    "LoRA differs (and, for a distilled one, the sampler that belongs to it), so differences come from it.",
    "A picture counts as consistent when every condition holds that could be checked: {conditions}.",
    "The rate of a capability is the share of consistent pictures. The overall rate gives every capability the same "
    "weight, however many pictures it has. A picture that failed counts as not consistent. Identity is the share of "
    "pictures that keep the person, and artefacts the share that is free of spoiling ones, whatever the edit.",
    "The unit is the photograph, not the picture: a hundred pictures of five photographs are worth five photographs. "
    "The thick range holds for exactly these photographs; the thin one for new photographs of the same character, and "
    "it decides.",
    "A capability reaches the target when the data show {target} or more for new photographs, misses it when they show "
    "less, and is open when they show neither. Open means: measure more photographs.",
    "“Shown better” and “shown worse” compare with base photograph by photograph and allow for the number of "
    "candidates, so that the luckiest of many is not taken for the best. No colour means that no difference was shown, "
    "which is not the same as none.",
    "What could not be measured is called so and never counted as a zero. Where it could matter, the report says what "
    "the rate would be if everything unscored had failed, and if it had passed.",
)

TEMPLATE = """
{{ m.sentences(text) }}
{% if gates %}<h3>Metrics that decided</h3>
{% call m.grid('Metrics that decided, by condition') %}<thead><tr><th scope="col">Condition</th>
<th scope="col">Metrics (version)</th></tr></thead><tbody>{% for gate, names in gates %}<tr>
<th scope="row">{{ gate }}</th><td>{{ names }}</td></tr>{% endfor %}</tbody>{% endcall %}{% endif %}
{% if raters %}<p class="quiet">Human votes: {{ raters|count('rater') }}.</p>{% endif %}
"""


def _text(page: Page) -> list[str]:
    conditions = "; ".join(CONDITIONS[gate] for gate in GATES)
    return [line.format(conditions=conditions, target=percent(page.findings.target)) for line in TEXT]


def _gates(page: Page) -> list[tuple[str, str]]:
    """Metrics by the condition that they decided, as found in the stored scores."""
    found: dict[str, set[str]] = {}
    for scores in page.given.scores.values():
        for score in scores:
            if score.gate is not None:
                found.setdefault(score.gate, set()).add(f"{spoken(score.metric)} (v{score.version})")
    return [(CONDITIONS[gate], ", ".join(sorted(found[gate]))) for gate in GATES if gate in found]


def _html(page: Page) -> Markup:
    raters = {score.rater for scores in page.given.scores.values() for score in scores if score.rater}
    return render(TEMPLATE, text=_text(page), gates=_gates(page), raters=len(raters))


def _markdown(page: Page) -> str:
    body = marks.bullets(_text(page))
    rows = [[marks.text(gate), marks.text(names)] for gate, names in _gates(page)]
    return body + ("\n\n" + marks.table(["Condition", "Metrics (version)"], rows) if rows else "")


PLUGIN = Section("methods", "How it was measured, in plain words", "Methods", 290, _html, _markdown)
