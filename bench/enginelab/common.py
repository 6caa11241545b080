# ruff: noqa: ANN001, ANN003, ANN201, ANN202, D102
"""What the phases share: a session at true or toy size, inputs, timing, LoRA files, fingerprints of weights."""

from __future__ import annotations

import gc
import hashlib
import json
import sys
import time
import zlib
from pathlib import Path

import torch

from whichlora.families._qwen.calls import Call
from whichlora.families._qwen.engine import FastEngine
from whichlora.families._qwen.files import shape_of
from whichlora.families._qwen.rehearsal import example_job, open_rehearsal
from whichlora.families._qwen.true_size import TEXT_TOKENS
from whichlora.types import AdapterUse, Candidate

GIB = 1024**3
RANK = 32
LINEARS = (
    "attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj",
    "attn.to_add_out", "img_mod.1", "txt_mod.1", "img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj",
    "txt_mlp.net.2",
)
"""Every linear layer of a block, as a community LoRA of rank 32 adapts them."""


class Bench:
    """One phase's surroundings."""

    def __init__(self, *, toy: bool, folder: Path, repeats: int) -> None:
        self.toy, self.folder, self.repeats = toy, folder, repeats
        self.logs = folder
        """Where the output of programs goes: a lasting place keeps it when a phase is stopped."""
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
        self.found: dict[str, object] = {}
        self.save = lambda: None
        """Writes what was found so far; a phase that is stopped loses nothing."""

    def log(self, **figures: object) -> None:
        """Note figures and print them at once: what was measured survives a later failure."""
        self.found.update(figures)
        self.save()
        print(json.dumps(figures, default=str), file=sys.stderr, flush=True)

    def sync(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def timed(self, work, repeats: int | None = None) -> float:
        """Median seconds, after one run to warm up."""
        work()
        spent = []
        for _ in range(repeats or self.repeats):
            self.sync()
            started = time.perf_counter()
            work()
            self.sync()
            spent.append(time.perf_counter() - started)
        return sorted(spent)[len(spent) // 2]

    def sustained(self, work, least_s: float = 0.12) -> float:
        """Seconds of one small piece of work, repeated for at least `least_s` at a stretch.

        As in a long forward: a card that is busy clocks lower than one that was idle.
        """
        once = self.timed(work)
        count = 2 if self.toy else max(3, round(least_s / max(once, 1e-6)))
        return self.timed(lambda: [work() for _ in range(count)]) / count

    def alternating(self, rounds: int, **works) -> dict[str, float]:
        """Median seconds of several pieces of work that take turns, so that all meet the card in the same state."""
        for work in works.values():
            work()
        spent: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(rounds):
            for name, work in works.items():
                self.sync()
                started = time.perf_counter()
                work()
                self.sync()
                spent[name].append(time.perf_counter() - started)
        return {name: sorted(each)[len(each) // 2] for name, each in spent.items()}

    def peak_gib(self) -> float:
        return torch.cuda.max_memory_allocated() / GIB if self.device == "cuda" else 0.0

    def fresh(self) -> None:
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def cap(self, gib: float | None) -> None:
        """Let this process use so much of the card, as if it were a smaller one."""
        if self.device == "cuda":
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(1.0 if gib is None else gib * GIB / total)

    def session(self, profile: str = "exact"):
        return open_rehearsal(self.folder / f"base-{profile}", self.device, profile, toy=self.toy)

    def job(self, session, seed: int = 1):
        return example_job(session, toy=self.toy, seed=seed)

    def calls(self, model, *, cells: int = 1, guidance: bool = True) -> list[Call]:
        """Forwards of one step: 1024² with one 1024² reference, 285 text tokens (a toy: 64²)."""
        generator = torch.Generator().manual_seed(7)
        side, config = (4 if self.toy else 64), model.config

        def draw(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator).to(self.device, self.dtype)

        found = []
        for cell in range(cells):
            latents = draw(1, side * side, config.in_channels)
            references = (draw(1, side * side, config.in_channels),)
            shapes = [[(1, side, side), (1, side, side)]]
            for name, tokens in (("with", TEXT_TOKENS), ("without", TEXT_TOKENS - 12))[: 2 if guidance else 1]:
                text = draw(1, tokens, config.joint_attention_dim)
                found.append(Call((cell, name), latents, references, text, shapes, cell))
        return found

    def levels(self) -> torch.Tensor:
        return torch.linspace(1.0, 0.025, 40).to(self.device, self.dtype)

    def lora(self, name: str, *, modules=LINEARS, rank: int = RANK) -> AdapterUse:
        """A LoRA file of random factors on every block, about 1 % of the weights' size in effect."""
        from safetensors.torch import save_file

        path = self.folder / f"{name}.safetensors"
        if not path.is_file():
            shape = shape_of(str(next(self.folder.glob("base-*"))))
            tensors = {}
            generator = torch.Generator(self.device).manual_seed(zlib.crc32(name.encode()))
            for module, (rows, columns) in shape.linears.items():
                if module.startswith("transformer_blocks.") and module.split(".", 2)[2] in modules:
                    for key, size, scale in (("lora_A", (rank, columns), columns**-0.5),
                                             ("lora_B", (rows, rank), 0.02 * rank**-0.5)):
                        drawn = torch.randn(size, generator=generator, device=self.device) * scale
                        tensors[f"transformer.{module}.{key}.weight"] = drawn.to("cpu", torch.bfloat16)
            save_file(tensors, path)
        with path.open("rb") as file:
            return AdapterUse(name, str(path), hashlib.file_digest(file, "sha256").hexdigest())

    def row(self, *uses: AdapterUse) -> Candidate:
        return Candidate("+".join(use.name for use in uses) or "base", uses)

    def step(self, engine, calls, step: int = 10):
        with torch.inference_mode():
            return engine.forward(calls, step)

    def begin(self, engine) -> None:
        engine.invalidate()
        with torch.inference_mode():
            engine.begin(self.levels())


def checksum(store) -> str:
    """Fingerprint of every working bit, computed where the weights are: position-dependent sums over 64-bit words."""
    digest = hashlib.sha256()
    for name in store.names:
        bits = store.working(name).contiguous().flatten().view(torch.uint8)
        words = torch.nn.functional.pad(bits, (0, -bits.numel() % 8)).view(torch.int64)
        places = torch.arange(1, words.numel() + 1, device=words.device, dtype=torch.int64)
        sums = torch.stack([words.sum(), (words * (places * 2654435761 + 1)).sum()])
        digest.update(name.encode() + sums.cpu().numpy().tobytes())
    return digest.hexdigest()


def error(found, wanted) -> float:
    """Largest relative error of a step's forwards: ‖found − wanted‖ / ‖wanted‖."""
    return max(float((a.double() - b.double()).norm() / b.double().norm()) for a, b in zip(found, wanted, strict=True))


class UpcastStore:
    """A store's weights in fp32, block by block: the reference that half precision is measured against."""

    def __init__(self, store) -> None:
        self.store, self.blocks = store, store.blocks

    def visit(self, work) -> None:
        self.store.visit(lambda index, weights: work(index, _wide(weights)))

    def modulations(self, work) -> None:
        self.store.modulations(lambda index, image, text: work(index, _wide(image), _wide(text)))

    def facts(self):
        return {}


def _wide(value):
    if isinstance(value, torch.Tensor):
        return value.float()
    return type(value)(*(_wide(each) for each in value))


def reference(bench: Bench, model, store, calls: list[Call], step: int = 10) -> list[torch.Tensor]:
    """One step in fp32 from the same bf16 weights; TF32 stays off."""
    from copy import deepcopy
    from dataclasses import replace

    outside = {name: child for name, child in model.named_children() if name != "transformer_blocks"}
    wide = type("Wide", (), {})()
    for name, child in outside.items():
        setattr(wide, name, deepcopy(child).float() if name != "pos_embed" else child)
    wide.config, wide.zero_cond_t = model.config, getattr(model, "zero_cond_t", False)
    raised = [replace(call, latents=call.latents.float(), references=tuple(each.float() for each in call.references),
                      text=call.text.float()) for call in calls]
    engine = FastEngine(wide, UpcastStore(store), compiled=False)
    with torch.inference_mode():
        engine.begin(bench.levels().float())
        return engine.forward(raised, step)
