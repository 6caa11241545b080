# ruff: noqa: ANN001
"""Other ways to run the exact forward, each timed, and a profile of where its time goes."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from enginelab.common import Bench
from whichlora.families._qwen import engine as engine_module
from whichlora.families._qwen.engine import FastEngine
from whichlora.families._qwen.weights import ResidentStore


def attempts(bench: Bench) -> None:
    """Other ways to run the exact forward, and where its time goes."""
    session = bench.session()
    model = session._parts.transformer
    store = ResidentStore(model, torch.device(bench.device), fuse=True)
    calls = bench.calls(model)
    stock_choice = engine_module.sdpa_choice

    def measure(name: str, **change: object) -> None:
        torch._dynamo.reset()
        engine = FastEngine(model, store, compiled=bench.device == "cuda" and change.get("compile", True))
        bench.begin(engine)
        try:
            bench.log(**{f"attempt, {name}: pair_s": bench.timed(lambda: bench.step(engine, calls)),
                         f"attempt, {name}: notes": engine.notes})
        except RuntimeError as failure:
            bench.log(**{f"attempt, {name}: failed": str(failure)[:200]})

    measure("as shipped")
    engine_module.sdpa_choice = lambda _: engine_module.nullcontext()
    measure("torch's own choice of attention")
    engine_module.sdpa_choice = stock_choice
    import whichlora.families._qwen.fast as fast_module

    fused = fast_module.linear_gelu
    fast_module.linear_gelu = lambda x, w: functional.gelu(fast_module.linear(x, w), approximate="tanh")
    measure("GELU outside the product")
    fast_module.linear_gelu = fused
    mark, torch._dynamo.maybe_mark_dynamic = torch._dynamo.maybe_mark_dynamic, lambda *_: None
    measure("one program for each length of text")
    torch._dynamo.maybe_mark_dynamic = mark
    if bench.device == "cuda":
        import torch._inductor.config as inductor

        inductor.coordinate_descent_tuning = True
        measure("inductor's coordinate descent")
        inductor.coordinate_descent_tuning = False
        _profile(bench, model, store, calls)


def _profile(bench: Bench, model, store, calls) -> None:
    torch._dynamo.reset()
    engine = FastEngine(model, store, compiled=True)
    bench.begin(engine)
    for _ in range(2):
        bench.step(engine, calls)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        bench.step(engine, calls)
        bench.sync()
    rows = sorted(profile.key_averages(), key=lambda row: -row.self_device_time_total)[:25]
    bench.log(profile=[{"kernel": row.key[:100], "ms": round(row.self_device_time_total / 1e3, 2), "calls": row.count}
                       for row in rows], profile_total_ms=sum(r.self_device_time_total for r in rows) / 1e3)
