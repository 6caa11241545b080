"""A loaded Qwen-Image-Edit base: encode, switch, denoise, decode, and what the load gate asks of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from whichlora.errors import MachineError, RefusedError, UserError
from whichlora.families._qwen import adapters, denoise, encode, probe
from whichlora.families._qwen.geometry import fit_area
from whichlora.families._qwen.memory import PeakMemory
from whichlora.families._qwen.one_frame import use_one_frame_path
from whichlora.families.base import Picture, SwitchReport
from whichlora.types import AdapterUse, BaseModel, Candidate, SamplerProfile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from whichlora.families._qwen.loading import Parts


class QwenSession:
    """See `families/base.py` for the contract; `pristine`, `weights` and `noise_floor` serve the load gate."""

    def __init__(self, base: BaseModel, parts: Parts, versions: Mapping[str, str]) -> None:
        self.base = base
        self.counts = {"prompt": 0, "image": 0}
        """Encodings made so far; a run makes as many as there are distinct inputs."""
        self._parts = parts
        self._versions = dict(versions)
        self._memory = PeakMemory(parts.device)
        self._released = False
        self._switcher: adapters.Switcher | None = None
        self._vae_ready = False

    def libraries(self) -> Mapping[str, str]:
        """Versions of torch, diffusers and transformers."""
        return dict(self._versions)

    # ------------------------------------------------------------------ encode

    def encode_prompt(
        self, prompt: str, pictures: list[Picture], sampler: SamplerProfile
    ) -> encode.PromptEncoding:
        """Encode an instruction with its pictures, with true positions unless the base's options say 'stock'."""
        if self._released:
            raise MachineError("The text encoder was released already; encode every instruction before denoising.")
        if self.counts["prompt"] == 0:
            encode.check_tokenizer(self._parts.processor.tokenizer)
        self.counts["prompt"] += 1
        positions = self.base.options.get("text_positions", "true")
        embeds = encode.encode_prompt(self._parts, prompt, pictures, sampler.condition_area_px, positions)
        self._memory.note()
        return encode.PromptEncoding(embeds.cpu())

    def encode_image(self, picture: Picture, sampler: SamplerProfile) -> encode.ImageLatents:
        """Encode a photograph at the sampler's reference area."""
        self.counts["image"] += 1
        self._prepare_vae()
        latents = encode.encode_image(self._parts, picture, sampler.reference_area_px)
        self._memory.note()
        return latents

    def release_encoders(self) -> None:
        """Free text encoder and processor."""
        self._released = True
        self._parts.release_encoders()

    # ------------------------------------------------------------------ switch and denoise

    def switch(self, candidate: Candidate) -> SwitchReport:
        """Make exactly this candidate's adapters (and its sampler's) active, from pristine weights."""
        started = time.perf_counter()
        if candidate.combine != "stack" and candidate.adapters and candidate.merged is None:
            raise RefusedError(f"'{candidate.name}' combines LoRAs by '{candidate.combine}', but was not merged.",
                               fix="Plan again: the merged file is made then.")
        report = self._adapters().activate((*candidate.applied, *candidate.sampler.adapters))
        self._memory.note()
        return SwitchReport(
            candidate.name, report.modules_in_files, report.modules_changed, time.perf_counter() - started,
            {"delta_rms": report.delta_rms, "rounding_loss": report.rounding_loss, "zero_modules": report.zero_modules},
        )

    def denoise(
        self, prompt: encode.PromptEncoding, negative: encode.PromptEncoding | None,
        images: list[encode.ImageLatents], sampler: SamplerProfile, seed: int,
    ) -> encode.ImageLatents:
        """Run the sampler; see `denoise.denoise`."""
        return denoise.denoise(self._parts, prompt, negative, images, sampler, seed, self._memory.note)

    def decode(self, latents: encode.ImageLatents) -> Picture:
        """Turn latents into a picture."""
        self._prepare_vae()
        picture = encode.decode(self._parts, latents)
        self._memory.note()
        return picture

    def round_trip(self, picture: Picture, sampler: SamplerProfile) -> Picture:
        """Encode and decode a picture without any edit; counts as no encoding of the run."""
        self._prepare_vae()
        return encode.decode(self._parts, encode.encode_image(self._parts, picture, sampler.reference_area_px))

    def output_size(self, picture: Picture, sampler: SamplerProfile) -> tuple[int, int]:
        """Height and width of the output for a source of this shape."""
        return fit_area(sampler.reference_area_px, picture.shape[0], picture.shape[1])

    # ------------------------------------------------------------------ what the load gate asks

    def pristine(self, module: str) -> NDArray[np.float32]:
        """Weight of a module as the base has it, in fp32; a bias is named '<module>.bias'."""
        return self._adapters().pristine(module)

    def weights(self, module: str) -> NDArray[np.float32]:
        """Weight of a module as it works now, in fp32 (bf16 values are represented exactly)."""
        return self._adapters().working(module)

    def touched(self) -> tuple[str, ...]:
        """Modules that differ from the base by the active candidate."""
        return self._adapters().touched()

    def weight_dtype(self) -> str:
        """'float32', 'bfloat16', 'float16' or 'quantised': decides how exact the load gate may be."""
        return self._adapters().kind

    def load_adapter(self, use: AdapterUse) -> Any:
        """The canonical form of an adapter's file, for this base's shape."""
        return self._adapters().load(use)

    def probe(self, candidate: Candidate) -> float:
        """Largest relative change of one fixed forward by the candidate's own adapters (0.0: inert).

        Both sides bear the sampler's adapters, so that a distilled sampler does not hide an inert LoRA. The
        candidate is active afterwards.
        """
        plain = replace(candidate, adapters=())
        self.switch(plain)
        before = probe.fixed_forward(self._parts)
        self.switch(candidate)
        return probe.largest_change(before, probe.fixed_forward(self._parts))

    def noise_floor(self) -> float:
        """Largest relative change between forwards of the same weights: a repeat, and a batch of two."""
        return probe.noise_floor(self._parts)

    def weights_hash(self) -> str:
        """SHA-256 over every parameter of the transformer, for proofs that a switch left no trace."""
        return self._adapters().weights_hash()

    # ------------------------------------------------------------------ cost

    def peak_memory_bytes(self) -> int:
        """Peak memory since `reset_peak_memory`."""
        return self._memory.peak_bytes()

    def reset_peak_memory(self) -> None:
        """Start a new peak."""
        self._memory.reset()

    # ------------------------------------------------------------------ inside

    def _adapters(self) -> adapters.Switcher:
        if self._switcher is None:
            self._switcher = adapters.Switcher(self._parts)
        return self._switcher

    def _prepare_vae(self) -> None:
        if not self._vae_ready:
            if self.base.options.get("one_frame_vae", True):
                use_one_frame_path(self._parts.vae)
            self._vae_ready = True


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that change pictures, complete with their defaults.

    Raises:
        UserError: An option is unknown or has a value that it cannot have.
    """
    allowed: dict[str, tuple[Any, ...]] = {
        "dtype": ("auto", "float32", "bfloat16", "float16"),
        "text_positions": ("true", "stock"),
        "one_frame_vae": (True, False),
    }
    chosen = {name: options.get(name, values[0]) for name, values in allowed.items()}
    for name, value in chosen.items():
        if value not in allowed[name]:
            raise UserError(f"The base's option {name} is {value!r}.",
                            fix=f"Use one of: {', '.join(map(str, allowed[name]))}.")
    unknown = sorted(set(options) - set(allowed) - {"transformer_file", "revision"})
    if unknown:
        raise UserError(f"The base has an unknown option '{unknown[0]}'.",
                        fix=f"Known: {', '.join([*allowed, 'transformer_file', 'revision'])}.")
    return chosen
