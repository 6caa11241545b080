# ruff: noqa: ANN001, ANN202
"""Adding low-rank changes to half-precision weights on CUDA in one pass: read once, summed in fp32, rounded once.

The arithmetic of `patches.merge`, without its fp32 temporaries: a block that passes through the device gets its LoRA
in the time that reading and writing it takes. Sums over the change are made on the way, tile by tile, in a fixed order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from whichlora.families._qwen.changes import Change

try:
    import triton
    import triton.language as tl
except ImportError:  # not on this platform
    triton = tl = None  # type: ignore[assignment]

_ROWS, _COLUMNS, _INNER = 64, 128, 32
"""Tile of the weight, and how much of the rank is summed at once."""


def usable(base: Tensor, patch: Sequence[Change]) -> bool:
    """Whether the kernel takes this weight and these changes."""
    return (triton is not None and base.is_cuda and not torch.version.hip and base.ndim == 2 and base.is_contiguous()
            and base.dtype in (torch.bfloat16, torch.float16) and all(change.full is None for change in patch))


if triton is not None and tl is not None:

    @triton.jit
    def _merge_kernel(
        base, up, down, out, sums, rows, columns, rank, tiles,
        COUNT: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr,
    ):
        """One tile: base + up · down; and the sums of W², Δ², (got − Δ)², and of values that are not finite."""
        r = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
        c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
        k = tl.arange(0, INNER)
        delta = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        for start in range(0, rank, INNER):
            inner = start + k
            left = tl.load(up + r[:, None] * rank + inner[None, :],
                           mask=(r[:, None] < rows) & (inner[None, :] < rank), other=0.0)
            right = tl.load(down + inner[:, None] * columns + c[None, :],
                            mask=(inner[:, None] < rank) & (c[None, :] < columns), other=0.0)
            delta = tl.dot(left, right, delta, input_precision="ieee")
        inside = (r[:, None] < rows) & (c[None, :] < columns)
        place = r[:, None].to(tl.int64) * columns + c[None, :]
        before = tl.load(base + place, mask=inside, other=0.0).to(tl.float32)
        got = (before + delta).to(out.dtype.element_ty)
        tl.store(out + place, got, mask=inside)
        if COUNT:
            wide = got.to(tl.float32)
            off = wide - before - delta
            unbounded = (wide != wide) | (tl.abs(wide) == float("inf"))
            slot = sums + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
            tl.store(slot, tl.sum(tl.sum(before * before, 1), 0))
            tl.store(slot + tiles, tl.sum(tl.sum(delta * delta, 1), 0))
            tl.store(slot + 2 * tiles, tl.sum(tl.sum(off * off, 1), 0))
            tl.store(slot + 3 * tiles, tl.sum(tl.sum(unbounded.to(tl.float32), 1), 0))


def merge(base: Tensor, patch: Sequence[Change], out: Tensor, *, count: bool) -> Tensor | None:
    """Write base + every change to `out`, which may be `base` itself.

    Args:
        base: rows × columns, half precision, contiguous, on CUDA.
        patch: Changes with factors.
        out: Like `base`.
        count: Whether to sum.

    Returns:
        With `count`: ‖W‖², ‖Δ‖², ‖got − W − Δ‖² and how many results are not finite, in fp64; else None.
    """
    factors = [(change.up, change.down, change.scale * change.strength) for change in patch]
    ups = [up * strength for up, _, strength in factors if up is not None]
    downs = [down for _, down, _ in factors if down is not None]
    up = ups[0].contiguous() if len(ups) == 1 else torch.cat(ups, dim=1)
    down = downs[0].contiguous() if len(downs) == 1 else torch.cat(downs, dim=0)
    rows, columns = base.shape
    grid = (triton.cdiv(rows, _ROWS), triton.cdiv(columns, _COLUMNS))
    sums: Any = torch.empty((4, grid[0] * grid[1]), dtype=torch.float32, device=base.device) if count else None
    _merge_kernel[grid](
        base, up, down, out, up if sums is None else sums, rows, columns, up.shape[1], grid[0] * grid[1],
        COUNT=count, ROWS=_ROWS, COLUMNS=_COLUMNS, INNER=_INNER, num_warps=8,
    )
    return sums.double().sum(1) if count else None


def change_size(change: Change) -> Tensor:
    """‖strength · scale · up · down‖² in fp64, from the factors' inner products: rank × rank numbers."""
    assert change.up is not None
    assert change.down is not None
    up, down = change.up.double(), change.down.double()
    return ((up.T @ up) * (down @ down.T)).sum() * (change.scale * change.strength) ** 2
