# ruff: noqa: ANN001
"""Profiles that round the weights to few bits, and near-lossless speed-ups on stated schedules."""

from __future__ import annotations

import time

import torch

from enginelab.common import Bench, error, reference
from enginelab.exact import switch
from whichlora.families._qwen.engine import FastEngine
from whichlora.families._qwen.quantised import QuantisedStore
from whichlora.families._qwen.shortcuts import Shortcuts


def fp8(bench: Bench) -> None:
    """fp8 after merging in bf16, under a cap of 24 GiB."""
    _quantised(bench, "fp8")


def cached(bench: Bench) -> None:
    """Near-lossless speed-ups on stated schedules: fp8, and whole pictures of 40 steps."""
    session = bench.session("fp8")
    bench.dtype = torch.bfloat16
    model = session._parts.in_host_memory()
    store = QuantisedStore(model, torch.device(bench.device), "fp8", fill=session._parts.fill)
    _near_lossless(bench, session, store, model)


def nf4(bench: Bench) -> None:
    """nf4 after merging in bf16, under a cap of 24 GiB."""
    _quantised(bench, "nf4")


def _quantised(bench: Bench, kind: str) -> None:
    from whichlora.families._qwen.opening import Machine

    session = bench.session(kind)
    bench.dtype = torch.bfloat16
    bench.cap(24)
    host_model = session._parts.in_host_memory()
    store = QuantisedStore(host_model, torch.device(bench.device), kind, fill=session._parts.fill)
    fast = FastEngine(host_model, store, compiled=bench.device == "cuda")
    session._machine = Machine(store, fast)
    calls = bench.calls(host_model)
    bench.fresh()
    bench.log(**{f"{kind}_switch_s": switch(bench, session, bench.row(bench.lora("a")))})
    bench.begin(fast)
    started = time.perf_counter()
    found = bench.step(fast, calls)
    bench.sync()
    bench.log(**{f"{kind}_first_step_s": time.perf_counter() - started})
    bench.log(**{f"{kind}_pair_s": bench.timed(lambda: bench.step(fast, calls)), f"{kind}_notes": fast.notes,
                 f"{kind}_peak_gib": bench.peak_gib(),
                 f"{kind}_error": error(found, reference(bench, host_model, _Merged(store), calls))})


class _Merged:
    """The quantised store's weights before they were rounded to few bits."""

    def __init__(self, store) -> None:
        self.store, self.blocks = store, store.blocks

    def visit(self, work) -> None:
        flat = self.store.buffer()
        for index in range(self.blocks):
            self.store.load(index, flat)
            work(index, self.store._layout.weights(flat))

    def modulations(self, work) -> None:
        self.store.modulations(work)


SCHEDULES = {
    "guidance to 60 %, middle blocks every 3rd step": Shortcuts(0.0, 0.6, block_every=3),
    "guidance to 50 %": Shortcuts(0.0, 0.5), "middle blocks every 2nd step": Shortcuts(block_every=2),
    "references every 3rd step": Shortcuts(reference_every=3),
}
"""Stated skip schedules of the near-lossless row; the first is the one that the target is held against."""


def _near_lossless(bench: Bench, session, store, model) -> None:
    from dataclasses import replace

    from whichlora.families._qwen.opening import Machine
    from whichlora.families._qwen.true_size import sampler_of

    job, steps = bench.job(session), 12 if bench.toy else 40
    sampler, few = sampler_of(toy=bench.toy, steps=steps), sampler_of(toy=bench.toy, steps=5)
    for name, shortcuts in SCHEDULES.items():
        engine = FastEngine(model, store, compiled=bench.device == "cuda", shortcuts=shortcuts)
        session._machine = Machine(store, engine)
        session._settings = replace(session._settings, shortcuts=shortcuts)
        session.decode(session.denoise_together([job], few)[0])
        bench.sync()
        started = time.perf_counter()
        session.decode(session.denoise_together([job], sampler)[0])
        bench.sync()
        bench.log(**{f"fp8, {name}: image_s": time.perf_counter() - started})
