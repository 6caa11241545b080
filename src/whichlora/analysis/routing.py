"""Routing: for every kind of edit the row that is best at it, judged as one option.

Does: choose per capability on all photographs but one and read the choice on that one (cross-fitting), the same for the
best single row, so that neither is flattered by its choice; weigh time, switching included. Does not: word or decide
between strategies (`decide.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from whichlora.analysis import evidence
from whichlora.analysis.evidence import Costs
from whichlora.analysis.table import Table
from whichlora.stats.paired import Difference, paired_difference
from whichlora.stats.rates import RateInterval, rate_interval

WORTH = 0.05
"""Gain over the best single row below which several set-ups are not worth keeping (0 to 1)."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Routing:
    """The routed option beside the best single row."""

    routes: Mapping[str, str]
    """Capability → row, chosen on all photographs: what would be used."""
    single: str
    """Best single row over the same capabilities, chosen on all photographs."""
    rate: RateInterval
    """Rate of the routed option, each photograph judged by the choice of the others."""
    single_rate: RateInterval
    """The same of the best single row."""
    gain: Difference
    """Routed minus best single row, on the same photographs."""
    stability: float
    """Share of left-out photographs whose choice equals the one on all, 0 to 1."""
    seconds: float | None
    """Seconds a picture, edits in random order and switching included; None where a part was not measured."""
    single_seconds: float | None
    """Seconds a picture of the best single row."""
    switch_seconds: float | None
    """Seconds of one switch; None where it was not measured."""
    barred: bool
    """Over the user's limit of time or memory."""
    notes: tuple[str, ...] = field(default=())
    """What a reader must know."""

    @property
    def names(self) -> tuple[str, ...]:
        """Rows that the routes use, each once."""
        return tuple(dict.fromkeys(self.routes.values()))

    @property
    def chosen(self) -> bool:
        """Whether routing is worth it: more than one row, a gain that is shown and that matters, within the limits."""
        return len(self.names) > 1 and self.gain.low > 0 and self.gain.value >= WORTH and not self.barred


def route(
    table: Table, must: Sequence[str], costs: Mapping[str, Costs] | None = None, *,
    switch_seconds: float | None = None, max_seconds: float | None = None, max_memory_gib: float | None = None,
) -> Routing | None:
    """Judge routing over all rows that may be recommended.

    Args:
        table: Measured rows.
        must: Must-haves; those that are no edit family are left out.
        costs: Row → what it costs.
        switch_seconds: Seconds of one switch of LoRAs.
        max_seconds: Longest acceptable seconds a picture.
        max_memory_gib: Largest acceptable memory.

    Returns:
        None with fewer than two capabilities, two photographs or two rows that were measured on all of them.
    """
    costs = costs or {}
    families = [name for name in must if name in table.families]
    rows = [row for row in evidence.in_play(table) if _complete(table, row, families)]
    if len(families) < 2 or len(rows) < 2:
        return None
    rates = np.array([[_by_photo(table, row, name) for name in families] for row in rows])
    photos = [i for i in range(rates.shape[2]) if not np.isnan(rates[:, :, i]).all()]
    rates = rates[:, :, photos]
    if rates.shape[2] < 2:
        return None
    whole_routes, whole_single = _choice(rates)
    routed, alone, same = [], [], 0
    for left in range(rates.shape[2]):
        kept = [i for i in range(rates.shape[2]) if i != left]
        picks, single = _choice(rates[:, :, kept])
        same += bool((picks == whole_routes).all())
        routed.append(_mean(rates[picks, range(len(families)), left]))
        alone.append(_mean(rates[single, :, left]))
    routed_values, alone_values = np.array(routed), np.array(alone)
    has = ~np.isnan(routed_values) & ~np.isnan(alone_values)
    routed_values, alone_values = routed_values[has], alone_values[has]
    if len(routed_values) < 2:
        return None
    cells = _cells(table, rows, families)
    routes = {name: table.candidates[rows[int(pick)]].name for name, pick in zip(families, whole_routes, strict=True)}
    single_name = table.candidates[rows[whole_single]].name
    seconds, notes = _seconds(routes, costs, switch_seconds)
    memory = [costs[name].memory_gib for name in dict.fromkeys(routes.values()) if name in costs]
    slow = max_seconds is not None and seconds is not None and seconds > max_seconds
    big = max_memory_gib is not None and any(m is not None and m > max_memory_gib for m in memory)
    mine = costs.get(single_name)
    return Routing(
        routes, single_name, rate_interval(routed_values, cells), rate_interval(alone_values, cells),
        paired_difference(routed_values, alone_values, cells), same / rates.shape[2], seconds,
        mine.seconds if mine else None, switch_seconds, slow or big, notes,
    )


def _complete(table: Table, row: int, families: Sequence[str]) -> bool:
    return all(table.counts(row, name)[1].sum() > 0 for name in families)


def _by_photo(table: Table, row: int, name: str) -> Floats:
    return evidence.photo_rates(table, row, name, ())[0]


def _choice(rates: Floats) -> tuple[NDArray[np.intp], int]:
    """Best row per capability, and the best single row; the first of equals, so that the base goes before LoRAs.

    Args:
        rates: (rows, capabilities, photographs), NaN where nothing is scored.
    """
    with np.errstate(invalid="ignore"):
        has = ~np.isnan(rates)
        means = np.where(has, rates, 0.0).sum(axis=2) / np.maximum(has.sum(axis=2), 1)
    means = np.round(np.where(has.any(axis=2), means, -1.0), 9)
    single = int(means.mean(axis=1).argmax())
    picks = means.argmax(axis=0)
    # Where the best single row is as good as any, it is kept: a switch that brings nothing costs time.
    ties = means[single] >= means.max(axis=0) - 1e-9
    return np.where(ties, single, picks), single


def _mean(values: Floats) -> float:
    found = values[~np.isnan(values)]
    return float(found.mean()) if found.size else float("nan")


def _cells(table: Table, rows: Sequence[int], families: Sequence[str]) -> float:
    """Cells per photograph behind a rate over the capabilities, on harmonic average."""
    counts = np.array([sum(table.counts(row, name)[1] for name in families) for row in rows], dtype=float)
    counts = counts[counts > 0]
    return float(len(counts) / np.sum(1 / counts)) if counts.size else 1.0


def _seconds(
    routes: Mapping[str, str], costs: Mapping[str, Costs], switch_seconds: float | None
) -> tuple[float | None, tuple[str, ...]]:
    """Seconds a picture when every kind of edit is asked equally often, in random order."""
    each = [costs[name].seconds if name in costs else None for name in routes.values()]
    if any(value is None for value in each):
        return None, ("the time of a routed row is not known",)
    plain = float(np.mean([value for value in each if value is not None]))
    names = list(routes.values())
    shares = np.array([names.count(name) / len(names) for name in dict.fromkeys(names)])
    changes = float(1 - (shares**2).sum())
    if switch_seconds is None:
        return plain, (("switching was not timed",) if changes else ())
    return plain + changes * switch_seconds, ()
