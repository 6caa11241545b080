"""`whichlora combine PROJECT`: stacks proposed from measured results, then measured and compared with their parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded, progress_console
from whichlora.errors import RefusedError, UserError

if TYPE_CHECKING:
    from whichlora.analysis.combining import Proposal, StackResult
    from whichlora.cli._more import Measured
    from whichlora.suite.schema import CandidateSpec
    from whichlora.types import Candidate

DOCUMENT = "combinations"
"""Stored comparison of all proposed stacks."""
MOST_ROUNDS = 3
"""Weights that one stack is tried with: as its parts were measured, and calmer ones where they disturb each other."""


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="A project whose single LoRAs have been run.")],
    most: Annotated[int, typer.Option("--most", help="Most stacks that are proposed.", min=1, max=12)] = 3,
    merges: Annotated[
        list[str] | None, typer.Option("--merge", help="Also merge each stack by this method, such as ties. Repeat.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be measured, and stop.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cuda, mps or cpu.")] = "auto",
    in_process: Annotated[bool, typer.Option("--in-process", help="No worker processes.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Propose, measure and judge stacks of LoRAs."""
    from whichlora.cli._more import open_measured, publish_again
    from whichlora.lora.merge import Recipe
    from whichlora.run.choose import Hiring

    for method in merges or []:
        Recipe(method)
    with open_measured(folder, device, Hiring(in_process=in_process)) as measured:
        proposals = propose(measured, most)
        if dry_run or not (proposals or standing(measured)):
            document: dict[str, Any] = describe(proposals, [], why_none=_why_none(measured, proposals))
        else:
            document = measure_stacks(measured, proposals, merges or [])
            publish_again(measured, measured.plan)
    if json:
        emit_json("whichlora.combine/1", document)
        return
    for sentence in document["sentences"]:
        answer_console.print(sentence, markup=False)


def propose(measured: Measured, most: int) -> list[Proposal]:
    """Stacks worth measuring, from the stored results."""
    from whichlora.analysis import combining

    return combining.propose(measured.table(), measured.plan.must_have, limit=most)


def standing(measured: Measured) -> list[str]:
    """Stacks and merges that the project has already, whoever named them, of parts that were measured alone."""
    from whichlora.analysis.combining import parts_of

    table = measured.table()
    return [row.name for at, row in enumerate(table.candidates)
            if row.role == "candidate" and len(row.adapters) > 1 and len(parts_of(table, at)) > 1]


def _why_none(measured: Measured, proposals: Sequence[Proposal]) -> tuple[dict[str, str], list[str]] | None:
    """What a sentence needs on why nothing is proposed; None where something is."""
    from whichlora.analysis.combining import leaders

    if proposals:
        return None
    table, must = measured.table(), measured.plan.must_have
    return leaders(table, must), [name for name in table.families if name not in must]


def measure_stacks(measured: Measured, proposals: Sequence[Proposal], merges: Sequence[str] = ()) -> dict[str, Any]:
    """Measure proposed stacks (and merges), try calmer weights where parts disturb each other, store the comparison.

    Stacks that the project has already are compared with their parts as well. `combinations.yaml` gets a row for
    everything measured, so that later runs keep it; `measured.plan` grows by them.
    """
    from whichlora.analysis import combining
    from whichlora.suite.combinations import load_combinations, save_combinations

    singles = {row.name: row for row in measured.plan.candidates}
    weights = {p.parts: {part: swept_weight(measured, singles[part]) for part in p.parts} for p in proposals}
    wanted = {spec.name: (spec, p) for p in proposals
              for spec in specs(measured, p, weights[p.parts], ("stack", *merges))}
    tried: dict[str, Proposal] = {}
    path = measured.project.workspace.combinations_path
    for _ in range(MOST_ROUNDS):
        fresh = [spec for name, (spec, _) in wanted.items() if name not in tried]
        if not fresh:
            break
        kept = {spec.name: spec for spec in load_combinations(path)} | {spec.name: spec for spec in fresh}
        save_combinations(path, list(kept.values()))
        tried |= {spec.name: wanted[spec.name][1] for spec in fresh}
        _measure_rows(measured, [spec.name for spec in fresh])
        for result in _compared(measured, list(tried)):
            spec, proposal = wanted[result.name]
            row = measured.row(result.name)
            if spec.combine != "stack":
                continue
            now = dict(zip(proposal.parts, (use.weight for use in row.adapters), strict=True))
            calmer = combining.calmed(result, now, weights[proposal.parts])
            if calmer is not None:
                for other in specs(measured, proposal, calmer, ("stack",)):
                    wanted.setdefault(other.name, (other, proposal))
    names = list(dict.fromkeys([*tried, *standing(measured)]))
    document = describe(proposals, _compared(measured, names), _overlaps(measured, proposals),
                        why_none=_why_none(measured, proposals))
    measured.store.add_document(DOCUMENT, document)
    return document


def _measure_rows(measured: Measured, names: Sequence[str]) -> None:
    """Resolve rows by the suite's own rules, let them through the gate, and measure what is missing."""
    from whichlora.cli.project import draft_rows, identify_base, open_project
    from whichlora.plan.codec import plan_to_json
    from whichlora.plan.extend import with_rows

    measured.project = open_project(measured.project.workspace.folder)
    family, base = identify_base(measured.project, measured.device)
    drafted, refused = draft_rows(measured.project, family, base, available=True)
    for row in refused:
        if row["name"] in names:
            said = f"{row['name']}: {row['reason']}".replace("[", "\\[")
            progress_console.print(f"[yellow]refused[/] {said}")
    rows = measured.admit([row for row in drafted if row.name in names])
    measured.plan = with_rows(measured.plan, rows)
    measured.store.add_document("plan", plan_to_json(measured.plan))
    measured.measure(measured.plan)


def _compared(measured: Measured, names: Sequence[str]) -> list[StackResult]:
    """Every measured stack beside its parts, intervals widened for the number of stacks."""
    from whichlora.analysis import combining

    table = measured.table()
    known = [name for name in names if any(row.name == name for row in table.candidates)]
    found: list[StackResult] = []
    for name in known:
        try:
            found.append(combining.compare(table, name, measured.plan.must_have, among=len(known)))
        except ValueError as error:
            progress_console.print(str(error), markup=False)
    return found


def swept_weight(measured: Measured, row: Candidate) -> float:
    """The weight at which a part enters a stack: that of its sweep where another one was shown to be ahead."""
    sweep = (measured.store.document("sweeps") or {}).get(row.name)
    own = row.adapters[0].weight
    if sweep and sweep.get("use") == "pick" and sweep.get("own_weight") == own:
        return float(sweep["optimum"]["weight"])
    return own


def specs(
    measured: Measured, proposal: Proposal, weights: dict[str, float], ways: Sequence[str]
) -> list[CandidateSpec]:
    """Rows for the suite: a stack at some weights, and merges of it."""
    from whichlora.analysis.combining import wording
    from whichlora.suite.schema import CandidateSpec

    rows = [measured.row(part) for part in proposal.parts]
    asked = {case.edit: (case.family, case.prompt) for case in measured.plan.cases}
    prompts = wording(rows, proposal.owners, asked)
    named = [f"{_short(row.name)}{'' if weights[row.name] == row.adapters[0].weight else f' ×{weights[row.name]:g}'}"
             for row in rows]
    text = " + ".join(f"{_reference(measured, row)}:{weights[row.name]:g}" for row in rows)
    sampler = rows[0].sampler.name if rows[0].sampler.name in measured.project.suite.samplers else None
    licences = sorted({row.licence for row in rows})
    return [
        CandidateSpec(
            name=" & ".join(named) + ("" if way == "stack" else f" ({way})"), loras=text, combine=way,
            sampler=sampler, prompts=prompts, both_ways=False,
            licence=licences[0] if len(licences) == 1 else " and ".join(licences),
        )
        for way in ways
    ]


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"


def _reference(measured: Measured, row: Candidate) -> str:
    """How the suite names a row's file: relative to the project where it lies inside."""
    path = Path(row.adapters[0].path).resolve()
    for folder in (measured.project.workspace.folder / "loras", measured.project.workspace.folder):
        if path.is_relative_to(folder.resolve()):
            return path.relative_to(folder.resolve()).as_posix()
    return str(path)


def _overlaps(measured: Measured, proposals: Sequence[Proposal]) -> dict[tuple[str, str], dict[str, Any]]:
    """Where the parts of every stack meet in weight space, for LoRAs whose files say so."""
    from whichlora.lora.overlap import overlap

    found: dict[tuple[str, str], dict[str, Any]] = {}
    for pair in {pair for proposal in proposals for pair in combinations(proposal.parts, 2)}:
        files = [Path(measured.row(name).adapters[0].path) for name in pair]
        try:
            met = overlap(files[0], files[1])
        except (RefusedError, UserError):
            # A DoRA, or a family whose LoRAs are no matrices: there is nothing to explain.
            continue
        found[pair] = {"shared": len(met.shared), "cosine": met.cosine, "conflict": met.conflict}
    return dict(sorted(found.items()))


def describe(
    proposals: Sequence[Proposal], results: Sequence[StackResult],
    overlaps: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
    *, why_none: tuple[Mapping[str, str], Sequence[str]] | None = None,
) -> dict[str, Any]:
    """The document of the JSON output, the store and the report."""
    from whichlora.analysis import told
    from whichlora.analysis.ledger import Ledger

    ledger = Ledger()
    proposed = [{**asdict(one), "sentence": told.proposal(one, ledger)} for one in proposals]
    stacks = [
        {**asdict(one), "complementary": one.complementary, "sentences": list(told.stack(one, ledger))}
        for one in results
    ]
    met = [{"parts": list(pair), **found, "sentence": told.overlap(pair, found, ledger)}
           for pair, found in (overlaps or {}).items()]
    sentences = [told.unproposed(*why_none, ledger)] if why_none is not None else []
    sentences += [one["sentence"] for one in proposed] + [text for one in stacks for text in one["sentences"]]
    sentences += [one["sentence"] for one in met]
    return {"proposals": proposed, "stacks": stacks, "overlaps": met, "sentences": sentences,
            "bound": told.bound(ledger)}
