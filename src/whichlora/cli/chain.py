"""`whichlora chain PROJECT --first A --then B`: one edit on the result of another, with the loss of each step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded
from whichlora.errors import ProjectError, UnknownNameError, UserError
from whichlora.quoting import quoted

if TYPE_CHECKING:
    from whichlora.analysis.cells import Verdict
    from whichlora.analysis.chaining import Link
    from whichlora.cli._more import Measured
    from whichlora.types import Candidate, Cell, EditCase, Plan

DOCUMENT = "chains"
"""Stored results by steps."""
_AGAIN = "/first-edit-after-the-second"
"""Behind the scoring context of last pictures that are read as the first edit's result."""


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="A project that has been run.")],
    first: Annotated[str, typer.Option("--first", help="ROW:KIND of the first step, such as 'angles:camera'.")],
    then: Annotated[str, typer.Option("--then", help="ROW:KIND of the second step, such as 'relight:lighting'.")],
    device: Annotated[str, typer.Option("--device", help="auto, cuda, mps or cpu.")] = "auto",
    in_process: Annotated[bool, typer.Option("--in-process", help="No worker processes.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Chain two edits and measure what each step loses."""
    from whichlora.cli._more import open_measured
    from whichlora.run.choose import Hiring

    with open_measured(folder, device, Hiring(in_process=in_process)) as measured:
        document = run_chain(measured, _step(measured, first, "--first"), _step(measured, then, "--then"))
    if json:
        emit_json("whichlora.chain/1", document)
        return
    for sentence in document["sentences"]:
        answer_console.print(sentence, markup=False)
    answer_console.print(f"To see it in the report: whichlora report {quoted(folder)}", markup=False)


def _step(measured: Measured, text: str, option: str) -> tuple[Candidate, str]:
    """A row and a kind of edit.

    Raises:
        UserError: The text is no 'ROW:KIND'.
        UnknownNameError: There is no such row, or the kind was not tested.
    """
    name, colon, family = text.rpartition(":")
    if not colon:
        raise UserError(f"{option} '{text}' is no step.", fix=f"Write: {option} ROW:KIND, such as angles:camera")
    tested = list(dict.fromkeys(case.family for case in measured.plan.cases if not case.edit.startswith("own-")))
    if family not in tested:
        raise UnknownNameError("tested capability", family, tested)
    return measured.row(name), family


def run_chain(measured: Measured, one: tuple[Candidate, str], other: tuple[Candidate, str]) -> dict[str, Any]:
    """Chain, judge and store; returns the stored document.

    Raises:
        UserError: Both steps are of one kind: the second would overwrite the first.
        ProjectError: The first step has no finished picture.
    """
    from whichlora.analysis import chaining, told
    from whichlora.analysis.ledger import Ledger

    (first, kind), (then, next_kind) = one, other
    if kind == next_kind:
        raise UserError(f"Both steps are of the kind '{kind}': the second would replace the first.",
                        fix="Chain two kinds of edit, such as camera and lighting.")
    starts = _starts(measured, first, kind, next_kind)
    if not any(image for *_, image in starts):
        raise ProjectError(f"'{first.name}' has no finished picture of the kind '{kind}'.",
                           fix="Run: whichlora run PROJECT")
    plan = chained_plan(measured, then, [start for start in starts if start[3]])
    measured.measure(plan)
    links = _links(measured, first, then, plan, starts)
    result = chaining.conclude(links)
    names = ((first.name, kind), (then.name, next_kind))
    if result is None:
        document: dict[str, Any] = {"sentences": ["No picture of the chain could be scored."], "bound": {}}
    else:
        ledger = Ledger()
        document = {**asdict(result), "sentences": list(told.chain(result, names, ledger)), "bound": told.bound(ledger)}
    document |= {"steps": [list(name) for name in names], "pictures": len(plan.cells)}
    measured.remember(DOCUMENT, f"{first.name}:{kind} → {then.name}:{next_kind}", document)
    return document


Start = tuple["Cell", "EditCase", "EditCase", str]
"""First step's cell and case, the second step's case on the same photograph, and the first picture's hash; '' where
that picture failed to be made, which is a failure of the whole chain and stays in every denominator."""


def _starts(measured: Measured, first: Candidate, kind: str, next_kind: str) -> list[Start]:
    """First pictures with what is asked of them next; the first seed of every case that was tried."""
    from whichlora.analysis.chaining import pairs

    cases = {case.id: case for case in measured.plan.cases if not case.edit.startswith("own-")}
    generations = measured.store.generations()
    cells: dict[str, tuple[Cell, str]] = {}
    for cell in measured.plan.cells:
        generation = generations.get(cell.id)
        if (cell.candidate == first.name and cell.case in cases and cases[cell.case].family == kind
                and cell.case not in cells and generation is not None):
            cells[cell.case] = (cell, generation.image or "")
    ones: dict[str, list[str]] = defaultdict(list)
    others: dict[str, list[str]] = defaultdict(list)
    for case in cases.values():
        if case.id in cells:
            ones[case.source].append(case.id)
        if case.family == next_kind:
            others[case.source].append(case.id)
    return [(cells[a][0], cases[a], cases[b], cells[a][1]) for _, a, b in pairs(ones, others)]


def chained_plan(measured: Measured, then: Candidate, starts: Sequence[Start]) -> Plan:
    """The second step as a plan of its own: the first pictures are its photographs, by their hash.

    They are marked as generated, so that no metric takes them for photographs of the character.
    """
    from whichlora.types import Cell, SourceImage, cell_id

    plan, store = measured.plan, measured.store
    known = {source.id: source for source in plan.sources}
    sources: dict[str, SourceImage] = {}
    cases: dict[str, EditCase] = {}
    cells: dict[str, Cell] = {}
    generations = store.generations()
    for cell, first, second, image in starts:
        name = f"{first.id}/{cell.seed}/{image[:12]}"
        facts = generations[cell.id].facts
        sources[name] = SourceImage(
            name, store.images.path(image).relative_to(store.folder).as_posix(), image,
            int(facts.get("width_px", 0)), int(facts.get("height_px", 0)), {"generated": True, "of": first.source},
        )
        case = replace(second, id=f"{name}/{second.edit}", source=name)
        cases[case.id] = case
        pictures = (image, *(known[reference].sha256 for reference in second.references))
        identity = cell_id(plan.base, then, case, pictures, cell.seed, plan.libraries)
        cells[identity] = Cell(identity, then.name, case.id, cell.seed)
    return replace(
        plan, candidates=(then,), sources=tuple(sources.values()), calibration=(*plan.sources, *plan.calibration),
        cases=tuple(cases.values()), cells=tuple(cells.values()), notes=(),
    )


def _links(
    measured: Measured, first: Candidate, then: Candidate, plan: Plan, starts: Sequence[Start]
) -> list[Link]:
    """What became of every chained pair."""
    from whichlora.analysis.chaining import Link

    before = {verdict.cell.id: verdict for verdict in measured.verdicts(measured.plan)}
    after = {verdict.case.id: verdict for verdict in measured.verdicts(plan)}
    direct = {(verdict.cell.candidate, verdict.case.id, verdict.cell.seed): verdict for verdict in before.values()}
    again = _first_again(measured, then, plan, starts)
    links: list[Link] = []
    for cell, one, other, image in starts:
        name = f"{one.id}/{cell.seed}/{image[:12]}/{other.edit}"
        straight = direct.get((then.name, other.id, cell.seed))
        if not image:
            links.append(Link(one.source, False, False, False, straight.passed if straight else None))
            continue
        last = after.get(name)
        if last is None:
            continue
        still = again.get(last.cell.id)
        links.append(Link(
            one.source, before[cell.id].passed if cell.id in before else None, _survived(still, last),
            last.passed, straight.passed if straight else None,
        ))
    return links


def _survived(still: Verdict | None, last: Verdict) -> bool | None:
    """First edit still there (read against the photograph), character kept and picture whole (read at the end)."""
    if not last.generated:
        return False
    rest = (last.gates[gate] for gate in ("valid", "identity", "artefact"))
    answers = (still.gates["edit"] if still else None, *rest)
    if any(answer is False for answer in answers):
        return False
    return None if any(answer is None for answer in answers) else True


def _first_again(
    measured: Measured, then: Candidate, plan: Plan, starts: Sequence[Start]
) -> Mapping[str, Verdict]:
    """Last pictures, scored as if they were the first edit's result on the photograph; by the last picture's cell."""
    from whichlora.analysis.measured import verdicts_of
    from whichlora.cli._more import rate_pictures
    from whichlora.types import Cell

    by_case = {cell.case: cell for cell in plan.cells}
    cells: list[Cell] = []
    for cell, one, other, image in starts:
        last = by_case.get(f"{one.id}/{cell.seed}/{image[:12]}/{other.edit}")
        if last is not None:
            cells.append(Cell(last.id, then.name, one.id, last.seed))
    reread = replace(measured.plan, candidates=(then,), cells=tuple(cells))
    context = measured.context + _AGAIN
    rate_pictures(measured.project, measured.store, reread, context)
    found = verdicts_of(measured.store, reread, context=context, distrusted=measured.distrusted)
    return {verdict.cell.id: verdict for verdict in found}
