"""The family of FLUX.2 klein: up to three pictures and an instruction, guidance by a second forward unless distilled.

Does what `Flux2KleinPipeline` of diffusers does, with its own parts. FLUX.2 dev (`Flux2Pipeline`) is another pipeline
with another text encoder and is refused. Quantised and streamed weights are not supported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whichlora.families._flux import family
from whichlora.families._flux.session import FluxSession, Tokens
from whichlora.families._qwen.places import read_json
from whichlora.families.base import Picture
from whichlora.types import BaseModel, SamplerProfile

if TYPE_CHECKING:
    from torch import Tensor

PIPELINE_CLASS = "Flux2KleinPipeline"
_OFFSET = 10
"""Distance in time between the pictures' positions, as in diffusers' `_prepare_image_ids`."""


class Flux2Klein:
    """See `families/base.py` for the contract."""

    name = "flux2"
    library_names = family.LIBRARIES

    def identify(self, location: str, options: Mapping[str, Any]) -> BaseModel:
        """Recognise a base on disk; options: 'dtype', 'max_sequence_length', 'text_layers'."""
        return family.identify(self.name, PIPELINE_CLASS, location, options,
                               {"max_sequence_length": 512, "text_layers": [9, 18, 27]})

    def default_sampler(self, base: BaseModel) -> SamplerProfile:
        """4 steps without guidance for a distilled base, else 50 steps at guidance 4, as diffusers' defaults."""
        index = read_json(Path(base.location) / "model_index.json", "the list of its parts")
        if index.get("is_distilled"):
            return SamplerProfile(num_inference_steps=4, true_cfg_scale=1.0, negative_prompt="")
        return SamplerProfile(num_inference_steps=50, true_cfg_scale=4.0, negative_prompt="")

    def check_file(self, base: BaseModel, path: Path) -> None:
        """Step 1 of the load gate."""
        family.check_file(base, path)

    def load(self, base: BaseModel, device: str) -> Any:
        """Open a session."""
        return family.load(base, device, PIPELINE_CLASS, KleinSession)


class KleinSession(FluxSession):
    """A loaded FLUX.2 klein."""

    max_references = 3

    def _encode_text(self, prompt: str) -> dict[str, Tensor]:
        embeds, ids = self._pipe.encode_prompt(
            prompt=prompt, device=self._device, max_sequence_length=int(self.base.options["max_sequence_length"]),
            text_encoder_out_layers=tuple(self.base.options["text_layers"]),
        )
        return {"embeds": embeds, "ids": ids}

    def _fit(self, picture: Picture, sampler: SamplerProfile) -> tuple[int, int]:
        """At most the area, in multiples of its patch: FLUX.2 does not enlarge."""
        height, width = self._shrunk(picture, sampler.reference_area_px).shape[:2]
        step = self._pipe.vae_scale_factor * 2
        return max(step, height // step * step), max(step, width // step * step)

    def _shrunk(self, picture: Picture, area_px: int) -> Picture:
        import numpy as np
        from PIL import Image

        if picture.shape[0] * picture.shape[1] <= area_px:
            return picture
        return np.asarray(self._pipe.image_processor._resize_to_target_area(Image.fromarray(picture), area_px))

    def _encode_picture(self, picture: Picture, sampler: SamplerProfile) -> Tokens:
        from PIL import Image

        pipe, size = self._pipe, self._fit(picture, sampler)
        shrunk = self._shrunk(picture, sampler.reference_area_px)
        pixels = pipe.image_processor.preprocess(Image.fromarray(shrunk), height=size[0], width=size[1],
                                                 resize_mode="crop")
        latents = pipe._encode_vae_image(pixels.to(self._device, pipe.vae.dtype), None)
        return Tokens(pipe._pack_latents(latents).cpu(), pipe._prepare_image_ids([latents]), *size)

    def _placed(self, image: Tokens, number: int) -> Tokens:
        ids = image.ids.clone()
        ids[..., 0] = _OFFSET + _OFFSET * number
        return replace(image, ids=ids)

    def _noise(self, size: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
        import torch

        pipe = self._pipe
        return pipe.prepare_latents(
            1, pipe.transformer.config.in_channels // 4, *size, pipe.transformer.dtype, torch.device(self._device),
            torch.Generator("cpu").manual_seed(seed),
        )

    def _velocity(self, tokens: Tensor, ids: Tensor, text: Mapping[str, Tensor], level: Tensor) -> Tensor:
        return self._pipe.transformer(
            hidden_states=tokens, timestep=level, guidance=None, encoder_hidden_states=text["embeds"],
            txt_ids=text["ids"], img_ids=ids, return_dict=False,
        )[0]

    def _shift(self, tokens: int, steps: int) -> float:
        from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

        return compute_empirical_mu(image_seq_len=tokens, num_steps=steps)

    def _pixels(self, latents: Tokens) -> Tensor:
        import torch

        pipe = self._pipe
        step = pipe.vae_scale_factor * 2
        ids = latents.ids.to(self._device)
        unpacked = pipe._unpack_latents_with_ids(latents.tokens, ids, latents.height_px // step,
                                                 latents.width_px // step)
        norm = pipe.vae.bn
        std = torch.sqrt(norm.running_var.view(1, -1, 1, 1) + pipe.vae.config.batch_norm_eps).to(unpacked)
        unpacked = unpacked * std + norm.running_mean.view(1, -1, 1, 1).to(unpacked)
        return pipe.vae.decode(pipe._unpatchify_latents(unpacked), return_dict=False)[0]

    def _fixed_text(self, generator: Any) -> dict[str, Tensor]:
        import torch

        model = self._pipe.transformer
        embeds = torch.randn(1, 24, model.config.joint_attention_dim, generator=generator).to(model.dtype)
        return {"embeds": embeds, "ids": self._pipe._prepare_text_ids(embeds)}


PLUGIN = Flux2Klein()
