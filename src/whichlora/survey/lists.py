"""Which LoRAs must be tested, which should, which may be left out, and why. Judges verdicts and ratings only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from whichlora.survey import bases
from whichlora.survey.entry import Assessed, ListName, Rating, SurveyEntry, Verdict
from whichlora.survey.relevance import rate, top
from whichlora.survey.requires import LIGHTNING_REPOS
from whichlora.survey.verdict import judge

MOST_MUSTS = 10
"""A list of more is no list: a night of one GPU tests about this many."""
_ORDER = {"must": 0, "should": 1, "skip": 2}


def assess(entries: Iterable[SurveyEntry], target: str) -> list[Assessed]:
    """Judge, rate and list entries for a base, most worth testing first; at most `MOST_MUSTS` must be tested."""
    ranked = sorted((assess_one(entry, target) for entry in entries), key=_rank)
    musts = [item for item in ranked if item.list == "must"]
    for item in musts[MOST_MUSTS:]:
        why = f"{item.why} {MOST_MUSTS} others come first by claims and use."
        ranked[ranked.index(item)] = replace(item, list="should", why=why)
    return ranked


def assess_one(entry: SurveyEntry, target: str) -> Assessed:
    """Judge, rate and list one entry."""
    verdict = judge(entry, target)
    ratings = rate(entry)
    name, why = place(entry, verdict, ratings, target)
    return Assessed(entry, verdict, ratings, name, why)


def place(
    entry: SurveyEntry, verdict: Verdict, ratings: Mapping[str, Rating], target: str
) -> tuple[ListName, str]:
    """The list of an entry and the reason, in a sentence."""
    axis, rating = top(ratings)
    if entry.missing:
        return "skip", f"Cannot be had today: {entry.missing}"
    if verdict.verdict == "incompatible":
        return "skip", verdict.evidence[0]
    if entry.repo_id in LIGHTNING_REPOS or "lightning-distillation" in entry.specialty:
        return "skip", "Part of a sampler profile: it is tested as base + Lightning, not as a candidate."
    if rating.value < 3:
        return "skip", f"Little in it concerns a character: {rating.reason}."
    claim = f"{axis} {rating.value}/5: {rating.reason}"
    if verdict.verdict == "compatible":
        if rating.value >= 5 and _is_documented(entry):
            return "must", f"Trained for this base; {claim}."
        if rating.value >= 5:
            return "should", f"{claim}; almost nothing else is known of it."
        return "should", f"Trained for this base; {claim}."
    trained = verdict.base_id
    if trained is None:
        if rating.value >= 5:
            return "should", f"{claim}; its base version is not stated, so read the header first."
        return "skip", f"Its base is not stated, and it is not made for a character first ({claim})."
    kind = bases.relation(trained, target)
    if kind == "newer":
        return "skip", f"Trained for {bases.short(trained)}: survey that base to test it where it belongs ({claim})."
    if kind == "generation":
        return "skip", f"Trained for the text-to-image sibling {bases.short(trained)}, not for editing."
    if rating.value >= 5:
        return "should", f"{claim}; trained for the older {bases.short(trained)}, loads here, effect unproven."
    return "skip", f"Trained for the older {bases.short(trained)} and not made for a character first ({claim})."


def _is_documented(entry: SurveyEntry) -> bool:
    """True when a card or a file list said at least something of use."""
    return bool(entry.files or entry.prompts or entry.licence or entry.settings.scale)


def _rank(item: Assessed) -> tuple[int, int, int, int, int, str]:
    sums = sum(rating.value for rating in item.relevance.values())
    verdict = {"compatible": 0, "unknown": 1, "incompatible": 2}[item.verdict.verdict]
    return (
        _ORDER[item.list], verdict, -top(item.relevance)[1].value, -sums, -(item.entry.downloads or 0),
        item.entry.repo_id.lower(),
    )
