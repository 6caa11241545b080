"""The family of FLUX.1 Kontext: one picture, an instruction, a distilled guidance that is an input of the model.

Does what `FluxKontextPipeline` of diffusers does, with its own parts. LoRAs are switched exactly (see `_flux/`).
Quantised and streamed weights are not supported.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichlora.families._flux import family
from whichlora.families._flux.session import FluxSession, Tokens
from whichlora.families.base import Picture
from whichlora.types import BaseModel, SamplerProfile

if TYPE_CHECKING:
    from torch import Tensor

PIPELINE_CLASS = "FluxKontextPipeline"
AREA_PX = 1024 * 1024
OPTIONS = {"guidance_scale": 2.5, "max_sequence_length": 512}
"""The model card's guidance; both change pictures and stay in the base's options."""


class FluxKontext:
    """See `families/base.py` for the contract."""

    name = "flux_kontext"
    library_names = family.LIBRARIES

    def identify(self, location: str, options: Mapping[str, Any]) -> BaseModel:
        """Recognise a base on disk; options: 'dtype', 'guidance_scale', 'max_sequence_length'."""
        return family.identify(self.name, PIPELINE_CLASS, location, options, OPTIONS)

    def default_sampler(self, base: BaseModel) -> SamplerProfile:
        """28 steps without a second forward, as the pipeline's own defaults."""
        return SamplerProfile(num_inference_steps=28, true_cfg_scale=1.0)

    def check_file(self, base: BaseModel, path: Path) -> None:
        """Step 1 of the load gate."""
        family.check_file(base, path)

    def load(self, base: BaseModel, device: str) -> Any:
        """Open a session."""
        return family.load(base, device, PIPELINE_CLASS, KontextSession)


class KontextSession(FluxSession):
    """A loaded FLUX.1 Kontext."""

    def _encode_text(self, prompt: str) -> dict[str, Tensor]:
        length = int(self.base.options["max_sequence_length"])
        embeds, pooled, ids = self._pipe.encode_prompt(prompt=prompt, prompt_2=None, device=self._device,
                                                       max_sequence_length=length)
        return {"embeds": embeds, "pooled": pooled, "ids": ids}

    def _fit(self, picture: Picture, sampler: SamplerProfile) -> tuple[int, int]:
        """One of the sizes that Kontext was trained on at 1024², else about the area in multiples of its patch."""
        from diffusers.pipelines.flux.pipeline_flux_kontext import PREFERRED_KONTEXT_RESOLUTIONS

        height, width = picture.shape[:2]
        step = self._pipe.vae_scale_factor * 2
        if sampler.reference_area_px == AREA_PX:
            _, width, height = min((abs(width / height - w / h), w, h) for w, h in PREFERRED_KONTEXT_RESOLUTIONS)
        else:
            scale = (sampler.reference_area_px / (height * width)) ** 0.5
            height, width = round(height * scale), round(width * scale)
        return max(step, height // step * step), max(step, width // step * step)

    def _encode_picture(self, picture: Picture, sampler: SamplerProfile) -> Tokens:
        from PIL import Image

        pipe, size = self._pipe, self._fit(picture, sampler)
        image = pipe.image_processor.resize(Image.fromarray(picture), *size)
        pixels = pipe.image_processor.preprocess(image, *size).to(self._device, pipe.vae.dtype)
        latents = pipe._encode_vae_image(pixels, None)
        rows, columns = latents.shape[2:]
        tokens = pipe._pack_latents(latents, 1, latents.shape[1], rows, columns)
        ids = pipe._prepare_latent_image_ids(1, rows // 2, columns // 2, self._device, tokens.dtype)
        ids[..., 0] = 1
        return Tokens(tokens.cpu(), ids.cpu(), *size)

    def _noise(self, size: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
        import torch

        pipe = self._pipe
        latents, _, ids, _ = pipe.prepare_latents(
            None, 1, pipe.transformer.config.in_channels // 4, *size, pipe.transformer.dtype,
            torch.device(self._device), torch.Generator("cpu").manual_seed(seed),
        )
        return latents, ids

    def _velocity(self, tokens: Tensor, ids: Tensor, text: Mapping[str, Tensor], level: Tensor) -> Tensor:
        import torch

        model = self._pipe.transformer
        guidance = None
        if model.config.guidance_embeds:
            guidance = torch.full([1], float(self.base.options["guidance_scale"]), device=tokens.device)
        return model(
            hidden_states=tokens, timestep=level, guidance=guidance, pooled_projections=text["pooled"],
            encoder_hidden_states=text["embeds"], txt_ids=text["ids"], img_ids=ids, return_dict=False,
        )[0]

    def _shift(self, tokens: int, steps: int) -> float:
        from diffusers.pipelines.flux.pipeline_flux_kontext import calculate_shift

        config = self._pipe.scheduler.config
        return calculate_shift(
            tokens, config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096),
            config.get("base_shift", 0.5), config.get("max_shift", 1.15),
        )

    def _pixels(self, latents: Tokens) -> Tensor:
        pipe = self._pipe
        unpacked = pipe._unpack_latents(latents.tokens, latents.height_px, latents.width_px, pipe.vae_scale_factor)
        unpacked = (unpacked / pipe.vae.config.scaling_factor) + pipe.vae.config.shift_factor
        return pipe.vae.decode(unpacked, return_dict=False)[0]

    def _fixed_text(self, generator: Any) -> dict[str, Tensor]:
        import torch

        config, dtype = self._pipe.transformer.config, self._pipe.transformer.dtype
        return {
            "embeds": torch.randn(1, 24, config.joint_attention_dim, generator=generator).to(dtype),
            "pooled": torch.randn(1, config.pooled_projection_dim, generator=generator).to(dtype),
            "ids": torch.zeros(24, 3, dtype=dtype),
        }


PLUGIN = FluxKontext()
