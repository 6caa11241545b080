"""A rehearsal on the user's own device: the model at its true size, of random weights, making a few steps.

Says what a step and a picture cost, what memory they take, and which memory profile works, before any download.
Pictures mean nothing and are thrown away. The text encoder is not rehearsed: it runs once for every instruction.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from whichlora.errors import MachineError
from whichlora.families._qwen import profiles
from whichlora.families._qwen.encode import PromptEncoding
from whichlora.families._qwen.loading import Parts
from whichlora.families._qwen.places import Places
from whichlora.families._qwen.session import QwenSession
from whichlora.families._qwen.true_size import TEXT_TOKENS, sampler_of, write_base
from whichlora.families._qwen.weights import cap_memory
from whichlora.types import BaseModel

if TYPE_CHECKING:
    from whichlora.families._qwen.denoise import Job

_ORDER = ("exact", "fp8", "nf4")
"""Profiles in the order in which they are tried: exact first."""
_STEPS = 4


@dataclass(frozen=True)
class Rehearsal:
    """What was measured."""

    profile: str
    """Memory profile that worked: 'bf16', 'bf16-streamed', 'fp8' or 'nf4'."""
    device: str
    """Name of the device."""
    toy: bool
    """Whether the toy stood in for the true size; its figures say nothing of the 20 B model."""
    seconds_per_step: float
    """One step with guidance (two forwards), after warming up."""
    seconds_around: float
    """Everything of a picture that is no step: photograph in, picture out."""
    seconds_per_image: float
    """A picture of the model card's 40 steps."""
    peak_bytes: int
    """Largest device memory while denoising and decoding (resident memory on a CPU)."""
    warm_up_s: float
    """Once a run: loading, compiling, the first steps."""
    facts: dict[str, Any] = field(default_factory=dict)
    """How the model was held and computed."""
    failed: tuple[str, ...] = ()
    """Profiles that did not work, each with its reason."""


def rehearse(device: str, *, toy: bool = False, profile: str | None = None) -> Rehearsal:
    """Find the first profile that works and measure it.

    Args:
        device: 'cuda', 'cpu' or 'mps'.
        toy: Use the toy size (for tests; the true size needs 41 GB of memory of some kind).
        profile: 'exact', 'fp8' or 'nf4' to measure that one only.

    Raises:
        MachineError: No profile works here; the message says why.
    """
    failed: list[str] = []
    for name in _ORDER if profile is None else (profile,):
        try:
            found = _measure(device, name, toy=toy)
        except (MachineError, torch.OutOfMemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and device == "cpu" and not isinstance(error, torch.OutOfMemoryError):
                raise
            failed.append(f"{name}: {str(error).splitlines()[0][:200]}")
            continue
        return Rehearsal(**{**found, "failed": tuple(failed)})
    raise MachineError("No memory profile works on this device: " + "; ".join(failed),
                       fix="Use a GGUF file of the transformer, or a larger card.")


def open_rehearsal(folder: Path, device: str, profile: str, *, toy: bool) -> QwenSession:
    """A session on a base of random weights; settings of the environment apply."""
    options = {} if profile == "exact" else {"profile": profile}
    dtype = torch.float32 if device == "cpu" and profile == "exact" else torch.bfloat16
    write_base(folder, toy=toy)
    places = Places("random", folder, None, {}, (), random_weights=True)
    base = BaseModel("random", "qwen_image_edit", str(folder), "random", options)
    settings = profiles.from_environment(options)
    if device.startswith("cuda") and settings.vram_bytes is not None:
        cap_memory(device, settings.vram_bytes)
    return QwenSession(base, Parts(places, device, dtype), {}, settings)


def example_job(session: Any, *, toy: bool, seed: int = 1, references: int = 1) -> Job:
    """A picture to be made: random photographs, and random embeddings of the usual length in place of instructions."""
    from whichlora.families._qwen.denoise import Job

    sampler = sampler_of(toy=toy)
    side = 64 if toy else 1024
    pictures = [np.random.default_rng(n).integers(0, 256, (side, side, 3), dtype=np.uint8) for n in range(references)]
    images = [session.encode_image(picture, sampler) for picture in pictures]
    width = session._parts.transformer.config.joint_attention_dim
    generator = torch.Generator().manual_seed(seed)
    prompt, negative = (
        PromptEncoding(torch.randn(1, tokens, width, generator=generator)) for tokens in (TEXT_TOKENS, TEXT_TOKENS - 12)
    )
    return Job(prompt, negative, images, seed)


def _measure(device: str, profile: str, *, toy: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        session = open_rehearsal(Path(folder), device, profile, toy=toy)
        job = example_job(session, toy=toy)
        steps, repeats = (1, 1) if toy else (_STEPS, 2)
        few, more = (sampler_of(toy=toy, steps=count) for count in (2, 2 + steps))
        _finish(session, job, few)
        warm = time.perf_counter() - started
        session.reset_peak_memory()
        short = min(_seconds(session, job, few) for _ in range(repeats))
        long = min(_seconds(session, job, more) for _ in range(repeats))
        step = max(0.0, (long - short) / steps)
        started = time.perf_counter()
        again = example_job(session, toy=toy)
        around = max(0.0, short - 2 * step) + (time.perf_counter() - started)
        facts = session.engine_facts()
        del again
    return {
        "profile": facts["profile"], "device": device_name(device), "toy": toy, "seconds_per_step": step,
        "seconds_around": around, "seconds_per_image": 40 * step + around, "peak_bytes": session.peak_memory_bytes(),
        "warm_up_s": warm, "facts": facts,
    }


def _seconds(session: Any, job: Job, sampler: Any) -> float:
    started = time.perf_counter()
    _finish(session, job, sampler)
    return time.perf_counter() - started


def _finish(session: Any, job: Job, sampler: Any) -> None:
    """Denoise and decode; the picture in host memory is what ends the wait for the device."""
    session.decode(session.denoise_together([job], sampler)[0])


def device_name(device: str) -> str:
    """Name of a device, as its driver gives it."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return device
