"""What a plan costs and what it can show.

Prices come from measurements in the project's own store; before there are any, from a short list of cards, labelled
as a prediction. For other machines the price is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from whichlora.stats.screening import Round, cost, schedule
from whichlora.types import Plan, SamplerProfile

FULL_AREA = 1024 * 1024
FORWARDS = {
    "H100": (0.391, "an H100 measured with weights of the true size"),
    "H200": (0.391, "an H100 measured with weights of the true size; an H200 computes alike"),
    "4090": (1.3, "a 24 GiB card, weights streamed while it computes: not measured on this card"),
}
"""Part of a card's name → seconds of one pass through the 20-billion-parameter model at 1024², and where from."""
AREA_POWER = 1.3
"""A pass at a quarter of the area takes about a sixth of the time: attention grows faster than the area."""
EXTRA_PASSES = 1.3
"""What encoding and decoding a picture cost, in passes."""
FAMILY = "qwen_image_edit"


def passes(sampler: SamplerProfile) -> float:
    """Cost of one picture in passes through the model at 1024² with one photograph."""
    guided = 2 if sampler.true_cfg_scale > 1.0 else 1
    area = (sampler.reference_area_px / FULL_AREA) ** AREA_POWER
    return (sampler.num_inference_steps * guided + EXTRA_PASSES) * area


def seconds_per_pass(folder: Path, plan: Plan, device: str) -> tuple[float | None, str]:
    """Seconds of one unit of `passes`, measured here or predicted, and where the figure comes from."""
    measured, basis = _measured(folder, plan)
    if measured is not None:
        return measured, basis
    if device != "cuda" or plan.base.family != FAMILY:
        return None, basis
    from whichlora.machine.probe import read_gpus

    cards = [gpu.name for gpu in read_gpus()[0]]
    for part, (seconds, source) in FORWARDS.items():
        if any(part in name for name in cards):
            return seconds, f"a prediction, nothing was made here yet: {source}"
    return None, basis


def _measured(folder: Path, plan: Plan) -> tuple[float | None, str]:
    """Seconds of a pass over the pictures of the plan that this project already has."""
    from whichlora.store import Store

    nothing = "no picture of this plan was made here yet; make some, or say --seconds"
    if not (folder / "store.sqlite").exists():
        return None, nothing
    samplers = {row.name: row.sampler for row in plan.candidates if row.role != "control"}
    units = {cell.id: passes(samplers[cell.candidate]) for cell in plan.cells if cell.candidate in samplers}
    with Store(folder) as store:
        made = [
            (generation.seconds["total"], units[cell]) for cell, generation in store.generations().items()
            if cell in units and generation.status == "done" and generation.seconds.get("total", 0) > 0
        ]
    if not made:
        return None, nothing
    # The middle one: the first picture of a process warms everything up.
    basis = f"median of {len(made)} pictures made in this project"
    return median(seconds / unit for seconds, unit in made), basis


def power_sentence(
    photos: int, edits: Sequence[str], seeds: int, candidates: int, rounds: tuple[Round, ...] = (),
) -> tuple[float | None, str]:
    """Smallest gain over base that a plan would show in four of five cases, in points, and the advice that follows.

    Args:
        photos: Photographs that are edited.
        edits: Capability of each instruction.
        seeds: Seeds of each.
        candidates: Candidates compared with base.
        rounds: Screening schedule; empty where everybody is measured in full.

    Returns:
        Points (None where nothing can be shown), and one or two sentences.
    """
    from whichlora.stats.power import detectable_points

    if candidates < 1:
        return None, "No LoRA is compared with the base, so no gain over it can be shown: name candidates first."
    each, families = len(edits) * seeds, tuple(edits)
    now = detectable_points(photos, each, candidates=candidates, rounds=rounds, families=families)
    if now is None:
        reason = "needs 6 or more" if photos < 6 else "no gain is large enough for so few pictures"
        start = f"With {counted(photos, 'photograph')} no difference to base can be shown ({reason}); direction only."
    else:
        start = f"With {counted(photos, 'photograph')} you can detect differences to base of {now:.0f} points or more."
    wider = photos * 4
    share = cost(candidates, rounds) / (candidates * photos * each) if rounds else 1.0
    for fewer, price in ((each // 4, "about the same cost"), (each, "about four times the cost")):
        then = detectable_points(
            wider, fewer, candidates=candidates, families=families[:: max(1, len(families) // fewer)],
            rounds=schedule(candidates, wider * fewer, share) if rounds else (),
        ) if fewer else None
        if then is not None:
            start += f" {wider} photographs at {price}: {then:.0f} points or more."
            break
    screened = ", with all that screening costs" if rounds else ""
    return now, start + f" (Four times out of five, over all edits, from a base at 50%{screened}.)"


def counted(number: int, noun: str) -> str:
    """'1 photograph' or '5 photographs'."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
