"""`whichlora route PROJECT`: the best candidate for every kind of edit, judged as one option with its cost."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded

if TYPE_CHECKING:
    from whichlora.cli._more import Measured

DOCUMENT = "routing"
"""Stored result."""
REPEATS = 3


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="A project that has been run.")],
    max_seconds: Annotated[
        float | None, typer.Option("--max-seconds", help="Longest time a picture may take, switching included.", min=0)
    ] = None,
    max_memory: Annotated[
        float | None, typer.Option("--max-memory-gib", help="Largest acceptable memory.", min=0)
    ] = None,
    no_timing: Annotated[
        bool, typer.Option("--no-timing", help="Do not load the base to time a change of LoRAs.")
    ] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cuda, mps or cpu.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Judge routing, cross-fitted over photographs, with the time that switching takes."""
    from whichlora.cli._more import open_measured, publish_again

    with open_measured(folder, device) as measured:
        document = judge(measured, max_seconds, max_memory, timing=not no_timing)
        publish_again(measured, measured.plan)
    if json:
        emit_json("whichlora.route/1", document)
        return
    for sentence in document["sentences"]:
        answer_console.print(sentence, markup=False)


def judge(
    measured: Measured, max_seconds: float | None = None, max_memory_gib: float | None = None, *, timing: bool = True
) -> dict[str, Any]:
    """Judge the routed option and store the result."""
    from whichlora.analysis import told
    from whichlora.analysis.ledger import Ledger
    from whichlora.analysis.routing import route

    table, costs = measured.table(), _costs(measured)
    limits: dict[str, Any] = {"max_seconds": max_seconds, "max_memory_gib": max_memory_gib}
    found = route(table, measured.plan.must_have, costs, **limits)
    if found is not None and timing and len(found.names) > 1:
        switch = time_switches(measured, found.names)
        found = route(table, measured.plan.must_have, costs, switch_seconds=switch, **limits)
    if found is None:
        document: dict[str, Any] = {
            "routes": {}, "chosen": False, "bound": {},
            "sentences": ["Too little is measured to judge routing: two kinds of edit, two photographs and two set-ups "
                          "are the least."],
        }
    else:
        ledger = Ledger()
        document = {**asdict(found), "chosen": found.chosen, "sentences": list(told.routing(found, ledger)),
                    "bound": told.bound(ledger)}
    measured.store.add_document(DOCUMENT, document)
    return document


def _costs(measured: Measured) -> dict[str, Any]:
    """Mean seconds and peak memory of every row's pictures."""
    from whichlora.analysis.evidence import Costs

    generations = measured.store.generations()
    found: dict[str, Any] = {}
    for row in measured.plan.candidates:
        done = [generation for cell in measured.plan.cells if cell.candidate == row.name
                and (generation := generations.get(cell.id)) is not None and generation.status == "done"]
        if done and row.role != "control":
            found[row.name] = Costs(sum(g.seconds["total"] for g in done) / len(done),
                                    max(g.peak_memory_bytes for g in done) / 1024**3)
    return found


def time_switches(measured: Measured, names: tuple[str, ...]) -> float:
    """Median seconds of a change from one routed row to another, files in the system's cache."""
    from whichlora import registry

    session = registry.load("families", measured.base.family).load(measured.base, measured.device)
    rows = [measured.row(name) for name in names]
    for row in rows:
        session.switch(row)
    return float(median(session.switch(row).seconds for _ in range(REPEATS) for row in rows))
