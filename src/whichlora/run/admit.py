"""Steps 2 and 3 of the load gate: what is in the file is in the weights, and it changes something.

Step 1 (the file alone) is `lora/static.py`. Step 2, the weight oracle, computes every expected change from the file
in float64 and compares the working weights with pristine + change: in fp32 to a relative error of 1e-3, in bf16 and
fp16 bit for bit with round(W + ΔW). Step 3 runs one fixed forward with and without; a change below the noise of the
base against itself is inert and has no place in a ranking. "It loaded without an exception" is not evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import MachineError, RefusedError
from whichlora.families.base import Session
from whichlora.types import AdapterUse, Candidate

RELATIVE_ERROR = 1e-3
"""Largest ‖found − expected‖ / ‖ΔW‖ of a module in fp32."""
BRANCH_ERROR = 1e-2
"""The same where a branch runs beside a quantised weight, whose factors are rounded to bf16."""
LEAST_EFFECT = 1e-6
"""Changes below this are rounding of a forward in fp32, whatever floor was measured."""
_BLOCK = 1 << 20

Float64 = NDArray[np.float64]


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


# ------------------------------------------------------------------------ step 2: the weight oracle


@dataclass(frozen=True, slots=True)
class WeightCheck:
    """Result of the weight oracle."""

    precision: str
    """Format of the working weights."""
    worst_error: float
    """See `AdmitReport`."""
    worst_module: str
    """See `AdmitReport`."""
    undecided: int
    """See `AdmitReport.undecided_values`."""
    rounding_loss: float
    """See `AdmitReport`."""


def check_weights(session: Any, candidate: Candidate) -> WeightCheck:
    """Compare every working weight with what the files say, for the candidate that is active now.

    Raises:
        RefusedError: A module differs, or one changed that no file names.
    """
    precision = str(session.weight_dtype())
    worst, undecided, wanted_size, lost = (0.0, ""), 0, 0.0, 0.0
    with ExitStack() as files:
        expected = _expected(session, (*candidate.applied, *candidate.sampler.adapters), files)
        stray = sorted(set(session.touched()) - set(expected))
        if stray:
            raise RefusedError(f"The module '{stray[0]}' changed although no file of '{candidate.name}' names it.")
        for label, parts in expected.items():
            found = _compare(session.pristine(label), session.weights(label), parts, precision)
            wanted_size += found.wanted
            lost += found.lost
            undecided += found.undecided
            worst = max(worst, (found.error, label))
            allowed = BRANCH_ERROR if precision == "quantised" else RELATIVE_ERROR
            if not found.error <= allowed or found.wrong:
                how = (f"{found.wrong:,} of its values are not round(W + ΔW)" if found.wrong
                       else f"its change is off by {found.error:.2g} of its size")
                raise RefusedError(
                    f"The module '{label}' does not hold what the file says: {how}. A damaged LoRA would be measured "
                    "under its name."
                )
    loss = (lost / wanted_size) ** 0.5 if wanted_size > 0 else 0.0
    return WeightCheck(precision, worst[0], worst[1], undecided, loss)


def _expected(
    session: Any, uses: Sequence[AdapterUse], files: ExitStack
) -> dict[str, list[tuple[float, Any]]]:
    """Adapter weight and canonical module of every change, by label."""
    expected: dict[str, list[tuple[float, Any]]] = {}
    for use in uses:
        for module in files.enter_context(session.load_adapter(use)):
            label = module.name if module.parameter == "weight" else f"{module.name}.{module.parameter}"
            expected.setdefault(label, []).append((use.weight, module))
    return expected


@dataclass(slots=True)
class _Comparison:
    """Sums over one module."""

    wanted: float = 0.0
    """‖ΔW‖²."""
    lost: float = 0.0
    """‖(found − W) − ΔW‖²."""
    beyond: float = 0.0
    """‖max(0, |found − W − ΔW| − rounding of the format)‖²."""
    undecided: int = 0
    wrong: int = 0

    @property
    def error(self) -> float:
        """Relative error beyond rounding."""
        if not np.isfinite(self.beyond) or not np.isfinite(self.wanted):
            return float("inf")
        if self.wanted == 0.0:
            return 0.0 if self.beyond == 0.0 else float("inf")
        return float((self.beyond / self.wanted) ** 0.5)


def _compare(
    pristine: NDArray[np.float32], found: NDArray[np.float32], parts: list[tuple[float, Any]], precision: str
) -> _Comparison:
    """Compare one module in blocks of rows."""
    sums = _Comparison()
    half = precision in ("bfloat16", "float16")
    for rows, delta, slack in _changes(pristine, parts):
        before, now = pristine[rows].astype(np.float64), found[rows].astype(np.float64)
        target = before + delta
        off = np.abs(now - target)
        sums.wanted += float(np.sum(delta * delta))
        sums.lost += float(np.sum(off * off))
        if half:
            slack = slack + 2.0**-23 * (np.abs(before) + np.abs(delta))
            low, high = _rounded(target - slack, precision), _rounded(target + slack, precision)
            sums.undecided += int(np.count_nonzero(low != high))
            # Where W and ΔW cancel, fp32's own uncertainty spans several steps of the format; else low equals high.
            sums.wrong += int(np.count_nonzero(~((now >= low) & (now <= high))))
        else:
            beyond = np.maximum(0.0, off - 2.0**-23 * np.maximum(np.abs(before), np.abs(target)))
            sums.beyond += float(np.sum(beyond * beyond))
    return sums


def _changes(
    pristine: NDArray[np.float32], parts: list[tuple[float, Any]]
) -> Iterator[tuple[slice, Float64, Float64]]:
    """ΔW in float64 by blocks of rows, with a bound on what fp32 arithmetic may differ from it."""
    rows = pristine.shape[0]
    step = max(1, _BLOCK * rows // max(1, pristine.size))
    factors = [(weight, module.factors(), module) for weight, module in parts]
    whole = {
        index: module.delta(pristine if module.needs_weight else None).astype(np.float64)
        for index, (_, pair, module) in enumerate(factors) if pair is None
    }
    doubles = [
        None if pair is None else (pair[0].astype(np.float64), pair[1].astype(np.float64), pair[2])
        for _, pair, _ in factors
    ]
    for start in range(0, rows, step):
        block = slice(start, min(rows, start + step))
        delta: Any = 0.0
        slack: Any = 0.0
        for index, (weight, _, _) in enumerate(factors):
            pair = doubles[index]
            if pair is None:
                part = weight * whole[index][block]
                slack = slack + 2.0**-20 * np.abs(part)
            else:
                up, down, scale = pair
                part = weight * scale * (up[block] @ down)
                bound = abs(weight * scale) * (np.abs(up[block]) @ np.abs(down))
                slack = slack + (up.shape[1] + 4) * 2.0**-24 * bound
            delta = delta + part
        yield block, delta, slack


def _rounded(values: Float64, precision: str) -> Float64:
    """Round to the nearest bf16 or fp16 value, ties to even, as the conversion from fp32 does."""
    single = values.astype(np.float32)
    if precision == "float16":
        with np.errstate(over="ignore"):
            return single.astype(np.float16).astype(np.float64)
    bits = single.view(np.uint32).astype(np.uint64)
    kept = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return kept.astype(np.uint32).view(np.float32).astype(np.float64)


def _call(session: Any, name: str) -> Any:
    """Call an optional method of a session; None when the family does not have it."""
    method = getattr(session, name, None)
    return method() if method is not None else None
