# ruff: noqa: ANN001, ANN202
"""Every own kernel at the true size against the same formula in fp64: its error, and the bandwidth it reaches."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from enginelab.common import Bench
from whichlora.families._qwen import kernels, merge_kernel
from whichlora.families._qwen.changes import Change

TOKENS, TEXT, WIDTH, HEADS = 8192, 285, 3072, 24


def kernel_check(bench: Bench) -> None:
    """Log errors and gigabytes a second; nothing on a machine without CUDA."""
    if not kernels.usable(bench.device, bench.dtype, WIDTH // HEADS):
        bench.log(kernel_note="needs CUDA, Triton and bf16")
        return
    _norms(bench)
    _rotation(bench)
    _merging(bench)


def _draw(bench: Bench, *shape: int, scale: float = 1.0):
    return (torch.randn(*shape, device=bench.device) * scale).to(bench.dtype)


def _off(found, wanted) -> float:
    """‖found − wanted‖ / ‖wanted‖; infinite for NaN."""
    value = float((found.double() - wanted).norm() / wanted.norm())
    return value if value == value else float("inf")


def _norms(bench: Bench) -> None:
    x, y, worst = _draw(bench, 1, TOKENS, WIDTH), _draw(bench, 1, TOKENS, WIDTH), {}
    for rows in (1, 2):
        mod, split = _draw(bench, rows, 6 * WIDTH), TOKENS // 2
        later = (torch.arange(TOKENS, device=bench.device) >= split)[None, :, None]

        def part(number: int, mod=mod, later=later, rows=rows):
            wide = mod.double()[:, number * WIDTH:(number + 1) * WIDTH]
            return wide[0] if rows == 1 else torch.where(later, wide[1], wide[0])

        def normal(values, half: int, part=part):
            plain = functional.layer_norm(values.double(), (WIDTH,), eps=1e-6)
            return plain * (1 + part(3 * half + 1)) + part(3 * half)

        kept, after = kernels.residual_norm_modulate(x, y, mod, split)
        eight, scale = kernels.norm_modulate(x, mod, 1, split, quantise=True)
        plain8, plain_scale = kernels.quantise_rows(x)
        found = {
            "norm": _off(kernels.norm_modulate(x, mod, 0, split), normal(x, 0)),
            "residual": _off(kept, x.double() + part(2) * y.double()), "residual, norm": _off(after, normal(kept, 1)),
            "second residual": _off(kernels.residual(x, y, mod, split), x.double() + part(5) * y.double()),
            "norm to fp8": _off(eight.float() * scale, normal(x, 1)), "fp8": _off(plain8.float() * plain_scale,
                                                                                  x.double()),
        }
        worst = {name: max(value, worst.get(name, 0.0)) for name, value in found.items()}
    size = x.numel() * 2 / 1e9
    bench.log(kernel_errors=worst,
              norm_gb_s=2 * size / bench.sustained(lambda: kernels.norm_modulate(x, mod, 0, split)),
              residual_norm_gb_s=4 * size / bench.sustained(lambda: kernels.residual_norm_modulate(x, y, mod, split)))


def _rotation(bench: Bench) -> None:
    head = WIDTH // HEADS
    qkv = _draw(bench, 1, TEXT + TOKENS, 3 * WIDTH)
    tables = tuple(torch.randn(2, tokens, head // 2, device=bench.device) for tokens in (TEXT, TOKENS))
    norms = tuple(_draw(bench, head) for _ in range(4))
    before = qkv.double().view(1, -1, 3, HEADS, head)
    kernels.norm_rotate(qkv, TEXT, tables, norms, HEADS)
    found, errors = qkv.view(1, -1, 3, HEADS, head), []
    for part in (0, 1):
        for rows, table, weight in ((slice(0, TEXT), tables[0], norms[2 + part]),
                                    (slice(TEXT, None), tables[1], norms[part])):
            values = before[:, rows, part]
            values = values * torch.rsqrt(values.square().mean(-1, keepdim=True) + 1e-6) * weight.double()
            first, second = values.unflatten(-1, (-1, 2)).unbind(-1)
            cosine, sine = (each[:, None].double() for each in table)
            turned = torch.stack([first * cosine - second * sine, first * sine + second * cosine], -1).flatten(-2)
            errors.append(_off(found[:, rows, part], turned))
    size = qkv.numel() * 2 / 1e9 * 2 / 3
    bench.log(rotation_error=max(errors), values_untouched=bool((found[:, :, 2].double() == before[:, :, 2]).all()),
              rotation_gb_s=2 * size / bench.sustained(
                  lambda: kernels.norm_rotate(qkv, TEXT, tables, norms, HEADS)))


def _merging(bench: Bench) -> None:
    wrong, lost = 0, []
    for rows, columns, rank in ((WIDTH, WIDTH, 32), (4 * WIDTH, WIDTH, 24), (WIDTH, 4 * WIDTH, 16)):
        base = _draw(bench, rows, columns, scale=columns**-0.5)
        up, down = (torch.randn(shape, device=bench.device) * 0.02 for shape in ((rows, rank), (rank, columns)))
        out = torch.empty_like(base)
        sums = merge_kernel.merge(base, (Change(0.8, up, down, 0.5),), out, count=True)
        delta = up.double() @ down.double() * 0.4
        slack = (rank + 4) * 2.0**-24 * (up.double().abs() @ down.double().abs()) * 0.4 + 2.0**-23 * (
            base.double().abs() + delta.abs())
        low, high = ((base.double() + delta + sign * slack).to(base.dtype) for sign in (-1, 1))
        wrong += int(((out < low) | (out > high)).sum())
        lost.append(float(abs(sums[1] / delta.square().sum() - 1)))
    block = base.numel() * 4 / 1e9
    patch = (Change(0.8, up, down, 0.5),)
    bench.log(merge_wrong_values=wrong, merge_sum_error=max(lost),
              merge_gb_s=block / bench.sustained(lambda: merge_kernel.merge(base, patch, out, count=False)),
              merge_counting_gb_s=block / bench.sustained(lambda: merge_kernel.merge(base, patch, out, count=True)))
