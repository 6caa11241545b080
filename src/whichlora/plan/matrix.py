"""The matrix: every candidate × every case × every seed, as cells with identities.

Seeds, photographs and prompts are shared by all candidates (paired design); cells are ordered by candidate, so that
weights are switched once per row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from whichlora.errors import UserError
from whichlora.plan.candidates import WITHOUT
from whichlora.suite.schema import Suite
from whichlora.types import BaseModel, Candidate, Cell, EditCase, Plan, SourceImage, cell_id


def build_cases(
    suite: Suite, sources: Sequence[SourceImage], satisfied: Mapping[tuple[str, str], str]
) -> tuple[tuple[EditCase, ...], list[str]]:
    """Every edit on every source, without those that the source already satisfies.

    Args:
        suite: The checked suite.
        sources: Photographs that are edited.
        satisfied: (source id, edit name) → why the photograph already shows what the edit asks for.

    Returns:
        The cases, and one note per case that was left out.
    """
    cases: list[EditCase] = []
    notes: list[str] = []
    for source in sources:
        for edit in suite.edits:
            reason = satisfied.get((source.id, edit.name))
            if reason:
                notes.append(f"'{edit.name}' is not asked of '{source.id}': {reason}")
                continue
            cases.append(EditCase(
                id=f"{source.id}/{edit.name}", source=source.id, edit=edit.name, family=edit.family,
                prompt=edit.prompt, target=dict(edit.target), keep=tuple(edit.keep),
            ))
        cases.extend(
            EditCase(
                id=f"{source.id}/own-{spec.name}", source=source.id, edit=f"own-{spec.name}", family="trigger",
                prompt=spec.own_prompt.prompt, target=dict(spec.own_prompt.target),
            )
            for spec in suite.candidates if spec.own_prompt is not None
        )
    return tuple(cases), notes


def build_plan(
    suite: Suite, base: BaseModel, candidates: Sequence[Candidate], photos: Mapping[str, tuple[SourceImage, ...]],
    cases: tuple[EditCase, ...], libraries: Mapping[str, str], remarks: Mapping[str, Sequence[object]],
) -> Plan:
    """Resolve everything into a plan.

    Args:
        suite: The checked suite; `suite.subject` must be resolved ('auto' is refused).
        base: The identified base.
        candidates: Rows that passed the gate, base and controls included.
        photos: 'sources', 'calibration' and 'impostors'.
        cases: From `build_cases`.
        libraries: Versions that enter every cell's identity.
        remarks: 'refused' ({'name', 'reason'} each) and 'notes' (sentences).

    Raises:
        UserError: Nothing is left to compare.
    """
    if not cases:
        raise UserError("No edit is left to ask: every photograph already satisfies every edit.",
                        fix="Add edits to the suite, or other photographs.")
    hashes = {source.id: source.sha256 for source in photos["sources"]}
    cells = tuple(
        Cell(_identity(base, candidate, case, hashes, seed, libraries), candidate.name, case.id, seed)
        for candidate in candidates
        for case in cases if _asked(candidate, case)
        for seed in (suite.seeds if candidate.role != "control" else suite.seeds[:1])
    )
    return Plan(
        project=suite.name, base=base, candidates=tuple(candidates), sources=photos["sources"],
        calibration=photos.get("calibration", ()), impostors=photos.get("impostors", ()), cases=cases, cells=cells,
        refused=tuple(remarks.get("refused", ())),  # type: ignore[arg-type]
        subject=suite.subject, must_have=tuple(suite.must_have), target=suite.target, libraries=dict(libraries),
        notes=tuple(str(note) for note in remarks.get("notes", ())), identity_packs=tuple(suite.identity_packs),
    )


def _asked(candidate: Candidate, case: EditCase) -> bool:
    """A LoRA's own advertised prompt is asked of that LoRA and of the base only."""
    if not case.edit.startswith("own-"):
        return True
    return candidate.role == "base" or case.edit == f"own-{candidate.name.partition(WITHOUT)[0]}"


def _identity(
    base: BaseModel, candidate: Candidate, case: EditCase, hashes: Mapping[str, str], seed: int,
    libraries: Mapping[str, str],
) -> str:
    pictures = (hashes[case.source], *(hashes[name] for name in case.references))
    return cell_id(base, candidate, case, pictures, seed, libraries)


def encodings_needed(plan: Plan) -> tuple[int, int]:
    """Distinct (prompt, pictures) and distinct pictures that a run encodes, guidance included."""
    from whichlora.types import instruction

    candidates = {candidate.name: candidate for candidate in plan.candidates}
    cases = {case.id: case for case in plan.cases}
    prompts: set[object] = set()
    images: set[object] = set()
    for cell in plan.cells:
        candidate, case = candidates[cell.candidate], cases[cell.case]
        if candidate.role == "control":
            continue
        sampler = candidate.sampler
        key = (case.source, case.references, sampler.condition_area_px)
        prompts.add((instruction(candidate, case), key))
        if sampler.true_cfg_scale > 1.0:
            prompts.add((sampler.negative_prompt, key))
        images.update((name, sampler.reference_area_px) for name in (case.source, *case.references))
    return len(prompts), len(images)
