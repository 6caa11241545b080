"""The load gate's weight oracle: every changed value against what the files say, in float64.

Here is the reference, in numpy, for families that show their weights as arrays. Where a session shows tensors, the same
comparison runs where they lie (`oracle_torch.py`) and only its sums come to the host: at the true size 20 billion
values are compared, and tests hold both against each other. The expected change is worked out from the file alone;
nothing of the code that applied it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whichlora.errors import RefusedError
from whichlora.types import AdapterUse, Candidate

RELATIVE_ERROR = 1e-3
"""Largest ‖found − expected‖ / ‖ΔW‖ of a module in fp32."""
BRANCH_ERROR = 1e-2
"""The same where a branch runs beside a quantised weight, whose factors are rounded to bf16."""
HALF = ("bfloat16", "float16")
"""Formats in which values are compared bit for bit."""
_BLOCK = 1 << 20
_TOGETHER = 14
"""Modules compared before the host asks for the result: the linear layers of a block."""

Float64 = NDArray[np.float64]
Parts = list[tuple[float, Any]]
"""Adapter weight and canonical module of every change of one parameter."""


@dataclass(frozen=True, slots=True)
class WeightCheck:
    """Result of the weight oracle."""

    precision: str
    """Format of the working weights."""
    worst_error: float
    """See `admit.AdmitReport`, as for the next ones."""
    worst_module: str
    undecided: int
    """`AdmitReport.undecided_values`."""
    rounding_loss: float


@dataclass(slots=True)
class Comparison:
    """Sums over one module."""

    wanted: float = 0.0
    """‖ΔW‖²."""
    lost: float = 0.0
    """‖(found − W) − ΔW‖²."""
    beyond: float = 0.0
    """‖max(0, |found − W − ΔW| − rounding of the format)‖²; not of half-precision formats."""
    undecided: int = 0
    """Values whose neighbours are both right."""
    wrong: int = 0
    """Half-precision values that are not round(W + ΔW)."""

    @property
    def error(self) -> float:
        """Relative error beyond rounding."""
        if not np.isfinite(self.beyond) or not np.isfinite(self.wanted):
            return float("inf")
        if self.wanted == 0.0:
            return 0.0 if self.beyond == 0.0 else float("inf")
        return float((self.beyond / self.wanted) ** 0.5)


def check_weights(session: Any, candidate: Candidate) -> WeightCheck:
    """Compare every working weight with what the files say, for the candidate that is active now.

    Raises:
        RefusedError: A module differs, or one changed that no file names.
    """
    precision = str(session.weight_dtype())
    worst, undecided, wanted_size, lost = (0.0, ""), 0, 0.0, 0.0
    with ExitStack() as files:
        expected = _expected(session, (*candidate.applied, *candidate.sampler.adapters), files)
        stray = _strays(session, expected)
        if stray:
            raise RefusedError(f"The module '{stray[0]}' changed although no file of '{candidate.name}' names it.")
        for label, found in _compared(session, expected, precision):
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


def _expected(session: Any, uses: Sequence[AdapterUse], files: ExitStack) -> dict[str, Parts]:
    """Adapter weight and canonical module of every change, by label."""
    expected: dict[str, Parts] = {}
    for use in uses:
        for module in files.enter_context(session.load_adapter(use)):
            label = module.name if module.parameter == "weight" else f"{module.name}.{module.parameter}"
            expected.setdefault(label, []).append((use.weight, module))
    return expected


def _strays(session: Any, expected: Mapping[str, Parts]) -> list[str]:
    """Changed modules that no file names. Those that one names are compared value by value anyway."""
    if hasattr(session, "touched_beyond"):
        return sorted(session.touched_beyond(expected.keys()))
    return sorted(set(session.touched()) - set(expected))


def _compared(session: Any, expected: Mapping[str, Parts], precision: str) -> Iterator[tuple[str, Comparison]]:
    """Every module's comparison, made where its weights lie if the session shows tensors."""
    if not hasattr(session, "tensors"):
        for label, parts in expected.items():
            yield label, compare(session.pristine(label), session.weights(label), parts, precision)
        return
    from whichlora.run import oracle_torch

    left = iter(expected.items())
    while some := list(islice(left, _TOGETHER)):
        sums = [(label, oracle_torch.sums(session, label, parts, precision)) for label, parts in some]
        # Queued until now: reading the next module's factors hid behind the arithmetic of the one before.
        for label, found in sums:
            yield label, found()


def compare(
    pristine: NDArray[np.float32], found: NDArray[np.float32], parts: Parts, precision: str
) -> Comparison:
    """Compare one module in blocks of rows.

    Args:
        pristine: The parameter as the base has it, out × in or (n,), in fp32 (half precision is exact in it).
        found: The same as it works now.
        parts: What the files say of it.
        precision: Format of the working weights, see `AdmitReport.precision`.
    """
    sums = Comparison()
    for rows, delta, slack in _changes(pristine, parts):
        before, now = pristine[rows].astype(np.float64), found[rows].astype(np.float64)
        target = before + delta
        off = np.abs(now - target)
        sums.wanted += float(np.sum(delta * delta))
        sums.lost += float(np.sum(off * off))
        if precision in HALF:
            slack = slack + 2.0**-23 * (np.abs(before) + np.abs(delta))
            low, high = rounded(target - slack, precision), rounded(target + slack, precision)
            sums.undecided += int(np.count_nonzero(low != high))
            # Where W and ΔW cancel, fp32's own uncertainty spans several steps of the format; else low equals high.
            sums.wrong += int(np.count_nonzero(~((now >= low) & (now <= high))))
        else:
            beyond = np.maximum(0.0, off - 2.0**-23 * np.maximum(np.abs(before), np.abs(target)))
            sums.beyond += float(np.sum(beyond * beyond))
    return sums


def _changes(
    pristine: NDArray[np.float32], parts: Parts
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


def rounded(values: Float64, precision: str) -> Float64:
    """Round to the nearest bf16 or fp16 value, ties to even, as the conversion from fp32 does."""
    single = values.astype(np.float32)
    if precision == "float16":
        with np.errstate(over="ignore"):
            return single.astype(np.float16).astype(np.float64)
    bits = single.view(np.uint32).astype(np.uint64)
    kept = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return kept.astype(np.uint32).view(np.float32).astype(np.float64)
