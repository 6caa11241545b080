"""A comparison with an earlier project in words. Every number passes through the ledger."""

from __future__ import annotations

from whichlora.analysis.against import OVERALL, Paired, Project, compare
from whichlora.analysis.ledger import Ledger
from whichlora.analysis.phrases import listed
from whichlora.findings import Against, Change

FEW = 6
"""Photographs below which no difference can be significant."""


def against(old: Project, new: Project, ledger: Ledger) -> Against:
    """Compare with an earlier project and word what changed.

    Raises:
        UserError: Settings differ, or nothing is common.
    """
    found = compare(old, new)
    return Against(
        old.plan.project, old.sentence, found.photos, found.pairs, found.changes,
        (_opening(found, old, new, ledger), *_rows(found, ledger), *_notes(found, old, new, ledger)), found.refused,
        found.same,
    )


def _opening(found: Paired, old: Project, new: Project, ledger: Ledger) -> str:
    pairs = ledger.put("against.pairs", found.pairs, "count")
    photos = ledger.put("against.photos", found.photos, "count")
    text = (
        f"Compared with the earlier project {old.plan.project}: {pairs} pairs of pictures on {photos} photographs, "
        "each the same photograph, instruction and seed then and now."
    )
    if found.photos < FEW:
        text += " With so few photographs no change can be shown: read directions only."
    return ledger.say(text)


def _rows(found: Paired, ledger: Ledger) -> list[str]:
    """One sentence for every row's overall change, and one for each capability with a shown change."""
    lines = []
    for change in found.changes:
        if change.row in found.same:
            continue
        if change.capability == OVERALL or change.better or change.worse:
            lines.append(_sentence(change, ledger))
    if found.same:
        lines.append(ledger.say(f"Unchanged, as their pictures are the very same files: {listed(found.same)}."))
    return lines


def _sentence(change: Change, ledger: Ledger) -> str:
    key = f"against/{change.row}/{change.capability}"
    then, now = (ledger.put(f"{key}.{end}", getattr(change, end), "percent") for end in ("then", "now"))
    moved = ledger.put(f"{key}.change", change.difference.value or 0.0, "points")
    low = ledger.put(f"{key}.low", -1.0 if change.difference.low is None else change.difference.low, "points")
    high = ledger.put(f"{key}.high", 1.0 if change.difference.high is None else change.difference.high, "points")
    what = "over all kinds of edit" if change.capability == OVERALL else f"at {change.capability}"
    said = "no change is shown"
    if change.better or change.worse:
        ledger.claim("gain" if change.better else "loss", change.row, [change.capability])
        said = f"a shown {'gain' if change.better else 'loss'}, after correction for all changes looked at"
    return ledger.say(
        f"{change.row} {what}: {then} then, {now} now; {moved} ({low} to {high} on new photographs), {said}."
    )


def _notes(found: Paired, old: Project, new: Project, ledger: Ledger) -> list[str]:
    lines = []
    if found.left_out:
        count = ledger.put("against.unscored", found.left_out, "count")
        lines.append(ledger.say(
            f"Pairs with a picture that could not be scored: {count}; a change counts as shown only if it would be "
            "even with all of these against it."
        ))
    versions = [
        name for name in sorted(old.plan.libraries.keys() | new.plan.libraries.keys())
        if old.plan.libraries.get(name) != new.plan.libraries.get(name)
    ]
    if versions:
        lines.append(
            f"Versions of {listed(versions)} differ between the projects; part of a change may come from them. The "
            "base rows show how much."
        )
    if set(old.plan.must_have) != set(new.plan.must_have) or old.plan.target != new.plan.target:
        lines.append("Target or must-haves differ between the projects; rates are compared, verdicts are not.")
    return lines
