"""Which set-ups are exported: those that the findings recommend, or those that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whichlora.errors import RefusedError, UnknownNameError
from whichlora.findings import Recommendation
from whichlora.types import Candidate, Plan


@dataclass(frozen=True, slots=True)
class Choice:
    """Set-ups to export, and why these."""

    candidates: tuple[Candidate, ...]
    """Rows of the plan, in its order; never a control row."""
    reason: str
    """One sentence for the manifest and the user."""


def choose(plan: Plan, advice: Recommendation | None, wanted: Sequence[str] = ()) -> Choice:
    """The set-ups to export.

    Args:
        plan: The stored plan.
        advice: The stored recommendation; None when nothing was decided yet.
        wanted: Names given by the user; empty to follow the recommendation.

    Raises:
        UnknownNameError: A wanted name is no row of the plan, or is a control row.
    """
    rows = {row.name: row for row in plan.candidates if row.role != "control"}
    for name in wanted:
        if name not in rows:
            raise UnknownNameError("candidate", name, rows)
    if wanted:
        return Choice(_in_order(plan, wanted), "You named them.")
    names = [] if advice is None or advice.decision in ("custom", "undecided") else _recommended(advice, rows)
    if names and advice is not None:
        return Choice(_in_order(plan, names), f"The findings recommend them ({advice.decision}).")
    why = "nothing was decided yet" if advice is None else f"the findings say '{advice.decision}'"
    return Choice(tuple(rows.values()), f"Every row that is no control, because {why}.")


def leading(plan: Plan, advice: Recommendation | None, wanted: Sequence[str] = ()) -> Choice:
    """As `choose`, but for set-ups to be used: while nothing is recommended, the leaning's own, never every row.

    Raises:
        UnknownNameError: As `choose`.
        RefusedError: Nothing leads and no name was given.
    """
    rows = {row.name: row for row in plan.candidates if row.role != "control"}
    if wanted:
        return choose(plan, advice, wanted)
    names = _recommended(advice, rows) if advice is not None else []
    if not names:
        raise RefusedError(f"No set-up is recommended: {_why_none(advice)}.",
                           fix=f"Name one with --candidate: {', '.join(rows)}.")
    settled = advice is not None and advice.decision not in ("custom", "undecided")
    lead = "The findings recommend it" if settled else "The findings lean to it without being sure"
    return Choice(_in_order(plan, names), f"{lead}.")


def _why_none(advice: Recommendation | None) -> str:
    if advice is None:
        return "nothing was decided yet"
    if "custom" in (advice.decision, advice.provisional):
        lead = "lean to" if advice.decision == "undecided" else "call for"
        return f"the findings {lead} training a LoRA of your own, for which 'dataset' is the export"
    return f"the findings say '{advice.decision}' and name none"


def _recommended(advice: Recommendation, rows: dict[str, Candidate]) -> list[str]:
    """Names of rows in a recommendation: the row itself, its routes, or the rows joined by ' + '."""
    if advice.candidate in rows:
        return [advice.candidate]
    routed = [name for name in advice.routes.values() if name in rows]
    parts = [name for name in advice.candidate.split(" + ") if name in rows]
    return list(dict.fromkeys(routed or parts))


def _in_order(plan: Plan, names: Sequence[str]) -> tuple[Candidate, ...]:
    return tuple(row for row in plan.candidates if row.name in set(names))
