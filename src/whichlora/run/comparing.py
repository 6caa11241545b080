"""One module's working weights against what the files say, in numpy's float64. `oracle_torch` is the same in torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HALF = ("bfloat16", "float16")
"""Formats in which values are compared bit for bit."""
_BLOCK = 1 << 20

Float64 = NDArray[np.float64]
Parts = list[tuple[float, Any]]
"""Adapter weight and canonical module of every change of one parameter."""


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
