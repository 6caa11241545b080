"""`whichlora tune PROJECT`: which near-lossless speed-ups leave your own scores alone? All off by default."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from whichlora.cli.output import answer_console, emit_json, guarded, progress_console


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="The project folder.")],
    only: Annotated[
        list[str] | None, typer.Option("--try", help="A speed-up to measure; repeat for several. Left out: all.")
    ] = None,
    row: Annotated[
        list[str] | None, typer.Option("--row", help="A row to measure on; repeat. Left out: base, first candidate.")
    ] = None,
    margin: Annotated[float, typer.Option("--margin", help="Largest change of the rate that does not matter.",
                                          min=0.001, max=0.5)] = 0.05,
    device: Annotated[str, typer.Option("--device", help="auto, cuda, mps or cpu.")] = "auto",
    apply: Annotated[bool, typer.Option("--apply", help="Write what was admitted into the suite.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Make the same cells exactly and fast, score both, and say whether the difference stays inside the margin."""
    from whichlora.cli._tuning import TRIALS, Outcome, compare, measured, switched_on, verdicts
    from whichlora.cli.project import choose_device, open_project
    from whichlora.cli.stages import require_run_extra
    from whichlora.errors import UnknownNameError
    from whichlora.store import Store
    from whichlora.store.durable import write_durably

    require_run_extra()
    for name in only or ():
        if name not in TRIALS:
            raise UnknownNameError("speed-up", name, TRIALS)
    project, device = open_project(folder), choose_device(device)
    place = folder / "tuning"
    found: list[Outcome] = []
    with Store(place, create=True) as store:
        progress_console.print("exact pictures, for comparison")
        exact = verdicts(measured(project, store, device, {}, row or []), store)
        for name in only or TRIALS:
            progress_console.print(f"{name}: {TRIALS[name]}")
            found.append(compare(
                name, exact, verdicts(measured(project, store, device, TRIALS[name], row or []), store), margin))
            if not json:
                _print(found[-1])
    admitted = {key: value for each in found if each.admitted for key, value in each.options.items()}
    if apply and admitted:
        path = project.workspace.suite_path
        write_durably(path, switched_on(path.read_text(encoding="utf-8"), admitted).encode("utf-8"))
    if json:
        emit_json("whichlora.tune/1", {"margin": margin, "trials": [asdict(each) for each in found],
                                       "options": admitted, "applied": bool(apply and admitted)})
    elif admitted:
        done = "Written into the suite" if apply else "Add to the base's options, or run again with --apply"
        answer_console.print(f"{done}: {admitted}. Pictures are made anew under these options and compared apart.")
        if len(admitted) > 1:
            answer_console.print("Each was measured alone; measure them together before you trust the sum.")
    else:
        answer_console.print("Nothing is switched on.")


def _print(outcome: object) -> None:
    from whichlora.cli._tuning import Outcome

    if not isinstance(outcome, Outcome):
        return
    if outcome.change is None:
        answer_console.print(f"{outcome.name}: {outcome.reason}", markup=False)
        return
    speed = f"{outcome.speed:.2f}× as fast" if outcome.speed else "speed unknown"
    answer_console.print(
        f"{outcome.name}: {outcome.change:+.1%} [{outcome.low:+.2%}, {outcome.high:+.2%}] on {outcome.cells} pairs of "
        f"{outcome.photos} photographs, {speed}. {outcome.reason}"
    )
