"""Facts per candidate and capability: the comparison matrix.

Does: assemble estimates, counts and sentences of strengths and weaknesses. Does not: decide.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from whichlora.analysis import evidence
from whichlora.analysis.cells import Verdict
from whichlora.analysis.decide import state_of
from whichlora.analysis.table import WHOLE, Table, share
from whichlora.findings import CandidateFacts, CapabilityFact, Estimate
from whichlora.stats.paired import Difference
from whichlora.stats.power import photos_to_settle
from whichlora.stats.rates import RateInterval
from whichlora.types import Generation, Score

GIB = 1024**3
SHOWN_CELLS = 12
"""Best and worst cells kept per candidate."""


@dataclass(frozen=True, slots=True)
class Chances:
    """What the joint draws say of one row."""

    p_best: float | None
    """Probability of the highest rate."""
    ranks: tuple[int, int] | None
    """Best and worst likely rank."""


def estimate(interval: RateInterval | None) -> Estimate:
    """A rate as findings keep it."""
    if interval is None:
        return Estimate(None, note="nothing could be scored")
    return Estimate(interval.value, interval.low, interval.high, interval.low_here, interval.high_here,
                    interval.photos, round(interval.cells), interval.note)


def estimate_of_difference(difference: Difference | None, cells: int) -> Estimate | None:
    """A paired difference as findings keep it."""
    if difference is None:
        return None
    return Estimate(difference.value, difference.low, difference.high, difference.low_here, difference.high_here,
                    difference.photos, cells, difference.note)


def capability_facts(
    table: Table, row: int, threshold: Callable[[str], float], p_values: Mapping[tuple[int, str], float],
) -> dict[str, CapabilityFact]:
    """State, rate and comparison of one row at every capability; `threshold` tells what is good enough for each."""
    base = evidence.base_of(table, row)
    found = {}
    for name in (*table.families, *WHOLE):
        interval = evidence.capability_rate(table, row, name)
        target = threshold(name)
        if table.candidates[row].name in table.screening.out:
            found[name] = _dropped_fact(table, row, name, target, interval)
            continue
        state = state_of(interval.floor, interval.ceiling, target) if interval else "OPEN"
        against = None
        if base is not None and base != row:
            against = evidence.difference(table, row, base, name, table.families)
        p = p_values.get((row, name))
        found[name] = CapabilityFact(
            name, state, estimate(interval),
            estimate_of_difference(against, round(interval.cells) if interval else 0),
            evidence.better(p), evidence.worse(p),
            _more_photos(interval, target) if state == "OPEN" else None,
            interval.floor if interval else None, interval.ceiling if interval else None,
        )
    return found


def _dropped_fact(
    table: Table, row: int, name: str, target: float, interval: RateInterval | None
) -> CapabilityFact:
    """A capability of a row that a screening dropped: never passed, never compared."""
    ceiling = evidence.cautious_ceiling(table, row, name)
    rate = estimate(interval)
    note = "; ".join(filter(None, (rate.note, dropped_note(table, row))))
    return CapabilityFact(name, state_of(0.0, ceiling, target), replace(rate, note=note), floor=0.0, ceiling=ceiling)


def dropped_note(table: Table, row: int) -> str:
    """'screened out after 12 pictures', or ''."""
    pictures = table.screening.out.get(table.candidates[row].name)
    return "" if pictures is None else f"screened out after {pictures} pictures"


def _more_photos(interval: RateInterval | None, target: float) -> int | None:
    """Photographs to add so that an open capability is probably settled."""
    if interval is None or interval.photos == 0:
        return None
    each = interval.cells / interval.photos
    needed = photos_to_settle(interval.value, target, each, max(0.1, interval.icc))
    return None if needed is None else max(1, needed - interval.photos)


def candidate_facts(
    table: Table, row: int, capabilities: Mapping[str, CapabilityFact], generations: Mapping[str, Generation],
    means: Mapping[str, float], chances: Chances, truth: float | None, faults: Mapping[str, int],
) -> CandidateFacts:
    """One row of the comparison matrix, still without sentences."""
    candidate = table.candidates[row]
    verdicts = table.verdicts.get(candidate.name, ())
    worst, best = _bounds(table, row)
    done = [v for v in verdicts if v.generated]
    told = verdicts if done else ()
    seconds = [float(generations[v.cell.id].seconds.get("total", 0.0)) for v in done]
    seconds = [value for value in seconds if value > 0]
    peaks = [generations[v.cell.id].peak_memory_bytes for v in done]
    edited = [v for v in verdicts if v.gates["edit"]]
    good, bad = ranked_cells(verdicts)
    overall = estimate(evidence.overall_rate(table, row, table.families))
    overall = replace(overall, note="; ".join(filter(None, (overall.note, dropped_note(table, row)))))
    return CandidateFacts(
        candidate.name, candidate.role, overall, best, worst,
        capabilities,
        share(told, lambda v: v.gates["edit"]), share(told, lambda v: v.gates["identity"]),
        share(edited, lambda v: v.gates["identity"]), share(done, lambda v: v.no_op),
        dict(faults),
        {
            "planned": table.planned.get(candidate.name, 0), "done": len(done),
            "failed": len(verdicts) - len(done), "unscored": sum(v.passed is None for v in verdicts),
        },
        means, fmean(seconds) if seconds else None, max(peaks) / GIB if peaks and max(peaks) > 0 else None,
        chances.p_best, best_cells=good, worst_cells=bad, licence=candidate.licence, card=candidate.card, truth=truth,
        screened_out=table.screening.out.get(candidate.name),
        rank_low=chances.ranks[0] if chances.ranks else None, rank_high=chances.ranks[1] if chances.ranks else None,
    )


def _bounds(table: Table, row: int) -> tuple[float | None, float | None]:
    """Consistency rate if every unscored cell had failed, and if it had passed."""
    passed, scored, silent = table.passed[row], table.scored[row], table.unscored[row]
    attempted = scored + silent
    low, high = [], []
    for f in range(len(table.families)):
        has = attempted[f] > 0
        if has.any():
            low.append(float((passed[f][has] / attempted[f][has]).mean()))
            high.append(float(((passed[f][has] + silent[f][has]) / attempted[f][has]).mean()))
    return (fmean(low), fmean(high)) if low else (None, None)


def ranked_cells(verdicts: Sequence[Verdict]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Cells worth looking at: passed ones, and failed ones with the most gates failed first; photographs take turns."""
    def failed(v: Verdict) -> int:
        return sum(answer is False for answer in v.gates.values())

    passed = [v for v in verdicts if v.passed is True]
    broken = sorted((v for v in verdicts if v.passed is False), key=lambda v: (-failed(v), v.cell.id))
    return _in_turns(passed), _in_turns(broken)


def _in_turns(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """Cell ids such that neighbours come from different photographs and families where possible."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.case.source, verdict.case.family].append(verdict.cell.id)
    found: list[str] = []
    while groups and len(found) < SHOWN_CELLS:
        for key in list(groups):
            found.append(groups[key].pop(0))
            if not groups[key]:
                del groups[key]
    return tuple(found[:SHOWN_CELLS])


def metric_means(scores: Sequence[Score], owner: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Mean of every metric's figure per candidate; missing figures are left out, not counted as zero.

    Args:
        scores: Stored scores.
        owner: Cell id → candidate.
    """
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for score in scores:
        name = owner.get(score.cell)
        if name is not None and score.value is not None and not score.rater:
            values[name][score.metric].append(score.value)
    return {name: {metric: fmean(found) for metric, found in sorted(mine.items())} for name, mine in values.items()}
