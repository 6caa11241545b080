"""What the FLUX sessions share: the loop, switching, the load gate's questions. Encodings are each one's own.

The parts are those of diffusers' own pipeline, and its own small functions do the packing; the loop is ours, so that
inputs are encoded once and LoRAs are switched exactly.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from whichlora.errors import MachineError, RefusedError, UserError
from whichlora.families._flux.places import FluxPlace, linear_shapes
from whichlora.families._flux.weights import PlainSwitcher
from whichlora.families._qwen.memory import PeakMemory
from whichlora.families.base import Picture, SwitchReport
from whichlora.types import AdapterUse, BaseModel, Candidate, SamplerProfile

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_LEVELS = (0.9, 0.4)


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Packed latents of one picture and where its tokens stand, kept in host memory."""

    tokens: Tensor
    """1 × tokens × channels."""
    ids: Tensor
    height_px: int
    width_px: int


class FluxSession:
    """See `families/base.py` for the contract; subclasses bring what differs between generations of FLUX."""

    max_references = 1
    """Pictures that an edit may have."""

    def __init__(self, base: BaseModel, pipe: Any, place: FluxPlace, device: str, versions: Mapping[str, str]) -> None:
        self.base = base
        self.counts = {"prompt": 0, "image": 0}
        self._pipe = pipe
        self._device = device
        self._versions = dict(versions)
        self._memory = PeakMemory(device)
        self._released = False
        self._switcher = PlainSwitcher(pipe.transformer, linear_shapes(str(place.folder)))

    # ------------------------------------------------------------------ what a generation brings

    def _encode_text(self, prompt: str) -> dict[str, Tensor]:
        raise NotImplementedError

    def _encode_picture(self, picture: Picture, sampler: SamplerProfile) -> Tokens:
        raise NotImplementedError

    def _fit(self, picture: Picture, sampler: SamplerProfile) -> tuple[int, int]:
        raise NotImplementedError

    def _noise(self, size: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _velocity(self, tokens: Tensor, ids: Tensor, text: Mapping[str, Tensor], level: Tensor) -> Tensor:
        raise NotImplementedError

    def _shift(self, tokens: int, steps: int) -> float:
        raise NotImplementedError

    def _pixels(self, latents: Tokens) -> Tensor:
        raise NotImplementedError

    def _fixed_text(self, generator: Any) -> dict[str, Tensor]:
        raise NotImplementedError

    # ------------------------------------------------------------------ encode

    def libraries(self) -> Mapping[str, str]:
        """Versions of torch, diffusers and transformers."""
        return dict(self._versions)

    def encode_prompt(self, prompt: str, pictures: list[Picture], sampler: SamplerProfile) -> dict[str, Tensor]:
        """Encode an instruction; FLUX's text encoders see no pictures."""
        import torch

        if self._released:
            raise MachineError("The text encoder was released already; encode every instruction before denoising.")
        self.counts["prompt"] += 1
        with torch.inference_mode():
            encoded = self._encode_text(prompt)
        self._memory.note()
        return {name: value.cpu() for name, value in encoded.items()}

    def encode_image(self, picture: Picture, sampler: SamplerProfile) -> Tokens:
        """Encode a photograph at about the sampler's reference area."""
        import torch

        self.counts["image"] += 1
        with torch.inference_mode():
            encoded = self._encode_picture(picture, sampler)
        self._memory.note()
        return encoded

    def release_encoders(self) -> None:
        """Free the text encoders; the VAE stays, because decoding needs it."""
        self._released = True
        for name in ("text_encoder", "text_encoder_2"):
            if getattr(self._pipe, name, None) is not None:
                setattr(self._pipe, name, None)

    # ------------------------------------------------------------------ switch and denoise

    def switch(self, candidate: Candidate) -> SwitchReport:
        """Make exactly this candidate's adapters (and its sampler's) active, from pristine weights."""
        started = time.perf_counter()
        if candidate.combine != "stack":
            raise RefusedError(f"'{candidate.name}' merges LoRAs by '{candidate.combine}', which this family cannot.",
                               fix="Use 'combine: stack'.")
        found = self._switcher.activate((*candidate.adapters, *candidate.sampler.adapters))
        self._memory.note()
        return SwitchReport(
            candidate.name, int(found["in_files"]), int(found["changed"]), time.perf_counter() - started,
            {"delta_rms": found["delta_rms"], "zero_modules": int(found["zero"])},
        )

    def denoise(
        self, prompt: dict[str, Tensor], negative: dict[str, Tensor] | None, images: list[Tokens],
        sampler: SamplerProfile, seed: int,
    ) -> Tokens:
        """Run the sampler; the output has the size of the first picture.

        Raises:
            UserError: Too many pictures for this family, or sampler settings that it does not have.
            RefusedError: The result is not finite.
        """
        import torch

        if not 1 <= len(images) <= self.max_references:
            raise UserError(f"An edit of this family takes 1 to {self.max_references} pictures; it has {len(images)}.",
                            fix="Remove references from the case.")
        dtype, device = self._pipe.transformer.dtype, self._device
        latents, ids = self._noise((images[0].height_px, images[0].width_px), seed)
        count = latents.shape[1]
        scheduler = self._scheduler(sampler)
        steps = sampler.num_inference_steps
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), device=device, mu=self._shift(count, steps))
        scheduler.set_begin_index(0)
        pictures = [self._placed(image, number) for number, image in enumerate(images)]
        all_ids = torch.cat([ids, *(each.ids.to(device) for each in pictures)], dim=ids.ndim - 2)
        references = [each.tokens.to(device, dtype) for each in pictures]
        texts = [self._on_device(each) for each in (prompt, negative)
                 if each is not None and (each is prompt or sampler.true_cfg_scale > 1)]
        with torch.inference_mode():
            for timestep in scheduler.timesteps:
                tokens = torch.cat([latents, *references], dim=1).to(dtype)
                level = timestep.expand(1).to(latents.dtype) / 1000
                found = [self._velocity(tokens, all_ids, text, level)[:, :count] for text in texts]
                velocity = found[0] if len(found) == 1 else found[1] + sampler.true_cfg_scale * (found[0] - found[1])
                latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
                self._memory.note()
            if not bool(torch.isfinite(latents).all()):
                raise RefusedError(f"The picture of seed {seed} is not finite (NaN or infinite latents).")
        return Tokens(latents.cpu(), ids.cpu(), images[0].height_px, images[0].width_px)

    def decode(self, latents: Tokens) -> Picture:
        """Turn latents into a picture."""
        import torch

        with torch.inference_mode():
            pixels = self._pixels(replace(latents, tokens=latents.tokens.to(self._device)))
            image = self._pipe.image_processor.postprocess(pixels, output_type="pil")[0]
        self._memory.note()
        return np.asarray(image.convert("RGB"), dtype=np.uint8)

    def round_trip(self, picture: Picture, sampler: SamplerProfile) -> Picture:
        """Encode and decode a picture without any edit; counts as no encoding of the run."""
        import torch

        with torch.inference_mode():
            return self.decode(self._encode_picture(picture, sampler))

    def output_size(self, picture: Picture, sampler: SamplerProfile) -> tuple[int, int]:
        """Height and width of the output for a source of this shape."""
        return self._fit(picture, sampler)

    def _placed(self, image: Tokens, number: int) -> Tokens:
        """A picture's tokens as the picture of that number; the first ones need no change."""
        return image

    def _scheduler(self, sampler: SamplerProfile) -> Any:
        kind = type(self._pipe.scheduler)
        unknown = sorted(set(sampler.scheduler) - set(inspect.signature(kind.__init__).parameters))
        if unknown:
            raise UserError(f"The sampler '{sampler.name}' sets '{unknown[0]}', which the scheduler does not have.")
        if sampler.num_inference_steps < 1:
            raise UserError(f"The sampler '{sampler.name}' has {sampler.num_inference_steps} steps.",
                            fix="Use at least 1.")
        return kind.from_config(self._pipe.scheduler.config, **sampler.scheduler)

    def _on_device(self, text: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(self._device) for name, value in text.items()}

    # ------------------------------------------------------------------ what the load gate asks

    def pristine(self, module: str) -> NDArray[np.float32]:
        """A weight as the base has it, in fp32."""
        return self._switcher.pristine(module)

    def weights(self, module: str) -> NDArray[np.float32]:
        """A weight as it works now, in fp32."""
        return self._switcher.working(module)

    def tensors(self, module: str) -> tuple[Tensor, Tensor]:
        """`pristine` and `weights` of a module as tensors on the device, in the working format. Only to be read."""
        return self._switcher.tensors(module)

    def touched(self) -> tuple[str, ...]:
        """Modules that differ from the base by the active candidate."""
        return self._switcher.touched()

    def weight_dtype(self) -> str:
        """'float32', 'bfloat16' or 'float16'."""
        return str(self._pipe.transformer.dtype).removeprefix("torch.")

    def load_adapter(self, use: AdapterUse) -> AbstractContextManager[Any]:
        """The changes of an adapter's file."""
        return self._switcher.load(use)

    def probe(self, candidate: Candidate) -> float:
        """Largest relative change of one fixed forward by the candidate's own adapters (0.0: inert)."""
        from whichlora.families._qwen.probe import largest_change

        self.switch(replace(candidate, adapters=()))
        before = self._fixed_forward()
        self.switch(candidate)
        return largest_change(before, self._fixed_forward())

    def noise_floor(self) -> float:
        """Largest relative change between two forwards of the same weights."""
        from whichlora.families._qwen.probe import largest_change

        return largest_change(self._fixed_forward(), self._fixed_forward())

    def _fixed_forward(self) -> Tensor:
        import torch

        generator = torch.Generator("cpu").manual_seed(20509)
        text = self._on_device(self._fixed_text(generator))
        with torch.inference_mode():
            tokens, ids = self._noise((64, 64), 20509)
            found = [
                self._velocity(tokens.to(self._pipe.transformer.dtype), ids, text,
                               torch.full((1,), level, device=self._device, dtype=tokens.dtype))
                for level in _LEVELS
            ]
        return torch.cat(found).float().cpu()

    def peak_memory_bytes(self) -> int:
        """Peak memory since `reset_peak_memory`."""
        return self._memory.peak_bytes()

    def reset_peak_memory(self) -> None:
        """Start a new peak."""
        self._memory.reset()
