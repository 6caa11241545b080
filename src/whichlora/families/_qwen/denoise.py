"""The denoising loop: flow matching with true guidance, on packed latents.

Same arithmetic in the same order as the stock pipeline's loop. Noise comes from a generator on the CPU, so a seed
means the same picture's noise on every machine.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from whichlora.errors import RefusedError, UserError
from whichlora.families._qwen.encode import ImageLatents, PromptEncoding
from whichlora.families._qwen.geometry import PATCH_PX, pack
from whichlora.types import SamplerProfile

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

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
    parts: Any, prompt: PromptEncoding, negative: PromptEncoding | None, images: list[ImageLatents],
    sampler: SamplerProfile, seed: int, after_step: Callable[[], None] = lambda: None,
) -> ImageLatents:
    """Run the sampler; the output has the size of the first image, which is the photograph being edited.

    Args:
        parts: The loaded base, with the wanted adapters already in its weights.
        prompt: The encoded instruction.
        negative: The encoded negative prompt; None (or a guidance of at most 1) means no second forward.
        images: The photograph being edited, then up to two further references.
        sampler: Steps, guidance and scheduler settings.
        seed: Seed of the noise.
        after_step: Called after every step, to watch memory.

    Raises:
        UserError: Too many pictures, or sampler settings that cannot work.
        RefusedError: The result is not finite.
    """
    import torch

    if not 1 <= len(images) <= MAX_REFERENCES:
        raise UserError(f"An edit needs 1 to {MAX_REFERENCES} pictures; it has {len(images)}.",
                        fix="Remove references from the case.")
    height, width = images[0].height_px, images[0].width_px
    model, device, dtype = parts.transformer, parts.device, parts.dtype
    latents = draw_noise(seed, height, width, model.config.in_channels // 4, dtype).to(device)
    count = latents.shape[1]
    scheduler = build_scheduler(parts.scheduler_config, sampler)
    timesteps = set_steps(scheduler, sampler, count, device)
    references = [image.tokens.to(device, dtype) for image in images]
    shapes = [[(1, h // PATCH_PX, w // PATCH_PX) for h, w in
               [(height, width), *((image.height_px, image.width_px) for image in images)]]]
    embeds = prompt.embeds.to(device, dtype)
    against = negative.embeds.to(device, dtype) if negative is not None and sampler.true_cfg_scale > 1 else None
    with torch.inference_mode():
        for timestep in timesteps:
            tokens = torch.cat([latents, *references], dim=1)
            level = timestep.expand(1).to(dtype) / 1000

            def forward(text: Tensor, tokens: Tensor = tokens, level: Tensor = level) -> Tensor:
                return model(
                    hidden_states=tokens, timestep=level, encoder_hidden_states=text, encoder_hidden_states_mask=None,
                    img_shapes=shapes, guidance=None, return_dict=False,
                )[0][:, :count]

            velocity = forward(embeds)
            if against is not None:
                velocity = guided(velocity, forward(against), sampler.true_cfg_scale)
            latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
            after_step()
        if not bool(torch.isfinite(latents).all()):
            raise RefusedError(f"The picture of seed {seed} is not finite (NaN or infinite latents).",
                               fix="Try another dtype; half precision overflows in some layers.")
    return ImageLatents(latents.cpu(), height, width)
