# ruff: noqa: ANN001, ANN202
"""The measured phases. Each takes a `Bench`, logs figures, and may be run alone."""

from __future__ import annotations

import os
import time

import psutil
import torch
import torch.nn.functional as functional

from enginelab.attempts import attempts
from enginelab.common import GIB, LINEARS, RANK, Bench, checksum, error, reference
from whichlora.families._qwen import engine as engine_module
from whichlora.families._qwen.engine import FastEngine, PlainEngine
from whichlora.families._qwen.quantised import QuantisedStore
from whichlora.families._qwen.shortcuts import Shortcuts
from whichlora.families._qwen.streaming import StreamedStore
from whichlora.families._qwen.weights import ResidentStore


def floor(bench: Bench) -> None:
    """The best kernels one by one, and what a forward made of them would take."""
    device, dtype = bench.device, bench.dtype
    n = 256 if bench.toy else 8192
    width, tokens, text = (128, 32, 285) if bench.toy else (3072, 8192, 285)
    heads = 4 if bench.toy else 24
    blocks = 6 if bench.toy else 60

    def product(rows: int, columns: int, inner: int) -> float:
        a, b = (torch.randn(shape, device=device, dtype=dtype) for shape in ((rows, inner), (columns, inner)))
        return bench.timed(lambda: [functional.linear(a, b) for _ in range(20)]) / 20

    limit = product(n, n, n)
    bench.log(matmul_tflops=2 * n**3 / limit / 1e12)
    linear = 0.0
    for rows in (tokens, text):
        shapes = ((3 * width, width), (width, width), (4 * width, width), (width, 4 * width))
        linear += sum(product(rows, columns, inner) for columns, inner in shapes)
    q = torch.randn(1, heads, tokens + text, width // heads, device=device, dtype=dtype)

    def attend() -> None:
        for _ in range(5):
            functional.scaled_dot_product_attention(q, q, q)

    flash = bench.timed(attend) / 5
    with engine_module.sdpa_choice(torch.device(device)):
        chosen = bench.timed(attend) / 5
    bench.log(floor_linear_s=blocks * linear, floor_attention_flash_s=blocks * flash,
              floor_attention_chosen_s=blocks * chosen, floor_forward_s=blocks * (linear + min(flash, chosen)))
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


def _baselines(bench: Bench, session) -> list[torch.Tensor]:
    """Plain diffusers, without and with an unfused LoRA, eager and compiled; one step's answers without."""
    from peft import LoraConfig

    model = session._parts.transformer
    plain, calls = PlainEngine(model), bench.calls(model)
    bench.begin(plain)
    bench.log(plain_pair_no_lora_s=bench.timed(lambda: bench.step(plain, calls)))
    before = bench.step(plain, calls)
    model.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights=False, target_modules=list(LINEARS)),
                      adapter_name="a")
    bench.log(plain_pair_lora_s=bench.timed(lambda: bench.step(plain, calls)), plain_peak_gib=bench.peak_gib())
    _plain_image(bench, session)
    if bench.device == "cuda":
        started = time.perf_counter()
        model.compile_repeated_blocks(fullgraph=True)
        bench.step(plain, calls)
        bench.log(plain_compile_s=time.perf_counter() - started)
        bench.log(compiled_pair_lora_s=bench.timed(lambda: bench.step(plain, calls)))
    return before


def exact(bench: Bench) -> None:
    """Plain diffusers with an unfused LoRA, the same compiled, and our resident forward, in one process."""
    session = bench.session()
    before = _baselines(bench, session)
    session._parts.forget_transformer()
    torch._dynamo.reset()
    bench.fresh()
    model = session._parts.transformer
    calls = bench.calls(model)
    store = ResidentStore(model, torch.device(bench.device), fuse=True)
    fast = FastEngine(model, store, compiled=False)
    bench.begin(fast)
    wanted = reference(bench, model, store, calls)
    bench.log(error_plain_bf16=error(before, wanted), error_fast_eager=error(bench.step(fast, calls), wanted))
    bench.log(fast_eager_pair_s=bench.timed(lambda: bench.step(fast, calls)))
    single = bench.calls(model, guidance=False)
    if bench.device == "cuda":
        started = time.perf_counter()
        fast = FastEngine(model, store, compiled=True)
        bench.begin(fast)
        bench.step(fast, calls)
        bench.sync()
        bench.log(fast_compile_s=time.perf_counter() - started, fast_notes=fast.notes)
        bench.log(error_fast_compiled=error(bench.step(fast, calls), wanted))
    bench.fresh()
    bench.log(fast_pair_s=bench.timed(lambda: bench.step(fast, calls)),
              fast_single_s=bench.timed(lambda: bench.step(fast, single)), fast_peak_gib=bench.peak_gib())
    started = time.perf_counter()
    bench.begin(fast)
    bench.sync()
    bench.log(modulations_s=time.perf_counter() - started)
    _our_image(bench, session, store, fast)


def _our_image(bench: Bench, session, store, fast) -> None:
    """Steps and everything around them through the session, and switching."""
    from whichlora.families._qwen.opening import Machine

    session._machine = Machine(store, fast)
    job, steps = bench.job(session), (2, 6)
    seconds = [_finished(bench, session, job, count) for count in steps]
    step = (seconds[1] - seconds[0]) / 4
    bench.log(our_step_s=step, our_around_s=seconds[0] - 2 * step, our_image_40_s=seconds[0] + 38 * step)
    _switching(bench, session, store)


def _finished(bench: Bench, session, job, steps: int) -> float:
    from whichlora.families._qwen.true_size import sampler_of

    sampler = sampler_of(toy=bench.toy, steps=steps)
    return bench.timed(lambda: session.decode(session.denoise_together([job], sampler)[0]), 2)


def _plain_image(bench: Bench, session) -> None:
    """The stock pipeline's own call with the LoRA active and embeddings given: seconds of 40 steps."""
    import diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus as stock
    from diffusers import FlowMatchEulerDiscreteScheduler
    from PIL import Image

    from whichlora.families._qwen.true_size import sampler_of

    parts, job = session._parts, bench.job(session)
    sampler = sampler_of(toy=bench.toy)
    stock.VAE_IMAGE_SIZE, stock.CONDITION_IMAGE_SIZE = sampler.reference_area_px, sampler.condition_area_px
    pipe = stock.QwenImageEditPlusPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler.from_config(parts.scheduler_config), vae=parts.vae,
        text_encoder=None, tokenizer=None, processor=None, transformer=parts.transformer,
    )
    pipe.set_progress_bar_config(disable=True)
    side = int(sampler.reference_area_px**0.5)
    embeds = [each.embeds.to(bench.device, bench.dtype) for each in (job.prompt, job.negative)]
    masks = [torch.ones(each.shape[:2], device=bench.device, dtype=torch.long) for each in embeds]

    def call(steps: int) -> None:
        pipe(image=[Image.new("RGB", (side, side), "gray")], prompt_embeds=embeds[0], prompt_embeds_mask=masks[0],
             negative_prompt_embeds=embeds[1], negative_prompt_embeds_mask=masks[1], true_cfg_scale=4.0,
             num_inference_steps=steps, height=side, width=side, generator=torch.Generator().manual_seed(1))

    with torch.inference_mode():
        seconds = [bench.timed(lambda steps=steps: call(steps), 1) for steps in (2, 5)]
    step = (seconds[1] - seconds[0]) / 3
    bench.log(plain_step_s=step, plain_around_s=seconds[0] - 2 * step, plain_image_40_s=seconds[0] + 38 * step)


def _switching(bench: Bench, session, store) -> None:
    """Seconds of a switch, and that base and candidates come back bit for bit."""
    a, b = bench.lora("a"), bench.lora("b", modules=("attn.to_q", "attn.to_out.0", "img_mlp.net.2"), rank=16)
    marks = {"base": checksum(store)}
    cold = _switch(bench, session, bench.row(a))
    marks["a"] = checksum(store)
    session.prefetch(bench.row(b))
    for future in list(session._switcher._ahead._held.values()):
        future.result()
    ahead = _switch(bench, session, bench.row(b))
    back = _switch(bench, session, bench.row())
    same_base = checksum(store) == marks["base"]
    session.prefetch(bench.row(a))
    for future in list(session._switcher._ahead._held.values()):
        future.result()
    again = _switch(bench, session, bench.row(a))
    bench.log(switch_cold_s=cold, switch_ahead_small_s=ahead, switch_back_s=back, switch_ahead_s=again,
              base_restored=same_base, candidate_repeats=checksum(store) == marks["a"],
              candidate_differs=marks["a"] != marks["base"])


def _switch(bench: Bench, session, row) -> float:
    bench.sync()
    started = time.perf_counter()
    session.switch(row)
    bench.sync()
    return time.perf_counter() - started


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
        bench.log(**{f"stream_switch_{row.name}_s": _switch(bench, session, row)})
        bench.begin(streaming)
        for name, calls in cases.items():
            found = bench.step(streaming, calls)
            same = all(torch.equal(x, y) for x, y in zip(found, wanted[row.name, name], strict=True))
            seconds = bench.timed(lambda calls=calls: bench.step(streaming, calls))
            label = f"stream_{row.name}_{name}"
            bench.log(**{f"{label}_s": seconds, f"{label}_ratio": seconds / bench.found[f"resident_{name}_s"],
                         f"{label}_same_bits": same})
    started = time.perf_counter()
    bench.begin(streaming)
    bench.sync()
    bench.log(stream_modulations_s=time.perf_counter() - started, stream_peak_gib=bench.peak_gib(),
              host_rss_gib=(psutil.Process().memory_info().rss - rss) / GIB, stream_facts=store.facts(),
              stream_notes=streaming.notes)
    job = bench.job(session)
    bench.log(stream_image_2_steps_s=_finished(bench, session, job, 2), stream_peak_with_vae_gib=bench.peak_gib())


def _room(bench: Bench, session) -> int:
    from whichlora.families._qwen.files import shape_of
    from whichlora.families._qwen.profiles import RESERVE_BYTES, transformer_bytes
    from whichlora.families._qwen.weights import free_bytes

    inside, outside = transformer_bytes(shape_of(session._parts.places.location), bench.dtype.itemsize)
    if bench.device != "cuda":
        return inside // 3 * 2 // 2
    return free_bytes(torch.device("cuda")) - outside - RESERVE_BYTES


def offload(bench: Bench) -> None:
    """Diffusers' group offload under the same cap, for comparison."""
    session = bench.session()
    if bench.device != "cuda":
        bench.log(offload_pair_s=None, offload_note="needs CUDA")
        return
    bench.cap(24)
    session._parts.device = "cpu"
    model = session._parts.transformer
    model.enable_group_offload(onload_device=torch.device("cuda"), offload_device=torch.device("cpu"),
                               offload_type="block_level", num_blocks_per_group=1, use_stream=True, record_stream=True)
    engine, calls = PlainEngine(model), bench.calls(model)
    with torch.no_grad():
        engine.begin(bench.levels())
        engine.forward(calls, 10)
        bench.log(offload_pair_s=bench.timed(lambda: engine.forward(calls, 10), 2), offload_peak_gib=bench.peak_gib())


def quantised(bench: Bench) -> None:
    """fp8 and nf4 after merging in bf16, and the near-lossless speed-ups on a stated schedule."""
    for kind in ("fp8", "nf4"):
        _quantised(bench, kind)
        bench.cap(None)
        bench.fresh()


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
    bench.log(**{f"{kind}_switch_s": _switch(bench, session, bench.row(bench.lora("a")))})
    bench.begin(fast)
    started = time.perf_counter()
    found = bench.step(fast, calls)
    bench.sync()
    bench.log(**{f"{kind}_first_step_s": time.perf_counter() - started})
    bench.log(**{f"{kind}_pair_s": bench.timed(lambda: bench.step(fast, calls)), f"{kind}_notes": fast.notes,
                 f"{kind}_peak_gib": bench.peak_gib(),
                 f"{kind}_error": error(found, reference(bench, host_model, _Merged(store), calls))})
    if kind == "fp8":
        _near_lossless(bench, session, store, host_model)


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
    "guidance to 50 %": Shortcuts(0.0, 0.5), "middle blocks every 2nd step": Shortcuts(block_every=2),
    "references every 3rd step": Shortcuts(reference_every=3),
    "guidance to 60 %, middle blocks every 3rd step": Shortcuts(0.0, 0.6, block_every=3),
}
"""Stated skip schedules of the near-lossless row; the last is the one that the target is held against."""


def _near_lossless(bench: Bench, session, store, model) -> None:
    from dataclasses import replace

    from whichlora.families._qwen.opening import Machine
    from whichlora.families._qwen.true_size import sampler_of

    job, steps = bench.job(session), 12 if bench.toy else 40
    sampler = sampler_of(toy=bench.toy, steps=steps)
    bench.cap(None)
    for name, shortcuts in SCHEDULES.items():
        engine = FastEngine(model, store, compiled=bench.device == "cuda", shortcuts=shortcuts)
        session._machine = Machine(store, engine)
        session._settings = replace(session._settings, shortcuts=shortcuts)
        work = lambda: session.decode(session.denoise_together([job], sampler)[0])  # noqa: E731
        bench.log(**{f"fp8 + {name}: image_s": bench.timed(work, 1)})


PHASES = {"floor": floor, "exact": exact, "streamed": streamed, "offload": offload, "quantised": quantised,
          "attempts": attempts}
