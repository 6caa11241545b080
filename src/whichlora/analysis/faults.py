"""How often each fault was seen of each row: a count, 0 where it was looked for and not seen, nothing where it was not.

Does: count faults and say who looked. Does not: judge cells (`cells.py`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from whichlora.analysis.cells import NO_SAY, Verdict
from whichlora.types import Score

_BY_GATE = {"edit not done": "edit", "identity lost": "identity", "face missing": "identity"}
"""Fault → gate whose metrics or votes tell of it."""


def counted(verdicts: Mapping[str, Sequence[Verdict]], scores: Sequence[Score]) -> dict[str, dict[str, int]]:
    """Faults by row: name → cells, for every fault of the project that the row was examined for.

    Args:
        verdicts: Row → what became of its attempted cells.
        scores: Everything measured, votes included.
    """
    said: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        if score.passed is not None and not score.reason.startswith(NO_SAY):
            said[score.cell].append(score)
    seen = {fault for mine in verdicts.values() for verdict in mine for fault in verdict.faults}
    tellers = _tellers(verdicts, said)
    found = {}
    for name, mine in verdicts.items():
        counts = Counter(fault for verdict in mine for fault in verdict.faults)
        heard = {source for verdict in mine for score in said.get(verdict.cell.id, ())
                 for source in (score.metric, f"gate {score.gate}")}
        looked = {fault for fault in seen if heard & tellers.get(fault, set())}
        looked |= {"generation failed"} & seen if mine else set()
        if any(verdict.no_op is not None for verdict in mine):
            looked |= {"nothing changed"} & seen
        found[name] = {fault: counts[fault] for fault in sorted(seen) if fault in looked or counts[fault]}
    return found


def _tellers(
    verdicts: Mapping[str, Sequence[Verdict]], said: Mapping[str, Sequence[Score]],
) -> dict[str, set[str]]:
    """Fault → metrics (or gates) whose word can show that it is absent."""
    found = {fault: {f"gate {gate}"} for fault, gate in _BY_GATE.items()}
    for mine in verdicts.values():
        for verdict in mine:
            for fault in verdict.faults:
                if fault in _BY_GATE or fault in ("nothing changed", "generation failed"):
                    continue
                found.setdefault(fault, set()).update(
                    score.metric for score in said.get(verdict.cell.id, ())
                    if score.gate in ("artefact", "valid") and score.passed is False)
    return found
