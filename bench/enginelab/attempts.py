# ruff: noqa: ANN001, ANN202
"""Other ways to run the exact and the fp8 forward, each timed, and profiles of where the time goes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
import torch.nn.functional as functional

from enginelab.common import Bench
from whichlora.families._qwen import engine as engine_module
from whichlora.families._qwen import fused
from whichlora.families._qwen.engine import FastEngine
from whichlora.families._qwen.layout import linear_stacks
from whichlora.families._qwen.linear import to_fp8
from whichlora.families._qwen.weights import ResidentStore


def attempts(bench: Bench) -> None:
    """Other ways to run the exact forward and the fp8 one, and where their time goes."""
    session = bench.session()
    model = session._parts.transformer
    store = ResidentStore(model, torch.device(bench.device), fuse=True)
    calls = bench.calls(model)

    def measure(name: str, change: Callable[[FastEngine], None] = lambda _: None, of=store, *, profile=False) -> None:
        torch._dynamo.reset()
        engine = FastEngine(model, of, compiled=bench.device == "cuda")
        change(engine)
        bench.begin(engine)
        try:
            seconds = bench.timed(lambda: bench.step(engine, calls))
            bench.log(**{f"attempt, {name}: pair_s": seconds, f"attempt, {name}: notes": engine.notes})
            if profile and bench.device == "cuda":
                _profile(bench, name, engine, calls)
        except RuntimeError as failure:
            bench.log(**{f"attempt, {name}: failed": str(failure)[:200]})

    measure("own kernels", profile=True)
    measure("blocks compiled", _without_kernels, profile=True)
    stock = engine_module.attention_order
    engine_module.attention_order = lambda _: nullcontext()
    measure("own kernels, torch's own choice of attention")
    engine_module.attention_order = stock
    _gelu_outside(measure)
    _texts_apart(measure)
    rounded = _Rounded(store, keep=("img_down",))
    measure("fp8, own kernels", of=rounded, profile=True)
    measure("fp8, blocks compiled", _without_kernels, of=rounded)
    measure("fp8, own kernels, every layer", of=_Rounded(store, keep=()))
    if bench.device == "cuda":
        import torch._inductor.config as inductor

        inductor.coordinate_descent_tuning = True
        measure("blocks compiled, inductor's coordinate descent", _without_kernels)
        inductor.coordinate_descent_tuning = False


def _without_kernels(engine: FastEngine) -> None:
    engine._kernels = False


def _gelu_outside(measure: Callable[..., None]) -> None:
    shipped, fused.linear_gelu = fused.linear_gelu, lambda x, weight: functional.gelu(
        functional.linear(x, weight.weight, weight.bias), approximate="tanh")
    measure("own kernels, GELU outside the product")
    fused.linear_gelu = shipped


def _texts_apart(measure: Callable[..., None]) -> None:
    shipped = fused.fused_block
    fused.fused_block = lambda streams, *rest: [shipped([each], *rest)[0] for each in streams]
    measure("own kernels, each forward's text by itself")
    fused.fused_block = shipped


class _Rounded:
    """A resident store's blocks with their linear layers in fp8, all but some."""

    def __init__(self, store: ResidentStore, keep: tuple[str, ...]) -> None:
        self.blocks, self.device, self.modulations, self._store = store.blocks, store.device, store.modulations, store
        self._weights = [
            each._replace(**{name: to_fp8(*getattr(each, name)) for name in linear_stacks() if name not in keep})
            for each in store._weights
        ]

    def visit(self, work) -> None:
        for index, weights in enumerate(self._weights):
            work(index, weights)

    def facts(self):
        return {}


def _profile(bench: Bench, name: str, engine, calls) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        bench.step(engine, calls)
        bench.sync()
    rows = sorted(profile.key_averages(), key=lambda row: -row.self_device_time_total)[:22]
    bench.log(**{
        f"profile, {name}": [{"kernel": row.key[:90], "ms": round(row.self_device_time_total / 1e3, 2),
                              "calls": row.count} for row in rows],
        f"profile, {name}: total_ms": sum(row.self_device_time_total for row in profile.key_averages()) / 1e3,
    })
