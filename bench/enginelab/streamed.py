# ruff: noqa: ANN001, ANN202
"""A card of 24 GiB: our streamed way against our resident one, and diffusers' group offload."""

from __future__ import annotations

import json
import os
import time

import psutil
import torch

from enginelab.common import GIB, Bench
from enginelab.exact import finished, read_ahead, switch
from whichlora.families._qwen.calls import PlainEngine
from whichlora.families._qwen.engine import FastEngine
from whichlora.families._qwen.streaming import StreamedStore
from whichlora.families._qwen.weights import ResidentStore


def _resident_answers(bench: Bench, session, a):
    """Our resident times; answers by row and case; the cases; the compiled program."""
    from whichlora.families._qwen.opening import Machine

    model = session._parts.transformer
    store = ResidentStore(model, torch.device(bench.device), fuse=True)
    fast = FastEngine(model, store, compiled=bench.device == "cuda")
    session._machine = Machine(store, fast)
    cases = {"pair": bench.calls(model), "single": bench.calls(model, guidance=False),
             "two_cells": bench.calls(model, cells=2, guidance=False)}
    wanted = {}
    for row in (bench.row(), bench.row(a)):
        session.switch(row)
        bench.begin(fast)
        for name, calls in cases.items():
            wanted[row.name, name] = [each.clone() for each in bench.step(fast, calls)]
    for name, calls in cases.items():
        bench.log(**{f"resident_{name}_s": bench.timed(lambda calls=calls: bench.step(fast, calls))})
    session._machine = session._switcher = None
    return wanted, cases, fast._run


def streamed(bench: Bench) -> None:
    """24 GiB: our resident time first, then the same weights streamed under the cap, with a LoRA."""
    from whichlora.families._qwen.opening import Machine

    session = bench.session()
    a = bench.lora("a")
    wanted, cases, program = _resident_answers(bench, session, a)
    session._parts.forget_transformer()
    bench.fresh()

    rss = psutil.Process().memory_info().rss
    if bench.device == "cuda":
        bench.cap(24)
    else:
        os.environ["WHICHLORA_HOLD"] = "streamed"
    started = time.perf_counter()
    host_model = session._parts.in_host_memory()
    room = _room(bench, session)
    store = StreamedStore(host_model, torch.device(bench.device), room, fill=session._parts.fill)
    streaming = FastEngine(host_model, store, compiled=bench.device == "cuda")
    streaming._run = program  # compiled once for both ways of holding
    session._machine = Machine(store, streaming)
    bench.log(stream_load_s=time.perf_counter() - started)
    bench.fresh()
    for row in (bench.row(), bench.row(a)):
        bench.log(**{f"stream_switch_{row.name}_s": switch(bench, session, row)})
        bench.begin(streaming)
        for name, calls in cases.items():
            found = bench.step(streaming, calls)
            same = all(torch.equal(x, y) for x, y in zip(found, wanted[row.name, name], strict=True))
            seconds = bench.timed(lambda calls=calls: bench.step(streaming, calls))
            label = f"stream_{row.name}_{name}"
            bench.log(**{f"{label}_s": seconds, f"{label}_ratio": seconds / bench.found[f"resident_{name}_s"],
                         f"{label}_same_bits": same})
    session.switch(bench.row())
    read_ahead(session, bench.row(a))
    bench.log(stream_switch_ahead_s=switch(bench, session, bench.row(a)))
    started = time.perf_counter()
    bench.begin(streaming)
    bench.sync()
    bench.log(stream_modulations_s=time.perf_counter() - started, stream_peak_gib=bench.peak_gib(),
              host_rss_gib=(psutil.Process().memory_info().rss - rss) / GIB, stream_facts=store.facts(),
              stream_notes=streaming.notes)
    job = bench.job(session)
    bench.log(stream_image_2_steps_s=finished(bench, session, job, 2), stream_peak_with_vae_gib=bench.peak_gib())


def _room(bench: Bench, session) -> int:
    from whichlora.families._qwen.files import shape_of
    from whichlora.families._qwen.profiles import RESERVE_BYTES, transformer_bytes
    from whichlora.families._qwen.weights import free_bytes

    inside, outside = transformer_bytes(shape_of(session._parts.places.location), bench.dtype.itemsize)
    if bench.device != "cuda":
        return inside // 3 * 2 // 2
    return free_bytes(torch.device("cuda")) - outside - RESERVE_BYTES


OFFLOADED_BLOCKS = 15
"""Blocks of the model that diffusers' group offload is measured on: all cost the same, and filling 60 takes minutes."""


def offload(bench: Bench) -> None:
    """Diffusers' group offload, one block a group, of a quarter of the blocks; seconds are given for all 60."""
    session = bench.session()
    if bench.device != "cuda":
        bench.log(offload_pair_s=None, offload_note="needs CUDA")
        return
    path = session._parts.places.folder / "transformer" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "num_layers": OFFLOADED_BLOCKS}), encoding="utf-8")
    session._parts.device = "cpu"
    model = session._parts.transformer
    model.enable_group_offload(onload_device=torch.device("cuda"), offload_device=torch.device("cpu"),
                               offload_type="block_level", num_blocks_per_group=1, use_stream=True, record_stream=True)
    engine, calls = PlainEngine(model), bench.calls(model)
    with torch.no_grad():
        engine.begin(bench.levels())
        seconds = bench.timed(lambda: engine.forward(calls, 10))
    bench.log(offload_quarter_pair_s=seconds, offload_pair_s=seconds * config["num_layers"] / OFFLOADED_BLOCKS,
              offload_peak_gib=bench.peak_gib())
