"""A screened run: make a round's pictures, have them scored, drop whoever is behind, go on with the rest.

Base and controls are measured throughout, finalists to the end. Every decision is derived from stored scores in a
fixed order, so a run that was killed comes to the same ones. Does not: make, score or know a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import RefusedError
from whichlora.plan.screening import RoundRecord, Screening, cells_of, shared_steps
from whichlora.stats.screening import Round, chosen_on, standing, survivors
from whichlora.types import Plan

LEAST_TOLD = 0.5
"""Share of a round's pictures that must be scored, or nobody is dropped on it."""

Make = Callable[[Collection[str]], None]
"""Makes and scores the cells of the given ids that are missing."""
Verdicts = Callable[[Collection[str]], Mapping[str, bool | None]]
"""Cell id → passed all gates, failed one, or None where nobody could say; cells not made yet are absent."""
Propose = Callable[[Sequence[str], Mapping[str, float]], tuple[Collection[str], str]]
"""(field, rates) after the first round → candidates that a cheaper sampler says are out, and a sentence."""


@dataclass(frozen=True)
class Steps:
    """What a screening measures, in order."""

    order: tuple[tuple[str, int], ...]
    """(case, seed)."""
    families: tuple[str, ...]
    """Capability of each."""
    needed: tuple[str, ...]
    """Capabilities that count when somebody is dropped."""

    @classmethod
    def of(cls, plan: Plan) -> Steps:
        """The shared steps of a plan."""
        order = shared_steps(plan)
        family = {case.id: case.family for case in plan.cases}
        families = tuple(family[case] for case, _ in order)
        return cls(order, families, tuple(name for name in plan.must_have if name in families) or families)


def run_rounds(
    plan: Plan, rounds: Sequence[Round], make: Make, verdicts: Verdicts,
    seen: Callable[[Screening, str], None] = lambda *_: None, propose: Propose | None = None,
) -> Screening:
    """Screen the candidates of a plan.

    Args:
        plan: The whole matrix.
        rounds: From `stats.screening.schedule`; not empty.
        make: See `Make`.
        verdicts: See `Verdicts`.
        seen: Called before every round and at the end with the state and a sentence for people.
        propose: Asked once, after the first round; what it names leaves early, unless the round's own pictures
            put it among those who would stay.

    Raises:
        RefusedError: Too few pictures could be scored to drop anybody.
    """
    steps = Steps.of(plan)
    field = [candidate.name for candidate in plan.candidates if candidate.role == "candidate"]
    always = [candidate.name for candidate in plan.candidates if candidate.role == "base"]
    controls = cells_of(plan, [c.name for c in plan.candidates if c.role == "control"])
    state = Screening(
        chosen_on=steps.order[: chosen_on(len(field), rounds)], planned=len(rounds), full=len(cells_of(plan, field)),
    )
    for number, stage in enumerate(rounds, start=1):
        last = number == len(rounds)
        seen(state, f"round {number} of {len(rounds)}: {_left(len(field))}")
        now = steps.order[: stage.steps]
        wanted = [*controls, *cells_of(plan, [*always, *field], now)]
        if last and stage.steps >= len(steps.order):
            # A LoRA's own advertised prompt is asked of finalists, and of base for them.
            own = {(cell.case, cell.seed) for cell in cells_of(plan, field)}
            wanted += [cell for cell in cells_of(plan, [*always, *field], own) if (cell.case, cell.seed) not in now]
        make([cell.id for cell in wanted])
        passed = table_of(plan, field, now, verdicts)
        rates = _rates(passed, steps, len(now), field)
        keep, note = _who_stays(passed, steps, len(now), (field, rates), stage.keep, last=last)
        if number == 1 and propose is not None and not last:
            proposed, said = propose(field, rates)
            keep, note = [name for name in keep if name not in _confirmed(proposed, keep, rates, rounds)], said
        state = replace(
            state, out={**state.out, **{name: len(now) for name in field if name not in keep}},
            rounds=(*state.rounds, RoundRecord(len(now), tuple(keep), rates)),
            notes=(*state.notes, note) if note else state.notes,
        )
        field = keep
    state = replace(state, finalists=tuple(field), cells=_asked(plan, steps, state, field))
    seen(state, f"{_left(len(field))} after {len(rounds)} rounds; {state.saved} pictures saved")
    return state


def _left(count: int) -> str:
    return f"{count} candidate{'' if count == 1 else 's'} left"


def table_of(
    plan: Plan, field: Sequence[str], now: Sequence[tuple[str, int]], verdicts: Verdicts
) -> NDArray[np.float64]:
    """Passed (1), failed (0) or unknown (NaN), by candidate and step."""
    place = {(cell.candidate, cell.case, cell.seed): cell.id for cell in cells_of(plan, field, now)}
    answers = verdicts(list(place.values()))
    table = np.full((len(field), len(now)), np.nan)
    for row, name in enumerate(field):
        for column, (case, seed) in enumerate(now):
            answer = answers.get(place[name, case, seed])
            if answer is not None:
                table[row, column] = answer
    return table


def _who_stays(
    passed: NDArray[np.float64], steps: Steps, count: int, who: tuple[Sequence[str], Mapping[str, float]], keep: int,
    *, last: bool,
) -> tuple[list[str], str]:
    """Names that stay, best first, and a remark."""
    field, rates = who
    if last:
        return sorted(field, key=lambda name: (-round(rates[name], 12), field.index(name))), ""
    columns = [i for i in range(count) if steps.families[i] in steps.needed]
    told = float((~np.isnan(passed[:, columns])).mean()) if columns else 0.0
    if told < LEAST_TOLD:
        raise RefusedError(
            f"Only {100 * told:.0f}% of the pictures of this round could be scored, too few to drop anybody.",
            fix="See why with: whichlora score PROJECT. Or measure everything: whichlora run PROJECT --full",
        )
    return [field[i] for i in survivors(passed[:, columns], [steps.families[i] for i in columns], keep)], ""


def _rates(passed: NDArray[np.float64], steps: Steps, count: int, field: Sequence[str]) -> dict[str, float]:
    """Rate over the must-haves so far."""
    columns = [i for i in range(count) if steps.families[i] in steps.needed]
    if not columns:
        return dict.fromkeys(field, 0.5)
    overall, _, _ = standing(passed[:, columns], [steps.families[i] for i in columns])
    return {name: round(float(rate), 6) for name, rate in zip(field, overall, strict=True)}


def _confirmed(
    proposed: Collection[str], keep: Sequence[str], rates: Mapping[str, float], rounds: Sequence[Round]
) -> set[str]:
    """Proposals that may leave: not among those who would survive the second cut on full pictures alone."""
    safe = sorted(keep, key=lambda name: -rates[name])[: reach(len(rates), rounds)]
    return {name for name in proposed if name in keep and name not in safe}


def reach(candidates: int, rounds: Sequence[Round]) -> int:
    """Candidates that the second cut leaves (the first where there is only one): proposals go so far at most."""
    left = sorted({stage.keep for stage in rounds if stage.keep < candidates}, reverse=True)
    return left[min(1, len(left) - 1)] if left else candidates


def _asked(plan: Plan, steps: Steps, state: Screening, finalists: Sequence[str]) -> int:
    """Pictures of candidates that were asked for."""
    reached = state.rounds[-1].steps if state.rounds else 0
    spent = sum(state.out.values())
    if reached >= len(steps.order):
        return spent + len(cells_of(plan, finalists))
    return spent + reached * len(finalists)
