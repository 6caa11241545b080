"""Lints a whole report as it is read: every section's HTML text and Markdown.

Sentences of the analysis are held to the figures they are bound to (`whichlora.analysis.lint`). What is left, tables
and labels, may use a number only if a stored figure of that kind is printed so: a percentage needs a rate, seconds a
duration, points a paired difference. Names, prompts, cards and settings are texts of others, not claims.
"""

from __future__ import annotations

import html
import importlib
import importlib.util
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from whichlora.analysis.lint import FIRM_ONLY, NEVER, _claims, lint_all
from whichlora.findings import Findings, to_json
from whichlora.report import words
from whichlora.report.html import sections
from whichlora.report.model import ReportInput
from whichlora.report.page import Page
from whichlora.report.pictures import NO_PICTURES
from whichlora.types import Plan

SETTINGS = ("manifest",)
"""Sections that print stored settings word by word; nothing in them is a claim."""
_NUMBER = re.compile(
    r"(?<![\w.#])(?:(?P<first>\d+)–(?P<second>\d+)%|(?P<sign>[+−-])?(?P<value>\d[\d,]*(?:\.\d+)?(?:e[+-−]?\d+)?)"
    r"\s?(?P<unit>%|points|h\b|min\b|s\b|GiB)?)"
)


def report_problems(given: ReportInput, only: str = "") -> list[str]:
    """Problems of a report's HTML text and Markdown, or of one section's; empty when it may be read."""
    page = Page(given, NO_PICTURES)
    allowed, strangers = printable(page.findings, given), texts_of_others(page.findings, given.plan)
    sentences = _sentences(page.findings)
    used: dict[str, None] = {}
    problems: list[str] = []
    for section in sections():
        if section.name in SETTINGS or (only and section.name != only):
            continue
        for kind, text in (("html", plain(section.html(page))), ("markdown", unmarked(section.markdown(page)))):
            found, said = text_problems(text, page.findings, allowed, strangers, sentences)
            problems += [f"{section.name} ({kind}): {problem}" for problem in found]
            used |= dict.fromkeys(said)
    return [*lint_all(used, page.findings), *problems]


def _sentences(findings: Findings) -> list[tuple[str, str]]:
    """Sentences of the analysis, longest first: with single blanks, and as they were written."""
    analysis: Mapping[str, Any] = findings.manifest.get("analysis", {})
    found = [(" ".join(entry["text"].split()), entry["text"]) for entry in analysis.get("sentences", ())]
    return sorted((pair for pair in found if len(pair[0]) > 12), key=lambda pair: -len(pair[0]))


def text_problems(
    text: str, findings: Findings, allowed: Mapping[str, set[str]], strangers: Iterable[str],
    sentences: Iterable[tuple[str, str]],
) -> tuple[list[str], list[str]]:
    """Problems of one readable text beyond its sentences of the analysis, and those sentences."""
    problems: list[str] = []
    used: list[str] = []
    rest = " ".join(text.split())
    for sentence, written in sentences:
        if sentence in rest:
            rest = rest.replace(sentence, " · ")
            used.append(written)
    for name in strangers:
        rest = rest.replace(name, "·")
    for match in _NUMBER.finditer(rest):
        problems += _unprintable(match, allowed, rest)
    lower = rest.lower()
    problems += [f"over-strong word '{word}'" for word in NEVER if _claims(lower, word)]
    if not findings.recommendation.firm:
        problems += [f"'{word}' needs a firm decision" for word in FIRM_ONLY if _claims(lower, word)]
    return problems, used


def _unprintable(match: re.Match[str], allowed: Mapping[str, set[str]], text: str) -> list[str]:
    around = text[max(0, match.start() - 30) : match.end() + 20]
    if match["first"] is not None:
        return [f"unbound range end '{end}' in '{around}'" for end in (match["first"], match["second"])
                if end not in allowed["end"]]
    value, unit = match["value"].rstrip(","), match["unit"] or ""
    before, after = text[: match.start()], text[match.end() :]
    bracket = before.rfind("[") > before.rfind("]") and "]" in after[:40]
    if bracket and value.isdigit():
        return [] if value in allowed["end"] or value in allowed["points"] else [f"unbound '{value}' in '{around}'"]
    if match["sign"] and not unit and value.isdigit():
        return [] if value in allowed["points"] else [f"unbound change '{match.group().strip()}' in '{around}'"]
    kind = {"%": "percent", "points": "points", "GiB": "memory", "": "bare"}.get(unit, "time")
    return [] if value in allowed[kind] else [f"unbound number '{match.group().strip()}' in '{around}'"]


def printable(findings: Findings, given: ReportInput) -> dict[str, set[str]]:
    """How stored figures may be printed, by kind."""
    data = to_json(findings)
    rates = set(_numbers([data["candidates"], data["target"], data["against"], data["manifest"].get("analysis", {})]))
    times = {row.seconds_per_image for row in findings.candidates} | {
        made.seconds.get("total") for made in given.generations.values()
    }
    sizes = {row.peak_memory_gib for row in findings.candidates}
    counted = {int(v) for v in _numbers(data) if float(v).is_integer()}
    counted |= set(_lengths(data)) | _tallies(findings, given)
    means = {value for row in findings.candidates for value in row.means.values()}
    figures = data["manifest"].get("analysis", {}).get("figures", {}).values()
    return {
        "percent": {_digits(words.percent(rate)) for rate in rates if -1 <= rate <= 1} | {"95"},
        "end": {str(int(abs(rate) * 100 + 0.5)) for rate in rates if -1 <= rate <= 1},
        "points": {str(int(abs(value) * 100 + 0.5)) for value in _numbers(_moved(findings))}
        | {f"{100 * abs(f['value']):.1f}" for f in figures},
        "time": {_digits(words.seconds(value)) for value in times if value is not None},
        "memory": {_digits(words.gib(value)) for value in sizes if value is not None},
        "bare": {str(value) for value in counted} | {f"{value:,}" for value in counted}
        | {_digits(words.mean(value)) for value in means},
    }


def _moved(findings: Findings) -> list[Any]:
    """Every paired difference with its ends."""
    facts = [fact.against_base for row in findings.candidates for fact in row.capabilities.values()]
    changes = findings.against.changes if findings.against else ()
    return [(d.value, d.low, d.high) for d in (*facts, *(change.difference for change in changes)) if d]


def _tallies(findings: Findings, given: ReportInput) -> set[int]:
    """Counts that a section adds up from stored rows."""
    plan = given.plan
    versions = {score.version for scores in given.scores.values() for score in scores}
    raters = {score.rater for scores in given.scores.values() for score in scores if score.rater}
    unscored = sum(row.cells.get("unscored", 0) for row in findings.candidates)
    unmade = sum(cell.id not in given.generations for cell in plan.cells)
    controls = {row.name for row in plan.candidates if row.role == "control"}
    compared = {cell.id for cell in plan.cells if cell.candidate not in controls}
    silent = sum(row.cells.get("unscored", 0) for row in findings.candidates if row.role != "control")
    waiting = sum(cell not in given.generations for cell in compared)
    failed = {len(compared & set(cells)) for cells in findings.failures.values()}
    flags = Counter(words.licence_flag(row.licence)[0] for row in findings.candidates if row.name not in controls)
    return {len(plan.cells), len(plan.sources), len(plan.cases), len(raters), unscored, unmade, silent, waiting,
            *versions, len(compared), *failed, *flags.values(), *(cell.seed for cell in plan.cells)}


def texts_of_others(findings: Findings, plan: Plan) -> list[str]:
    """Names, prompts, cards, licences and flags, longest first; only those with a digit or a strong word matter."""
    found = {findings.project, findings.base, *findings.must_have}
    for row in findings.candidates:
        found |= {row.name, row.licence, row.card, *row.means, *row.artefacts, *row.capabilities}
    found |= {case.prompt for case in plan.cases} | {case.id for case in plan.cases}
    found |= {case.edit for case in plan.cases} | {source.id for source in plan.sources}
    found |= {entry["flag"] for entry in findings.questions} | set(plan.notes)
    found |= {value for row in findings.refused for value in row.values()}
    found |= {f"sha256 {use.sha256}" for row in plan.candidates for use in row.adapters}
    # What is known of the recognisers stands in one table of the product, with its sources; it is no result of a run.
    found |= set(recogniser_limits(plan))
    found |= {words.spoken(name) for name in found}
    return sorted((" ".join(name.split()) for name in found if name.strip()), key=len, reverse=True)


def recogniser_limits(plan: Plan) -> tuple[str, ...]:
    """Sentences of that table which the report prints; none where the product has none."""
    if importlib.util.find_spec("whichlora.vision.limits") is None:
        return ()
    table = importlib.import_module("whichlora.vision.limits")
    return tuple(table.sentences(plan.subject, getattr(plan, "identity_packs", ())))


def plain(markup: str) -> str:
    """The text of a piece of HTML as it is read; attributes that speak (labels, titles) count as text."""
    spoken = " ".join(re.findall(r'(?:aria-label|title|alt)="([^"]*)"', markup))
    bare = re.sub(r'<(script|style|select)\b.*?</\1>|<text class="tick".*?</text>', " ", markup, flags=re.S)
    return html.unescape(re.sub(r"<[^>]+>", " ", bare) + " . " + spoken)


def unmarked(markdown: str) -> str:
    """Markdown without its escapes, tables and list marks."""
    lines = [re.sub(r"^\s*(?:\d+\.|[-#*]+)\s", "", line) for line in markdown.splitlines()]
    return re.sub(r"\\(.)", r"\1", " ".join(lines)).replace("|", " . ").replace("**", "")


def _digits(text: str) -> str:
    found = re.search(r"\d[\d,]*(?:\.\d+)?(?:e[+-−]?\d+)?", text)
    return found.group() if found else ""


def _numbers(value: Any) -> Iterable[float]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)


def _lengths(value: Any) -> Iterable[int]:
    if isinstance(value, Mapping | list | tuple):
        yield len(value)
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _lengths(item)
