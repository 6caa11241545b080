# ruff: noqa: ANN001
"""Plain diffusers and our exact forward in turns, whole pictures, errors, and switching."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from enginelab.common import LINEARS, RANK, Bench, checksum, error, reference
from whichlora.families._qwen.calls import PlainEngine
from whichlora.families._qwen.engine import FastEngine
from whichlora.families._qwen.weights import ResidentStore


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
    call = stock_call(bench, theirs)[1]
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


def finished(bench: Bench, session, job, steps: int) -> float:
    from whichlora.families._qwen.true_size import sampler_of

    sampler = sampler_of(toy=bench.toy, steps=steps)
    return bench.timed(lambda: session.decode(session.denoise_together([job], sampler)[0]), 2)


def stock_call(bench: Bench, session) -> tuple[Any, Callable[[int], Any]]:
    """The stock pipeline, and its own call with embeddings given as a function of the number of steps."""
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

    def call(steps: int) -> Any:
        return pipe(image=[Image.new("RGB", (side, side), "gray")], prompt_embeds=embeds[0],
                    prompt_embeds_mask=masks[0],
                    negative_prompt_embeds=embeds[1], negative_prompt_embeds_mask=masks[1], true_cfg_scale=4.0,
                    num_inference_steps=steps, height=side, width=side, generator=torch.Generator().manual_seed(1))

    return pipe, call


def _switching(bench: Bench, session, store) -> None:
    """Seconds of a switch, and that base and candidates come back bit for bit."""
    a, b = bench.lora("a"), bench.lora("b", modules=("attn.to_q", "attn.to_out.0", "img_mlp.net.2"), rank=16)
    marks = {"base": checksum(store)}
    cold = switch(bench, session, bench.row(a))
    marks["a"] = checksum(store)
    read_ahead(session, bench.row(b))
    ahead = switch(bench, session, bench.row(b))
    back = switch(bench, session, bench.row())
    same_base = checksum(store) == marks["base"]
    read_ahead(session, bench.row(a))
    again = switch(bench, session, bench.row(a))
    bench.log(switch_cold_s=cold, switch_ahead_small_s=ahead, switch_back_s=back, switch_ahead_s=again,
              base_restored=same_base, candidate_repeats=checksum(store) == marks["a"],
              candidate_differs=marks["a"] != marks["base"])


def read_ahead(session, row) -> None:
    session.prefetch(row)
    for future in list(session._switcher._ahead._held.values()):
        future.result()


def switch(bench: Bench, session, row) -> float:
    bench.sync()
    started = time.perf_counter()
    session.switch(row)
    bench.sync()
    return time.perf_counter() - started
