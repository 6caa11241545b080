# ruff: noqa: ANN001
"""The best kernels one by one, and what a forward made of them would take."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from enginelab.common import Bench
from whichlora.families._qwen.attention_order import attention_order


def floor(bench: Bench) -> None:
    """The best kernels one by one, and what a forward made of them would take."""
    device, dtype = bench.device, bench.dtype
    n = 256 if bench.toy else 8192
    width, tokens, text = (128, 32, 285) if bench.toy else (3072, 8192, 285)
    heads = 4 if bench.toy else 24
    blocks = 6 if bench.toy else 60

    def product(rows: int, columns: int, inner: int) -> float:
        a, b = (torch.randn(shape, device=device, dtype=dtype) for shape in ((rows, inner), (columns, inner)))
        return bench.sustained(lambda: functional.linear(a, b))

    product(n, n, n)
    bench.log(matmul_tflops=2 * n**3 / product(n, n, n) / 1e12)
    shapes = ((3 * width, width), (width, width), (4 * width, width), (width, 4 * width))
    linear = sum(product(rows, *shape) for rows in (tokens, text) for shape in shapes)
    q = torch.randn(1, heads, tokens + text, width // heads, device=device, dtype=dtype)

    def attend() -> None:
        functional.scaled_dot_product_attention(q, q, q)

    default = bench.sustained(attend)
    with attention_order(torch.device(device)):
        chosen = bench.sustained(attend)
    bench.log(floor_linear_s=blocks * linear, floor_attention_default_s=blocks * default,
              floor_attention_chosen_s=blocks * chosen, floor_forward_s=blocks * (linear + min(default, chosen)))
    if device == "cuda":
        _fp8_floor(bench, tokens, shapes, blocks * min(default, chosen))
    if device == "cuda":
        big = torch.empty(2 << 30, dtype=torch.uint8, device=device)
        host = torch.empty(1 << 30, dtype=torch.uint8, pin_memory=True)
        copy = bench.timed(lambda: big[: 1 << 30].copy_(big[1 << 30:]))
        up = bench.timed(lambda: big[: 1 << 30].copy_(host, non_blocking=True))
        bench.log(device_copy_gb_s=2 * (1 << 30) / copy / 1e9, host_to_device_gb_s=(1 << 30) / up / 1e9)
        x = torch.randn(4096, 512, device=device, dtype=dtype)
        w, b = torch.randn(512, 512, device=device, dtype=dtype), torch.randn(512, device=device, dtype=dtype)
        fused = torch.ops.whichlora.linear_gelu(x, w, b).double()
        exact = functional.gelu(functional.linear(x.double(), w.double(), b.double()), approximate="tanh")
        bench.log(fused_gelu_error=float((fused - exact).norm() / exact.norm()))


def _fp8_floor(bench: Bench, tokens: int, shapes, attention_s: float) -> None:
    """Products in 8 bits with a scale a row, at the image stream's shapes; the second MLP matrix stays in bf16."""
    blocks, seconds = 60, {}
    for columns, inner in shapes:
        a = torch.randn(tokens, inner, device=bench.device).to(torch.float8_e4m3fn)
        b = torch.randn(columns, inner, device=bench.device).to(torch.float8_e4m3fn)
        sa = torch.ones(tokens, 1, device=bench.device)
        sb = torch.ones(1, columns, device=bench.device)
        work = lambda a=a, b=b, sa=sa, sb=sb: torch._scaled_mm(  # noqa: E731
            a, b.t(), scale_a=sa, scale_b=sb, out_dtype=torch.bfloat16, use_fast_accum=True)
        seconds[columns, inner] = bench.sustained(work)
    wide = torch.randn(tokens, shapes[3][1], device=bench.device, dtype=torch.bfloat16)
    last = torch.randn(shapes[3], device=bench.device, dtype=torch.bfloat16)
    bf16 = bench.sustained(lambda: functional.linear(wide, last))
    rows = {f"{columns}x{inner}": 2 * tokens * columns * inner / each / 1e12
            for (columns, inner), each in seconds.items()}
    kept = sum(each for shape, each in seconds.items() if shape != shapes[3]) + bf16
    bench.log(fp8_product_tflops=rows, fp8_floor_forward_s=blocks * kept + attention_s,
              fp8_floor_all_layers_forward_s=blocks * sum(seconds.values()) + attention_s)
