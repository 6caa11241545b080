"""The denoising loop: flow matching with true guidance, on packed latents.

Same arithmetic in the same order as the stock pipeline's loop. Noise comes from a generator on the CPU, so a seed
means the same picture's noise on every machine.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from whichlora.errors import RefusedError, UserError
from whichlora.families._qwen.encode import ImageLatents
from whichlora.families._qwen.geometry import PATCH_PX, pack
from whichlora.families._qwen.shortcuts import NONE, Shortcuts
from whichlora.families.base import Job
from whichlora.types import SamplerProfile

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from whichlora.families._qwen.calls import Call

MAX_REFERENCES = 3
"""Pictures that Qwen-Image-Edit-2509 was trained on."""


def build_scheduler(config: Mapping[str, Any], sampler: SamplerProfile) -> Any:
    """Make the base's scheduler with the sampler's settings in place of its own.

    Raises:
        UserError: The sampler names a setting that the scheduler does not have.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler  # pyright: ignore[reportPrivateImportUsage]

    known = set(inspect.signature(FlowMatchEulerDiscreteScheduler.__init__).parameters) - {"self"}
    unknown = sorted(set(sampler.scheduler) - known)
    if unknown:
        raise UserError(f"The sampler '{sampler.name}' sets '{unknown[0]}', which the scheduler does not have.",
                        fix=f"It knows: {', '.join(sorted(known))}.")
    own = {key: value for key, value in config.items() if key in known}
    return FlowMatchEulerDiscreteScheduler(**{**own, **sampler.scheduler})


def set_steps(scheduler: Any, sampler: SamplerProfile, tokens: int, device: str) -> Tensor:
    """Prepare a scheduler for a picture of `tokens` latent tokens; returns its timesteps.

    Raises:
        UserError: The number of steps cannot work with these settings.
    """
    import torch

    steps = sampler.num_inference_steps
    if steps < 1:
        raise UserError(f"The sampler '{sampler.name}' has {steps} steps.", fix="Use at least 1.")
    settings = scheduler.config
    base_tokens, max_tokens = settings.get("base_image_seq_len", 256), settings.get("max_image_seq_len", 4096)
    base_shift, max_shift = settings.get("base_shift", 0.5), settings.get("max_shift", 1.15)
    slope = (max_shift - base_shift) / (max_tokens - base_tokens)
    shift = tokens * slope + (base_shift - slope * base_tokens)
    with np.errstate(invalid="ignore", divide="ignore"):
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), device=device, mu=shift)
    if not bool(torch.isfinite(scheduler.sigmas).all()):
        raise UserError(
            f"The sampler '{sampler.name}' cannot make {steps} step(s) with shift_terminal "
            f"{settings.get('shift_terminal')}: its noise levels are undefined.",
            fix="Use more steps, or set shift_terminal to null in the sampler's scheduler settings.",
        )
    scheduler.set_begin_index(0)
    return scheduler.timesteps


def draw_noise(seed: int, height_px: int, width_px: int, channels: int, dtype: Any) -> Tensor:
    """Packed noise of a picture: 1 × tokens × (4 · channels), drawn on the CPU in the order of the stock pipeline."""
    import torch

    generator = torch.Generator("cpu").manual_seed(seed)
    shape = (1, 1, channels, 2 * (height_px // PATCH_PX), 2 * (width_px // PATCH_PX))
    return pack(torch.randn(shape, generator=generator, dtype=dtype)[:, 0])


def guided(with_prompt: Tensor, without: Tensor, scale: float) -> Tensor:
    """True guidance, rescaled token by token to the norm of the prediction that follows the prompt."""
    import torch

    combined = without + scale * (with_prompt - without)
    wanted = torch.norm(with_prompt, dim=-1, keepdim=True)
    return combined * (wanted / torch.norm(combined, dim=-1, keepdim=True))


def denoise(
    parts: Any, engine: Any, jobs: Sequence[Job], sampler: SamplerProfile,
    after_step: Callable[[], None] = lambda: None, shortcuts: Shortcuts = NONE,
) -> list[ImageLatents]:
    """Run the sampler on one picture or several of the same size, step by step together.

    Args:
        parts: The loaded base, with the wanted adapters already in its weights.
        engine: Computes the forwards (see `engine.py`).
        jobs: Pictures; all outputs have the same number of tokens.
        sampler: Steps, guidance and scheduler settings.
        after_step: Called after every step, to watch memory.
        shortcuts: Near-lossless speed-ups of the schedule.

    Raises:
        UserError: Too many pictures, or sampler settings that cannot work.
        RefusedError: A result is not finite.
    """
    import torch

    for job in jobs:
        if not 1 <= len(job.images) <= MAX_REFERENCES:
            raise UserError(f"An edit needs 1 to {MAX_REFERENCES} pictures; it has {len(job.images)}.",
                            fix="Remove references from the case.")
    device, dtype = parts.device, parts.dtype
    channels = parts.transformer.config.in_channels // 4
    latents = [
        draw_noise(job.seed, job.images[0].height_px, job.images[0].width_px, channels, dtype).to(device)
        for job in jobs
    ]
    count = latents[0].shape[1]
    if any(each.shape[1] != count for each in latents):
        raise ValueError("pictures made together must have the same number of tokens")
    schedulers = [build_scheduler(parts.scheduler_config, sampler) for _ in jobs]
    timesteps = set_steps(schedulers[0], sampler, count, device)
    for scheduler in schedulers[1:]:
        set_steps(scheduler, sampler, count, device)
    inputs = [_Inputs(number, job, sampler, parts) for number, job in enumerate(jobs)]
    steps = len(timesteps)
    with torch.inference_mode():
        engine.begin(timesteps.to(dtype) / 1000)
        for step, timestep in enumerate(timesteps):
            guiding = shortcuts.guided(step, steps)
            calls = [call for each, noisy in zip(inputs, latents, strict=True) for call in each.calls(noisy, guiding)]
            answers = iter(engine.forward(calls, step))
            for number, each in enumerate(inputs):
                velocity = next(answers)
                if guiding and each.against is not None:
                    velocity = guided(velocity, next(answers), sampler.true_cfg_scale)
                latents[number] = schedulers[number].step(velocity, timestep, latents[number], return_dict=False)[0]
            after_step()
        for job, noisy in zip(jobs, latents, strict=True):
            if not bool(torch.isfinite(noisy).all()):
                raise RefusedError(f"The picture of seed {job.seed} is not finite (NaN or infinite latents).",
                                   fix="Try another dtype; half precision overflows in some layers.")
    return [
        ImageLatents(noisy.cpu(), job.images[0].height_px, job.images[0].width_px)
        for job, noisy in zip(jobs, latents, strict=True)
    ]


class _Inputs:
    """What a picture's forwards have in common."""

    def __init__(self, number: int, job: Job, sampler: SamplerProfile, parts: Any) -> None:
        images = job.images
        height, width = images[0].height_px, images[0].width_px
        self._number = number
        self._references = tuple(image.tokens.to(parts.device, parts.dtype) for image in images)
        self._shapes = [[(1, h // PATCH_PX, w // PATCH_PX) for h, w in
                         [(height, width), *((image.height_px, image.width_px) for image in images)]]]
        self._embeds = job.prompt.embeds.to(parts.device, parts.dtype)
        self.against = None
        if job.negative is not None and sampler.true_cfg_scale > 1:
            self.against = job.negative.embeds.to(parts.device, parts.dtype)

    def calls(self, noisy: Tensor, guiding: bool) -> list[Call]:
        """The forwards of a step: with the instruction, and without where there is guidance."""
        from whichlora.families._qwen.calls import Call

        found = [Call((self._number, "with"), noisy, self._references, self._embeds, self._shapes, self._number)]
        if guiding and self.against is not None:
            found.append(Call((self._number, "without"), noisy, self._references, self.against, self._shapes,
                              self._number))
        return found
