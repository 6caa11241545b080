"""The weight oracle where the weights lie: the arithmetic of `comparing.compare` in torch's float64, on any device.

float64 runs at 1/64 of fp32's rate on consumer cards. That is no reason for another format: of the work per value
(two products over the rank, some thirty simple operations) even such a card does 20 billion values of rank 32 in
seconds, and memory traffic takes longer. Apple's `mps` has no float64; there the reference runs on the processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from whichlora.run import comparing
from whichlora.run.comparing import Comparison

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from whichlora.run.comparing import Parts

_BLOCK = {"cpu": 1 << 20}
"""Values compared at once: a dozen float64 temporaries of them exist. More where starting an operation is dear."""
_BLOCK_ELSEWHERE = 1 << 23
_FORMATS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def sums(session: Any, label: str, parts: Parts, precision: str) -> Callable[[], Comparison]:
    """Compare one module.

    Args:
        session: What shows `tensors(label)`: the parameter as the base has it and as it works now, on one device.
        label: The module.
        parts: What the files say of it.
        precision: Format of the working weights.

    Returns:
        What waits for the device, which may still be computing, and gives the sums.
    """
    pristine = found = None
    try:
        with torch.inference_mode():
            pristine, found = session.tensors(label)
            if pristine.device.type != "mps":
                return _brings(_sums(pristine, found, parts, precision))
    except torch.OutOfMemoryError:
        # A card filled to the brim: this module goes to the processor, with the same result.
        pristine = found = None
        torch.cuda.empty_cache()
    there = comparing.compare(session.pristine(label), session.weights(label), parts, precision)
    return lambda: there


def _brings(numbers: Tensor) -> Callable[[], Comparison]:
    def bring() -> Comparison:
        wanted, lost, beyond, undecided, wrong = numbers.tolist()
        return Comparison(wanted, lost, beyond, int(undecided), int(wrong))

    return bring


def _sums(pristine: Tensor, found: Tensor, parts: Parts, precision: str) -> Tensor:
    """See `comparing.compare`: every line there has its line here."""
    total = torch.zeros(5, dtype=torch.float64, device=pristine.device)
    for rows, delta, slack in _changes(pristine, parts):
        before, raw = pristine[rows].double(), found[rows]
        now = raw.double()
        target = before + delta
        off = (now - target).abs_()
        total[0] += delta.square().sum()
        total[1] += off.square().sum()
        if precision in comparing.HALF:
            slack = slack + (before.abs_() + delta.abs()).mul_(2.0**-23)
            low, high = (_rounded(edge, precision) for edge in (target - slack, target + slack))
            total[3] += torch.count_nonzero(low != high)
            total[4] += torch.count_nonzero(~((now >= low.double()) & (now <= high.double())))
        else:
            beyond = off.sub_(torch.maximum(before.abs_(), target.abs_()).mul_(2.0**-23))
            # Not clamp: it must let NaN through, as numpy's maximum does.
            total[2] += torch.maximum(beyond, torch.zeros_like(beyond)).square_().sum()
    return total


def _changes(pristine: Tensor, parts: Parts) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """ΔW in float64 by blocks of rows, with a bound on what fp32 arithmetic may differ from it."""
    rows, device = pristine.shape[0], pristine.device
    most = _BLOCK.get(device.type, _BLOCK_ELSEWHERE)
    step = max(1, most * rows // max(1, pristine.numel()))
    changes = [(weight, _terms(module, pristine)) for weight, module in parts]
    for start in range(0, rows, step):
        block = slice(start, min(rows, start + step))
        delta: Any = 0.0
        slack: Any = 0.0
        for weight, (up, down, scale) in changes:
            if down is None:
                part = up[block].double() * weight
                slack = slack + part.abs() * 2.0**-20
            else:
                part = (up[block] @ down).mul_(weight * scale)
                bound = up[block].abs() @ down.abs()
                slack = slack + bound.mul_(abs(weight * scale) * (up.shape[1] + 4) * 2.0**-24)
            delta = delta + part
        yield block, delta, slack


def _terms(module: Any, pristine: Tensor) -> tuple[Tensor, Tensor | None, float]:
    """(up, down, scale) in float64 of a change with factors; else (the whole change in fp32, None, 1)."""
    pair = module.factors()
    if pair is None:
        weight = pristine.float().cpu().numpy() if module.needs_weight else None
        return _brought(module.delta(weight), pristine.device), None, 1.0
    return _brought(pair[0], pristine.device).double(), _brought(pair[1], pristine.device).double(), pair[2]


def _brought(array: Any, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)


def _rounded(values: Tensor, precision: str) -> Tensor:
    """To the nearest bf16 or fp16 value by way of fp32, ties to even, as `comparing.rounded`."""
    return values.float().to(_FORMATS[precision])
