# ruff: noqa: ANN001, ANN202
"""The measured phases. Each takes a `Bench`, logs figures, and may be run alone."""

from __future__ import annotations

import json
import os
import time

import psutil
import torch
import torch.nn.functional as functional

from enginelab.attempts import attempts
from enginelab.common import GIB, LINEARS, RANK, Bench, checksum, error, reference
from enginelab.kernelcheck import kernel_check
from whichlora.families._qwen import engine as engine_module
from whichlora.families._qwen.calls import PlainEngine
from whichlora.families._qwen.engine import FastEngine
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
        return bench.sustained(lambda: functional.linear(a, b))

    product(n, n, n)
    bench.log(matmul_tflops=2 * n**3 / product(n, n, n) / 1e12)
    shapes = ((3 * width, width), (width, width), (4 * width, width), (width, 4 * width))
    linear = sum(product(rows, *shape) for rows in (tokens, text) for shape in shapes)
    q = torch.randn(1, heads, tokens + text, width // heads, device=device, dtype=dtype)

    def attend() -> None:
        functional.scaled_dot_product_attention(q, q, q)

    default = bench.sustained(attend)
    with engine_module.attention_order(torch.device(device)):
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


def exact(bench: Bench) -> None:
    """Plain diffusers with an unfused LoRA, the same compiled, and our resident forward, taking turns."""
    from peft import LoraConfig

    theirs, ours = bench.session(), bench.session()
    stock, model = theirs._parts.transformer, ours._parts.transformer
    plain, calls = PlainEngine(stock), bench.calls(stock)
    store = ResidentStore(model, torch.device(bench.device), fuse=True)
    fast = FastEngine(model, store, compiled=bench.device == "cuda")
    for engine in (plain, fast):
        bench.begin(engine)
    _errors(bench, plain, fast, store, model, calls)
    rounds = 2 if bench.toy else 5
    seconds = bench.alternating(rounds, plain=lambda: bench.step(plain, calls), ours=lambda: bench.step(fast, calls))
    bench.log(plain_pair_no_lora_s=seconds["plain"])
    stock.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights=False, target_modules=list(LINEARS)),
                      adapter_name="a")
    single = bench.calls(model, guidance=False)
    seconds = bench.alternating(rounds, plain=lambda: bench.step(plain, calls), ours=lambda: bench.step(fast, calls),
                                single=lambda: bench.step(fast, single))
    bench.log(plain_pair_lora_s=seconds["plain"], fast_pair_s=seconds["ours"], fast_single_s=seconds["single"])
    _images(bench, theirs, ours, store, fast)
    if bench.device == "cuda":
        started = time.perf_counter()
        stock.compile_repeated_blocks(fullgraph=True)
        bench.step(plain, calls)
        bench.log(plain_compile_s=time.perf_counter() - started)
        seconds = bench.alternating(rounds, plain=lambda: bench.step(plain, calls),
                                    ours=lambda: bench.step(fast, calls))
        bench.log(compiled_pair_lora_s=seconds["plain"], fast_pair_beside_compiled_s=seconds["ours"])
    bench.log(forward=fast.facts()["forward"], fast_notes=fast.notes)
    started = time.perf_counter()
    bench.begin(fast)
    bench.sync()
    bench.log(modulations_s=time.perf_counter() - started)
    theirs._parts.forget_transformer()
    _switching(bench, ours, store)


def _errors(bench: Bench, plain, fast, store, model, calls) -> None:
    """Each forward's error against fp32 from the same weights, and how long our first step takes."""
    wanted = reference(bench, model, store, calls)
    bench.log(error_plain_bf16=error(bench.step(plain, calls), wanted))
    started = time.perf_counter()
    found = bench.step(fast, calls)
    bench.sync()
    bench.log(fast_first_step_s=time.perf_counter() - started, error_fast=error(found, wanted))


def _images(bench: Bench, theirs, ours, store, fast) -> None:
    """Whole pictures of 40 steps: the stock pipeline's own call with its LoRA active, and ours."""
    from whichlora.families._qwen.opening import Machine
    from whichlora.families._qwen.true_size import sampler_of

    ours._machine = Machine(store, fast)
    job, steps = bench.job(ours), 12 if bench.toy else 40
    sampler = sampler_of(toy=bench.toy, steps=steps)
    call = _stock_call(bench, theirs)
    with torch.inference_mode():
        call(2)
    ours.decode(ours.denoise_together([job], sampler_of(toy=bench.toy, steps=2))[0])
    bench.fresh()

    def stock_picture() -> None:
        with torch.inference_mode():
            call(steps)

    spent: dict[str, list[float]] = {"plain": [], "ours": []}
    for name in ("ours", "plain", "ours"):
        bench.sync()
        started = time.perf_counter()
        if name == "plain":
            stock_picture()
        else:
            ours.decode(ours.denoise_together([job], sampler)[0])
        bench.sync()
        spent[name].append(time.perf_counter() - started)
    bench.log(plain_image_40_s=spent["plain"][0], our_image_40_s=sum(spent["ours"]) / 2, our_images_40_s=spent["ours"])


def _finished(bench: Bench, session, job, steps: int) -> float:
    from whichlora.families._qwen.true_size import sampler_of

    sampler = sampler_of(toy=bench.toy, steps=steps)
    return bench.timed(lambda: session.decode(session.denoise_together([job], sampler)[0]), 2)


def _stock_call(bench: Bench, session):
    """The stock pipeline's own call with embeddings given, as a function of the number of steps."""
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

    return call


def _switching(bench: Bench, session, store) -> None:
    """Seconds of a switch, and that base and candidates come back bit for bit."""
    a, b = bench.lora("a"), bench.lora("b", modules=("attn.to_q", "attn.to_out.0", "img_mlp.net.2"), rank=16)
    marks = {"base": checksum(store)}
    cold = _switch(bench, session, bench.row(a))
    marks["a"] = checksum(store)
    _read_ahead(session, bench.row(b))
    ahead = _switch(bench, session, bench.row(b))
    back = _switch(bench, session, bench.row())
    same_base = checksum(store) == marks["base"]
    _read_ahead(session, bench.row(a))
    again = _switch(bench, session, bench.row(a))
    bench.log(switch_cold_s=cold, switch_ahead_small_s=ahead, switch_back_s=back, switch_ahead_s=again,
              base_restored=same_base, candidate_repeats=checksum(store) == marks["a"],
              candidate_differs=marks["a"] != marks["base"])


def _read_ahead(session, row) -> None:
    session.prefetch(row)
    for future in list(session._switcher._ahead._held.values()):
        future.result()


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
    session.switch(bench.row())
    _read_ahead(session, bench.row(a))
    bench.log(stream_switch_ahead_s=_switch(bench, session, bench.row(a)))
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
    bench.log(**{f"{kind}_switch_s": _switch(bench, session, bench.row(bench.lora("a")))})
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


PHASES = {"kernels": kernel_check, "floor": floor, "exact": exact, "streamed": streamed, "offload": offload,
          "fp8": fp8, "cached": cached, "nf4": nf4, "attempts": attempts}
