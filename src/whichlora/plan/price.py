"""What a plan costs and what it can show. Prices come from measurements in the project's own store, or are unknown."""

from __future__ import annotations

from pathlib import Path

from whichlora.types import Plan


def measured_seconds(folder: Path, plan: Plan) -> tuple[float | None, str]:
    """Mean seconds of the pictures that this project already has, and where the figure comes from.

    Returns:
        (seconds or None, basis in a few words). Nothing is guessed for a card that was not measured.
    """
    from whichlora.store import Store

    if not (folder / "store.sqlite").exists():
        return None, "no picture was made here yet; make some, or say --seconds"
    controls = {candidate.name for candidate in plan.candidates if candidate.role == "control"}
    paid = {cell.id for cell in plan.cells if cell.candidate not in controls}
    with Store(folder) as store:
        seconds = [
            generation.seconds["total"] for cell, generation in store.generations().items()
            if cell in paid and generation.status == "done"
        ]
    if not seconds:
        return None, "no picture of this plan was made here yet; make some, or say --seconds"
    return sum(seconds) / len(seconds), f"mean of {len(seconds)} pictures made in this project"


def power_sentence(plan: Plan) -> tuple[float | None, str]:
    """Smallest difference to base that this plan would probably show, in points, and the advice that follows."""
    from whichlora.stats.power import detectable_points

    photos = len(plan.sources)
    candidates = max(1, sum(1 for candidate in plan.candidates if candidate.role == "candidate"))
    per_photo = len(plan.cases) // max(1, photos) * max(1, len({cell.seed for cell in plan.cells}))
    now = detectable_points(photos, per_photo, candidates=candidates)
    wider = photos * 4
    then = detectable_points(wider, max(1, per_photo // 4), candidates=candidates)
    if now is None:
        start = f"With {photos} photographs no difference between candidates can be shown; direction only."
    else:
        start = f"With {photos} photographs you can detect differences of {now:.0f} points or more (power 80 %)."
    if then is None:
        return now, start
    return now, f"{start} {wider} photographs at about the same cost: {then:.0f} points."
