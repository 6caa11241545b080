"""Steps 2 and 3 of the load gate: what is in the file is in the weights, and it changes something.

Step 1 (the file alone) is `lora/static.py`. Step 2, the weight oracle (`oracle.py`), computes every expected change
from the file in float64 and compares the working weights with pristine + change: in fp32 to a relative error of 1e-3,
in bf16 and fp16 bit for bit with round(W + ΔW). Step 3 runs one fixed forward with and without; a change below the
noise of the base against itself is inert and has no place in a ranking. "It loaded without an exception" is not
evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from whichlora.errors import MachineError, RefusedError
from whichlora.families.base import Session
from whichlora.run.oracle import check_weights
from whichlora.types import Candidate

LEAST_EFFECT = 1e-6
"""Changes below this are rounding of a forward in fp32, whatever floor was measured."""

@dataclass(frozen=True, slots=True)
class AdmitReport:
    """What the gate saw of a candidate that it lets pass."""

    candidate: str
    """Candidate's name."""
    modules: int
    """Changed modules, summed over adapters."""
    precision: str
    """Format of the working weights: 'float32', 'bfloat16', 'float16', 'quantised'; 'unchecked' for a family whose
    session shows no weights."""
    worst_error: float
    """Largest relative error of a module's change beyond the rounding of the format itself."""
    worst_module: str
    """Where that was; '' without adapters."""
    undecided_values: int
    """Half-precision values so close to a rounding boundary that either neighbour is right."""
    rounding_loss: float
    """Root mean square of what rounding took from (or added to) the change, relative to it."""
    effect: float
    """Largest relative change of the fixed forward."""
    noise_floor: float
    """The same for the base against itself."""
    effects: Mapping[str, float] = field(default_factory=dict)
    """Effect of each adapter alone, when there are several."""


def admit_all(
    session: Session, candidates: Iterable[Candidate], seen: Callable[[AdmitReport], None] = lambda _: None,
    floor: float | None = None,
) -> tuple[list[Candidate], list[dict[str, str]]]:
    """Let every row through the gate; the base's own weights are in place afterwards.

    Args:
        session: The loaded base.
        candidates: Rows of the comparison; base and controls without adapters pass untouched.
        seen: Called with the report of every row that was checked.
        floor: Noise floor of the base, measured when None.

    Returns:
        Rows that may be compared, and the refused as {'name', 'reason'}.

    Raises:
        RefusedError: A base row cannot be made, because its sampler's LoRA fails the gate.
        MachineError: Switching back did not restore the base's weights.
    """
    admitted: list[Candidate] = []
    refused: list[dict[str, str]] = []
    checked: Candidate | None = None
    for candidate in candidates:
        if not (candidate.adapters or candidate.sampler.adapters) or candidate.role == "control":
            admitted.append(candidate)
            continue
        checked = candidate
        try:
            floor = noise_floor(session, candidate) if floor is None else floor
            seen(admit(session, candidate, floor))
            admitted.append(candidate)
        except RefusedError as error:
            if candidate.role == "base":
                raise
            refused.append({"name": candidate.name, "reason": error.reason})
    if checked is not None:
        session.switch(bare(checked))
        left = _call(session, "touched") or ()
        if left:
            raise MachineError(f"After switching back to the base, '{left[0]}' still differs from it.",
                               fix="Do not trust this run; report the device and library versions.")
    return admitted, refused


def admit(session: Session, candidate: Candidate, floor: float | None = None) -> AdmitReport:
    """Let one candidate through steps 2 and 3; it is active afterwards.

    Args:
        session: The loaded base.
        candidate: The row.
        floor: Noise floor of the base, measured when None.

    Raises:
        RefusedError: A module did not change as the file says, or nothing changes in the output.
    """
    floor = noise_floor(session, candidate) if floor is None else floor
    effects: dict[str, float] = {}
    if len(candidate.adapters) > 1:
        for use in candidate.adapters:
            alone = replace(candidate, adapters=(use,), combine="stack", merged=None)
            effects[use.name] = _effect(session, alone, floor, f"'{use.name}' in the stack")
    effect = _effect(session, candidate, floor, "It") if candidate.adapters else 0.0
    report = session.switch(candidate)
    if report.modules_changed != report.modules_in_files:
        raise RefusedError(
            f"Only {report.modules_changed} of its {report.modules_in_files} modules reached the model: a weaker LoRA "
            "would be measured under its name."
        )
    if not hasattr(session, "load_adapter"):
        return AdmitReport(candidate.name, report.modules_changed, "unchecked", 0.0, "", 0, 0.0, effect, floor, effects)
    weights = check_weights(session, candidate)
    return AdmitReport(
        candidate.name, report.modules_changed, weights.precision, weights.worst_error, weights.worst_module,
        weights.undecided, weights.rounding_loss, effect, floor, effects,
    )


def bare(candidate: Candidate) -> Candidate:
    """The same row without any adapter, its sampler's included."""
    return replace(candidate, adapters=(), sampler=replace(candidate.sampler, adapters=()))


def noise_floor(session: Session, candidate: Candidate) -> float:
    """Relative change of the fixed forward between two runs of the base itself; at least `LEAST_EFFECT`."""
    session.switch(bare(candidate))
    measured = _call(session, "noise_floor")
    return max(LEAST_EFFECT, float(measured or 0.0))


def _effect(session: Session, candidate: Candidate, floor: float, who: str) -> float:
    """Effect of a candidate's own adapters, refused when inert or not finite."""
    effect = session.probe(candidate)
    if not np.isfinite(effect):
        raise RefusedError(f"{who} makes the model's output infinite or undefined (NaN).",
                           fix="Lower its adapter weight; the file may be damaged.")
    if effect <= floor:
        raise RefusedError(
            f"{who} is inert: one fixed forward changes by {effect:.2g} of its size, and the base against itself by "
            f"up to {floor:.2g}. It would measure the base under its name."
        )
    return effect


def _call(session: Any, name: str) -> Any:
    """Call an optional method of a session; None when the family does not have it."""
    method = getattr(session, name, None)
    return method() if method is not None else None
