"""`whichlora sweep PROJECT NAME`: which weight of a LoRA serves best, and is another one worth it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded
from whichlora.errors import ProjectError, UnknownNameError, UserError
from whichlora.quoting import quoted

if TYPE_CHECKING:
    from whichlora.analysis.sweeping import Point, SweepResult
    from whichlora.cli._more import Measured
    from whichlora.types import Candidate

DOCUMENT = "sweeps"
"""Stored results by candidate."""


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="A project that has been run.")],
    name: Annotated[str, typer.Argument(help="The candidate whose weight is swept; it has one LoRA.")],
    families: Annotated[
        list[str] | None, typer.Option("--family", help="Only these kinds of edit; the must-haves when left out.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cuda, mps or cpu.")] = "auto",
    in_process: Annotated[bool, typer.Option("--in-process", help="No worker processes.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Find the best weight of one LoRA on half of the photographs and judge it on the other half."""
    from whichlora.cli._more import open_measured
    from whichlora.run.choose import Hiring

    with open_measured(folder, device, Hiring(in_process=in_process)) as measured:
        document = run_sweep(measured, name, families or [])
    if json:
        emit_json("whichlora.sweep/1", document)
        return
    answer_console.print(f"{'weight':>8} {'consistent':>11} {'edit':>6} {'identity':>9}")
    for point in document["points"]:
        answer_console.print(f"{point['weight']:>8g} {100 * point['rate']:>10.0f}% {100 * point['edit']:>5.0f}% "
                             f"{100 * point['identity']:>8.0f}%")
    for sentence in document["sentences"]:
        answer_console.print(sentence, markup=False)
    answer_console.print(f"The curve is in the report: whichlora report {quoted(folder)}", markup=False)


def run_sweep(measured: Measured, name: str, families: Sequence[str] = ()) -> dict[str, Any]:
    """Sweep, judge and store; returns the stored document.

    Raises:
        UserError: The candidate has not exactly one LoRA, or there are too few photographs to judge a pick.
        ProjectError: No picture could be scored.
    """
    from whichlora.analysis import sweeping, told
    from whichlora.analysis.ledger import Ledger

    row = measured.row(name)
    if len(row.adapters) != 1:
        raise UserError(f"'{name}' has {len(row.adapters)} LoRAs; a sweep is of one.",
                        fix="Sweep its parts, or see: whichlora combine PROJECT")
    wanted = _families(measured, families)
    picking, judging = sweeping.halves([source.id for source in measured.plan.sources])
    if not judging:
        raise UserError("One photograph cannot both pick a weight and judge it.", fix="Add photographs to refs/.")
    try:
        picked = sweeping.search(lambda weights: _points(measured, row, weights, picking, wanted))
        result = _judge(measured, row, picked, judging, wanted)
    except ValueError as error:
        raise ProjectError(f"The sweep of '{name}' says nothing: {error}.",
                           fix="See why in the report; drawn characters need votes: whichlora review PROJECT"
                           ) from error
    ledger = Ledger()
    own = row.adapters[0].weight
    sentences = told.sweep(result, name, own, (len(picking), len(judging)), ledger)
    document = {
        "candidate": name, "own_weight": own, "use": result.use, "families": list(wanted),
        "photographs": {"picking": list(picking), "judging": list(judging)},
        **{key: value for key, value in asdict(result).items() if key != "use"},
        "base": _base_point(measured, row, picking, wanted), "sentences": list(sentences), "bound": told.bound(ledger),
    }
    measured.remember(DOCUMENT, name, document)
    return document


def _families(measured: Measured, families: Sequence[str]) -> tuple[str, ...]:
    tested = list(dict.fromkeys(case.family for case in measured.plan.cases))
    unknown = next((name for name in families if name not in tested), None)
    if unknown is not None:
        raise UnknownNameError("tested capability", unknown, tested)
    return tuple(families) or tuple(name for name in measured.plan.must_have if name in tested) or tuple(tested)


def at_weight(row: Candidate, weight: float) -> Candidate:
    """The row with its one LoRA at another weight."""
    use = replace(row.adapters[0], weight=weight)
    return replace(row, name=f"{row.name} ×{weight:g}", adapters=(use,))


def _points(
    measured: Measured, row: Candidate, weights: Sequence[float], photos: Sequence[str], families: Sequence[str]
) -> list[Point]:
    """Measure some weights on the photographs for picking."""
    from whichlora.plan.extend import part_of

    rows = [at_weight(row, weight) for weight in weights]
    part = part_of(measured.plan, rows, photos=photos, families=families)
    measured.measure(part)
    verdicts = measured.verdicts(part)
    found = (_point(verdicts, one.name, weight) for one, weight in zip(rows, weights, strict=True))
    return [point for point in found if point is not None]


def _point(verdicts: Any, name: str, weight: float) -> Point | None:
    import math

    from whichlora.analysis.measured import gate_rates
    from whichlora.analysis.sweeping import Point

    rate, edit, identity, cells = gate_rates(verdicts, name)
    if not cells:
        return None
    edit, identity = (0.0 if math.isnan(value) else value for value in (edit, identity))
    return Point(weight, rate, edit, identity, cells)


def _base_point(
    measured: Measured, row: Candidate, photos: Sequence[str], families: Sequence[str]
) -> dict[str, float] | None:
    """The base on the photographs for picking: the curve's left end."""
    part = _base_part(measured, row, photos, families)
    point = _point(measured.verdicts(part), part.candidates[0].name, 0.0)
    return asdict(point) if point else None


def _base_part(measured: Measured, row: Candidate, photos: Sequence[str], families: Sequence[str]) -> Any:
    from whichlora.plan.extend import part_of

    bases = [one for one in measured.plan.candidates if one.role == "base"]
    base = next((one for one in bases if one.sampler == row.sampler), bases[0])
    return part_of(measured.plan, [base], photos=photos, families=families)


def _judge(
    measured: Measured, row: Candidate, picked: Any, photos: Sequence[str], families: Sequence[str]
) -> SweepResult:
    """Measure the pick, the suite's weight and the base on the photographs that were held out."""
    from whichlora.analysis import sweeping
    from whichlora.analysis.measured import gate_rates, rates_of
    from whichlora.plan.extend import part_of

    points, best = picked
    own = row.adapters[0].weight
    rows = {"pick": at_weight(row, best.weight)}
    if abs(best.weight - own) > 1e-9:
        rows["own"] = at_weight(row, own)
    rows["base"] = _base_part(measured, row, photos, families).candidates[0]
    part = part_of(measured.plan, list(rows.values()), photos=photos, families=families)
    measured.measure(part)
    table = measured.table(part)
    at = [table.families.index(name) for name in families if name in table.families]
    held = {}
    for key, one in rows.items():
        rates, cells = rates_of(table, one.name, photos)
        held[key] = (rates[at], cells[at])
    _, edit, identity, _ = gate_rates(measured.verdicts(part), rows["pick"].name)
    return sweeping.conclude(points, best, held, (edit, identity))
