"""Refuse prose that says more than was stored: unbound numbers, and verbs stronger than the state.

Does: list what is wrong with a text. Does not: repair it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from whichlora.analysis.ledger import as_text
from whichlora.findings import CandidateFacts, Findings

NEVER = (
    "prove", "proves", "proved", "proven", "guarantee", "guarantees", "guaranteed", "certainly", "undoubtedly",
    "definitely", "always", "perfect", "perfectly", "without doubt", "obviously", "unquestionably",
)
"""Words that no number of photographs supports."""
FIRM_ONLY = (
    "is best", "the best", "is enough", "is good enough", "beats", "outperforms", "wins", "must train",
    "no lora is needed", "is needed", "clearly",
)
"""Phrases that only a firm decision supports."""
SHOWN = ("is shown to", "are shown to", "passes", "reaches the target", "shown at or above")
"""Phrases that only PASS supports, where the sentence names a set-up and a capability."""
SHOWN_BELOW = ("fails", "shown below", "stays below")
"""Phrases that only FAIL supports, likewise."""
BETTER = ("better than base", "better than the base")
"""Phrases that only a corrected comparison supports."""
GAIN, LOSS = ("shown gain",), ("shown loss",)
"""Phrases that only a corrected change against an earlier project supports."""
HEDGES = ("not ", "n't ", "whether ", "would ", "could ", "if ", "until ", "unless ", "should ", "no longer ")
"""Words that, shortly before a phrase, take the claim away."""

_NUMBER = re.compile(r"(?<![\w.])[-+−]?\d+(?:[.,]\d+)*(?:\s?(?:%|points?\b|h\b|min\b|s\b|GiB\b))?")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=[^a-z])")


def lint(text: str, findings: Findings) -> tuple[str, ...]:
    """Problems of a text that is to be printed beside findings; empty when it may be printed.

    A sentence written by the analysis may use only the figures it is bound to, and what it claims must be in the facts.
    Any other sentence may use any stored figure with that figure's unit, and its claims are read from its words.
    Names (set-ups, capabilities, photographs, the base model) are no numbers.

    Args:
        text: One or more sentences.
        findings: What was stored.
    """
    return lint_all([text], findings)


def lint_all(texts: Iterable[str], findings: Findings) -> tuple[str, ...]:
    """Problems of many texts; quicker than one by one."""
    analysis: Mapping[str, Any] = findings.manifest.get("analysis", {})
    figures: Mapping[str, Mapping[str, Any]] = analysis.get("figures", {})
    sentences = sorted((e for e in analysis.get("sentences", ()) if len(e["text"]) > 12), key=lambda e: -len(e["text"]))
    numbers = _Numbers(findings)
    problems: list[str] = []
    for text in texts:
        rest = text
        for entry in sentences:
            if entry["text"] in rest:
                rest = rest.replace(entry["text"], " ")
                bound = {name: figures[name] for name in entry["figures"] if name in figures}
                problems += numbers.unbound(entry["text"], bound)
                problems += _unclaimed(entry["text"], entry["claims"], findings)
                problems += _words(entry["text"], findings)
        if not rest.strip():
            continue
        problems += numbers.unbound(rest, figures)
        for sentence in _SENTENCE.split(rest):
            problems += _words(sentence, findings)
            problems += [problem for facts in _subjects(sentence, findings) for problem in _beyond(sentence, facts)]
    return tuple(dict.fromkeys(problems))


def assert_clean(texts: Sequence[str], findings: Findings) -> None:
    """Raise if any text has a problem.

    Raises:
        ValueError: Lists the problems; reaching it is a fault of the product, not of the user.
    """
    problems = lint_all(texts, findings)
    if problems:
        raise ValueError("prose says more than was stored: " + "; ".join(problems))


def names_of(findings: Findings) -> list[str]:
    """Everything that may contain digits without being a figure, longest first."""
    names = {findings.project, findings.base, *findings.must_have}
    for facts in findings.candidates:
        names |= {facts.name, *facts.capabilities, facts.licence, facts.card}
    for refused in findings.refused:
        names |= set(refused.values())
    analysis: Mapping[str, Any] = findings.manifest.get("analysis", {})
    names |= set(analysis.get("names", ()))
    return sorted((name for name in names if name), key=len, reverse=True)


class _Numbers:
    """Finds numbers that are bound to no figure; what does not hang on the text is worked out once."""

    def __init__(self, findings: Findings) -> None:
        self.names = [name for name in names_of(findings) if any(char.isdigit() for char in name)]
        self.known: dict[tuple[float, str], set[str]] = {}

    def tokens(self, figure: Mapping[str, Any]) -> set[str]:
        """How a figure may be printed."""
        key = float(figure["value"]), str(figure["unit"])
        if key not in self.known:
            self.known[key] = {_plain(match.group()) for match in _NUMBER.finditer(as_text(*key))}
        return self.known[key]

    def unbound(self, prose: str, figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Numbers of a text that none of the figures is printed as."""
        cleaned = prose
        for name in self.names:
            cleaned = cleaned.replace(name, "·")
        found = list(_NUMBER.finditer(cleaned))
        if not found:
            return []
        allowed: set[str] = set()
        allowed.update(*(self.tokens(figure) for figure in figures.values()))
        # Inside a bracketed interval the unit is understood, and an end is never "over 99".
        bare = {str(math.floor(100 * f["value"] + 0.5)) for f in figures.values() if f["unit"] == "percent"}
        problems = []
        for match in found:
            token = _plain(match.group())
            before, after = cleaned[: match.start()], cleaned[match.end() :]
            inside = before.rfind("[") > before.rfind("]") and "]" in after
            if token not in allowed and not (inside and token in bare):
                problems.append(f"unbound number '{match.group().strip()}' in '{_short(prose)}'")
        return problems


def _words(sentence: str, findings: Findings) -> list[str]:
    """Words that nothing supports, or that only a firm decision does."""
    lower = sentence.lower()
    found = [f"over-strong word '{word}' in '{_short(sentence)}'" for word in NEVER if _claims(lower, word)]
    if not findings.recommendation.firm:
        found += [
            f"'{word}' needs a firm decision, in '{_short(sentence)}'" for word in FIRM_ONLY if _claims(lower, word)
        ]
    return found


def _unclaimed(sentence: str, claims: Sequence[Sequence[str]], findings: Findings) -> list[str]:
    """Claims of a bound sentence that the facts do not carry, and strong phrases without any claim behind them."""
    by_name = {facts.name: facts for facts in findings.candidates}
    problems = []
    moved = {(change.row, change.capability): change for change in findings.against.changes} if findings.against else {}
    for kind, name, capability in claims:
        if kind in ("gain", "loss"):
            change = moved.get((name, capability))
            if change is None or not (change.better if kind == "gain" else change.worse):
                problems.append(f"{kind} of {name} at {capability} is not in the changes, in '{_short(sentence)}'")
            continue
        fact = by_name[name].capabilities.get(capability) if name in by_name else None
        held = fact is not None and (
            fact.state == kind if kind in ("PASS", "FAIL")
            else fact.better_than_base if kind == "better" else fact.worse_than_base
        )
        if not held:
            problems.append(f"{kind} of {name} at {capability} is not in the facts, in '{_short(sentence)}'")
    kinds = {kind for kind, _, _ in claims}
    lower = sentence.lower()
    for words, kind in (
        (SHOWN, "PASS"), (SHOWN_BELOW, "FAIL"), (BETTER, "better"), (GAIN, "gain"), (LOSS, "loss"),
    ):
        if kind not in kinds and any(_claims(lower, word) for word in words) and _subjects(sentence, findings):
            problems.append(f"nothing stands behind '{_short(sentence)}'")
    return problems


def _subjects(sentence: str, findings: Findings) -> list[CandidateFacts]:
    """Set-ups that a sentence names; 'base' within 'better than base' is none."""
    text = re.sub(r"(better|worse) than (the )?base", "", sentence.lower())
    found = []
    for facts in sorted(findings.candidates, key=lambda facts: -len(facts.name)):
        pattern = rf"(?<![\w+.-]){re.escape(facts.name.lower())}(?![\w+-])"
        if re.search(pattern, text):
            found.append(facts)
            text = re.sub(pattern, " ", text)
    return found


def _claims(lower: str, word: str) -> bool:
    """Does a phrase stand in a sentence without a hedge before it?"""
    return re.search(rf"\b{re.escape(word)}\b", lower) is not None and not _hedged(lower, word)


def _beyond(sentence: str, facts: CandidateFacts) -> list[str]:
    """Claims about one set-up, read from the words, that its facts do not carry."""
    problems = []
    lower = sentence.lower()
    named = [fact for name, fact in facts.capabilities.items() if re.search(rf"\b{re.escape(name.lower())}\b", lower)]
    for words, state in ((SHOWN, "PASS"), (SHOWN_BELOW, "FAIL")):
        for word in words:
            if _claims(lower, word):
                problems += [
                    f"'{word}' of {facts.name}, whose {fact.capability} is {fact.state}, in '{_short(sentence)}'"
                    for fact in named if fact.state != state
                ]
    if facts.role != "base" and any(_claims(lower, word) for word in BETTER):
        shown = [fact.better_than_base for fact in (named or facts.capabilities.values())]
        if not (all(shown) if named else any(shown)):
            problems.append(f"'better than base' of {facts.name} is not shown, in '{_short(sentence)}'")
    return problems


def _hedged(lower: str, word: str) -> bool:
    """Is every use of the word within reach of a hedge?"""
    return all(
        any(hedge in lower[max(0, match.start() - 24) : match.end()] for hedge in HEDGES)
        for match in re.finditer(rf"\b{re.escape(word)}\b", lower)
    )


def _plain(token: str) -> str:
    return token.replace(" ", "").replace("\u202f", "").replace("−", "-").strip().removesuffix(",")


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 80 else flat[:77] + "…"
