"""The canary: one fixed picture that every worker makes before it may make any other, and that must come out alike.

A device that computes differently from yesterday (a damaged card, another driver, a swapped file) makes pictures that
look fine and are not comparable with those in the store. The canary's hash is kept in the store by its inputs and by
the device; a difference on the same device is refused, another device is said plainly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from whichlora.errors import MachineError
from whichlora.run.admit import bare
from whichlora.types import Candidate, Cell, Plan, cell_id

DOCUMENT = "canary"
STEPS = 4
"""Steps of the canary: few, but through every part of the model."""


@dataclass(frozen=True)
class Canary:
    """What is made."""

    candidate: Candidate
    """The base without any adapter, with a few steps."""
    cell: Cell
    """Case and seed of the plan's first base cell; the id hashes everything that decides the picture."""


def choose_canary(plan: Plan) -> Canary | None:
    """The canary of a plan; None when it has no base row to take it from."""
    bases = {candidate.name: candidate for candidate in plan.candidates if candidate.role == "base"}
    first = next((cell for cell in plan.cells if cell.candidate in bases), None)
    if first is None:
        return None
    plain = bare(bases[first.candidate])
    sampler = replace(plain.sampler, num_inference_steps=min(STEPS, plain.sampler.num_inference_steps))
    candidate = replace(plain, name="canary", sampler=sampler)
    case = next(case for case in plan.cases if case.id == first.case)
    hashes = {source.id: source.sha256 for source in plan.sources}
    pictures = (hashes[case.source], *(hashes[name] for name in case.references))
    key = cell_id(plan.base, candidate, case, pictures, first.seed, plan.libraries)
    return Canary(candidate, Cell(key, candidate.name, case.id, first.seed))


def compare(
    document: Mapping[str, Any] | None, key: str, environment: Mapping[str, str], pixels: str,
    inputs: Mapping[str, str] | None = None,
) -> tuple[dict[str, Any], str]:
    """Compare a worker's canary with those that the store knows.

    Args:
        document: The stored document, or None.
        key: The canary cell's id.
        environment: Facts of the worker's device.
        pixels: Hash of what it made.
        inputs: Fingerprints of the encoded 'instruction' and 'photograph', and the session's ways of computing.

    Returns:
        The document as it should be stored now, and a sentence to be said ('' when all is as before).

    Raises:
        MachineError: The same device made another picture than before.
    """
    entries = [dict(entry) for entry in (document or {}).get("entries", ())]
    same_cell = [entry for entry in entries if entry["key"] == key]
    for entry in same_cell:
        if entry["environment"] == dict(environment):
            if entry["pixels"] != pixels:
                raise MachineError(
                    f"A fixed test picture came out differently on {environment.get('device', 'this device')} than "
                    "when this project's first pictures were made: old and new ones could not be compared. "
                    + _where(entry.get("inputs") or {}, inputs or {}),
                    fix="See 'whichlora doctor', check the base's files, or begin in a new project folder.",
                )
            return {"entries": entries}, ""
    note = ""
    if same_cell:
        other = same_cell[0]["environment"]
        agrees = any(entry["pixels"] == pixels for entry in same_cell)
        changed = ", ".join(
            f"{name} {other.get(name, '-')} → {environment.get(name, '-')}"
            for name in sorted({*other, *environment}) if other.get(name) != environment.get(name)
        )
        note = (
            f"Earlier pictures of this project were made elsewhere ({changed}). The fixed test picture "
            + ("comes out the same here." if agrees else "comes out differently here: differences between rows may "
               "partly be differences between devices.")
        )
    entries.append({"key": key, "environment": dict(environment), "pixels": pixels,
                    "inputs": dict(inputs or {})})
    return {"entries": entries}, note


_STAGES = ("instruction", "photograph")


def _where(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """A sentence about the first stage that differs, and one about what is computed in another way."""
    if not before or not now:
        return "At which stage is not known."
    ways = [f"{name}: {before[name]} then, {now[name]} now" for name in sorted({*before} & {*now} - {*_STAGES})
            if before[name] != now[name]]
    return _stage(before, now) + (f" It is computed in another way ({'; '.join(ways)})." if ways else "")


def _stage(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    other = [name for name in _STAGES if before.get(name) != now.get(name)]
    if other:
        return f"The encoded {' and '.join(other)} {'differs' if len(other) == 1 else 'differ'} already."
    return "Its encoded instruction and photograph are as before, so denoising or decoding differs."
