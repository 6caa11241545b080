"""From a budget of GPU time to a plan: how many photographs, instructions and seeds, and whether to screen.

Photographs come first: each is an independent witness, and more seeds on the same ones show little. Does not: read
or write a project, or know how pictures are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from whichlora.errors import UserError
from whichlora.findings import build
from whichlora.plan.price import counted
from whichlora.stats.power import rough_points
from whichlora.stats.screening import Round, cost, schedule

DOCUMENT = "design"
"""Name of the document in the store."""
NIGHT_S = 8 * 3600.0
"""What a plan may take when nobody names a budget: one night."""
FINALISTS = 2
"""Candidates that a screening measures to the end."""
FAIR_SHARE = 0.35
"""Share of the full matrix with which a screening finds the best almost as surely as the full matrix does (see
`bench/screening.py`); a smaller share must be outweighed by more photographs."""
LEAST_STEPS = 4
"""Pictures per candidate before the first is dropped."""
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_TIME = re.compile(r"^\s*(\d+(?:[.,]\d+)?)\s*(?:gpu[\s-]*)?(h|hours?|hrs?|m|min|minutes?|s|sec|seconds?)\s*$", re.I)


def parse_budget(text: str) -> float:
    """Seconds of GPU time from '3h', '90m', '40 GPU-min' or '1h30m'.

    Raises:
        UserError: It is no time, or not above zero.
    """
    parts = re.findall(r"[^a-z]*(?:gpu[\s-]*)?[a-z]+", text.strip(), re.I) or [text]
    total = 0.0
    for part in parts:
        match = _TIME.match(part)
        if match is None:
            raise UserError(f"'{text}' is no budget.", fix="Write a time, such as 3h, 90m, 1h30m or '40 GPU-min'.")
        total += float(match[1].replace(",", ".")) * _UNITS[match[2][0].lower()]
    if "".join(parts).replace(" ", "") != text.replace(" ", "") or not 0 < total < 366 * 24 * 3600:
        raise UserError(f"'{text}' is no budget.", fix="Write a time above zero, such as 3h, 90m or '40 GPU-min'.")
    return total


def as_time(seconds: float) -> str:
    """'40 s', '1.5 min', '12 min' or '3.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.1f} min" if seconds < 570 and seconds % 60 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


@dataclass(frozen=True, slots=True)
class Material:
    """What a plan can be made of."""

    photos: int
    """Photographs that are fit to be edited."""
    edits: Mapping[str, str]
    """Edit → capability, in the suite's order."""
    must_have: tuple[str, ...]
    """Capabilities that the user needs."""
    seeds: tuple[int, ...]
    """Seeds in the suite's order."""
    candidates: tuple[float, ...]
    """Relative cost of a picture, by candidate."""
    bases: tuple[float, ...] = (1.0,)
    """The same by base row, which is always measured."""


@dataclass(frozen=True, slots=True)
class Design:
    """A plan that fits a budget."""

    photos: int
    """Photographs that are edited."""
    edits: tuple[str, ...]
    """Instructions."""
    seeds: tuple[int, ...]
    """Seeds."""
    rounds: tuple[Round, ...] = ()
    """Screening schedule for the candidates of the suite; empty where everything is measured."""
    share: float = 1.0
    """Share of the candidates' cells that the schedule may spend."""
    candidates: int = 0
    """Candidates it was made for; `rounds_for` adapts the schedule when others are admitted."""
    cells: int = 0
    """Pictures of base and candidates that will be made."""
    full_cells: int = 0
    """Pictures of base and candidates without screening."""
    seconds: float | None = None
    """Predicted GPU time; None where nothing is known of this machine."""
    budget_s: float | None = None
    """Budget it was made for; None where none was named."""
    basis: str = ""
    """Where the time of a picture comes from."""
    why: tuple[str, ...] = field(default_factory=tuple[str, ...])
    """Two sentences that explain the choice."""
    suite: str = ""
    """Fingerprint of what it was chosen from, so that a changed suite gets a new one."""

    @property
    def screened(self) -> bool:
        """Does it drop candidates on the way?"""
        return bool(self.rounds)

    def rounds_for(self, candidates: int, steps: int) -> tuple[Round, ...]:
        """The schedule for as many candidates and steps as there really are, at the same cost."""
        if not self.rounds or candidates <= FINALISTS:
            return ()
        if (candidates, steps) == (self.candidates, self.rounds[-1].steps):
            return self.rounds
        return schedule(candidates, steps, min(1.0, self.share * self.candidates / candidates), FINALISTS)


def design_to_json(design: Design) -> dict[str, Any]:
    """Plain data of a design."""
    return asdict(design)


def design_from_json(data: Mapping[str, Any] | None) -> Design | None:
    """Rebuild a design, or None."""
    return build(Design, data) if data else None


def full_design(material: Material, photos: int, second: float | None, basis: str) -> Design:
    """Everything the suite asks for, measured in full."""
    cells = photos * len(material.edits) * len(material.seeds)
    price = None if second is None else second * cells * (sum(material.candidates) + sum(material.bases))
    count = cells * (len(material.candidates) + len(material.bases))
    return Design(photos, tuple(material.edits), material.seeds, candidates=len(material.candidates), cells=count,
                  full_cells=count, seconds=price, basis=basis)


def choose_design(material: Material, budget_s: float, second: float, basis: str) -> Design:
    """The plan within a budget that can show the smallest difference to base.

    Args:
        material: What there is.
        budget_s: Seconds of GPU time.
        second: Seconds of a picture of relative cost 1.
        basis: Where that figure comes from.

    Raises:
        UserError: The budget pays for no comparison at all.
    """
    found = list(_within(material, budget_s, second))
    if found:
        return _explained(material, min(found, key=lambda design: _merit(material, design)), budget_s, basis)
    smallest = min(_all(material, second), key=lambda design: design.seconds or 0.0)
    raise UserError(
        f"A budget of {as_time(budget_s)} pays for about {int(budget_s / second)} pictures at {second:.1f} s; the "
        f"smallest comparison of these candidates takes {smallest.cells}.",
        fix=f"Name {as_time(1.05 * (smallest.seconds or 0.0))} or more, or fewer candidates.",
    )


def _merit(material: Material, design: Design) -> tuple[float, float, int, int]:
    """Smaller is better: what could be shown of a finalist, then more photographs, no screening, fewer pictures.

    Where nothing could be shown, a cheaper plan is not better: all that the budget pays for is asked.
    """
    each = len(design.edits) * len(design.seeds)
    points = rough_points(design.photos, each, candidates=max(1, len(material.candidates)))
    if points is None:
        return 200.0 - design.photos, -design.photos, int(design.screened), -design.cells
    doubt = max(1.0, FAIR_SHARE / design.share) ** 0.5
    return round(points * doubt, 1), -design.photos, int(design.screened), design.cells


def _within(material: Material, budget_s: float, second: float) -> Iterator[Design]:
    # Beyond 40, every number of photographs need not be tried.
    for photos in sorted({-(-material.photos * part // 40) for part in range(1, 41)}, reverse=True):
        for edits in _edit_levels(material):
            for count in range(len(material.seeds), 0, -1):
                shape = (photos, edits, material.seeds[:count])
                whole = _priced(material, shape, (), 1.0, second)
                if whole.seconds is not None and whole.seconds <= budget_s:
                    yield whole
                    continue
                design = _screened(material, shape, budget_s, second)
                if design is not None:
                    yield design


def _all(material: Material, second: float) -> Iterator[Design]:
    """The smallest designs: one seed, one photograph, one instruction per capability."""
    yield _priced(material, (1, _edit_levels(material)[-1], material.seeds[:1]), (), 1.0, second)


def _edit_levels(material: Material) -> list[tuple[str, ...]]:
    """Instructions to ask: all, then fewer per capability, then of must-haves only."""
    by_family: dict[str, list[str]] = {}
    for name, family in material.edits.items():
        by_family.setdefault(family, []).append(name)
    levels: list[tuple[str, ...]] = []
    for depth in range(max(map(len, by_family.values()), default=0), 0, -1):
        kept = {name for names in by_family.values() for name in names[:depth]}
        levels.append(tuple(name for name in material.edits if name in kept))
    needed = tuple(name for name in levels[-1] if material.edits[name] in material.must_have)
    if needed and needed != levels[-1]:
        levels.append(needed)
    return levels


Shape = tuple[int, tuple[str, ...], tuple[int, ...]]


def _priced(material: Material, shape: Shape, rounds: Sequence[Round], share: float, second: float) -> Design:
    photos, edits, seeds = shape
    steps, count = photos * len(edits) * len(seeds), len(material.candidates)
    mean = sum(material.candidates) / count if count else 0.0
    spent = cost(count, rounds) if rounds else count * steps
    base = (rounds[-1].steps if rounds else steps) * len(material.bases)
    seconds = second * (spent * mean + (rounds[-1].steps if rounds else steps) * sum(material.bases))
    return Design(photos, edits, seeds, tuple(rounds), share, count, spent + base,
                  steps * (count + len(material.bases)), seconds)


def _screened(material: Material, shape: Shape, budget_s: float, second: float) -> Design | None:
    """The same shape with fewer pictures of candidates, if that fits; finalists are always completed."""
    photos, edits, seeds = shape
    steps, count = photos * len(edits) * len(seeds), len(material.candidates)
    if count <= FINALISTS:
        return None
    mean = sum(material.candidates) / count
    room = budget_s / second - steps * sum(material.bases)
    share = min(1.0, room / (mean * count * steps))
    rounds = schedule(count, steps, share, FINALISTS) if share > 0 else ()
    if not rounds or rounds[-1].steps < steps or rounds[0].steps < min(LEAST_STEPS, steps):
        return None
    return _priced(material, shape, rounds, share, second)


def _explained(material: Material, design: Design, budget_s: float, basis: str) -> Design:
    edits, seeds = len(design.edits), len(design.seeds)
    first = (
        f"Photographs first, since each is an independent witness: {design.photos} of {material.photos}; then {edits} "
        f"of {counted(len(material.edits), 'instruction')} and {seeds} of {counted(len(material.seeds), 'seed')}."
    )
    return replace(design, budget_s=budget_s, basis=basis, why=(first, schedule_sentence(material, design)))


def schedule_sentence(material: Material, design: Design) -> str:
    """How the candidates are measured, in one sentence."""
    if not design.rounds:
        return "Every candidate is measured in full: that fits."
    cuts = [(stage.steps, stage.keep) for stage in design.rounds[:-1]]
    fields = ", ".join(str(keep) for _, keep in cuts)
    steps = ", ".join(str(step) for step, _ in cuts)
    return (
        f"Screening: after {steps} pictures each, {fields} of {len(material.candidates)} candidates stay, and the "
        f"last {design.rounds[-1].keep} get all {design.rounds[-1].steps}; {design.cells} pictures instead of "
        f"{design.full_cells}."
    )
