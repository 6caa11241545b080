"""A loaded Qwen-Image-Edit base: encode, switch, denoise, decode, and what the load gate asks of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from whichlora.errors import MachineError, RefusedError, UserError
from whichlora.families._qwen import adapters, denoise, encode, probe
from whichlora.families._qwen.geometry import fit_area
from whichlora.families._qwen.memory import PeakMemory
from whichlora.families._qwen.one_frame import use_one_frame_path
from whichlora.families._qwen.profiles import ENCODER_BYTES, EXACT, QUANTISED, Settings
from whichlora.families._qwen.shortcuts import NAMES, from_options, to_options
from whichlora.families.base import Picture, SwitchReport
from whichlora.types import AdapterUse, BaseModel, Candidate, SamplerProfile

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from whichlora.families._qwen.loading import Parts
    from whichlora.families._qwen.opening import Machine

R = TypeVar("R")


class QwenSession:
    """See `families/base.py` for the contract; `pristine`, `weights` and `noise_floor` serve the load gate."""

    def __init__(
        self, base: BaseModel, parts: Parts, versions: Mapping[str, str], settings: Settings | None = None
    ) -> None:
        self.base = base
        self.notes: list[str] = []
        """Sentences about what was not possible and what was done instead."""
        self._settings = settings or Settings(shortcuts=from_options(base.options))
        self._machine: Machine | None = None
        self._active: tuple[AdapterUse, ...] = ()
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
        if self._parts.places.one_picture and sampler.condition_area_px != sampler.reference_area_px:
            raise UserError(
                f"The sampler '{sampler.name}' shows the picture at {sampler.condition_area_px:,} px to the text "
                f"encoder and at {sampler.reference_area_px:,} px to the VAE; the first Qwen-Image-Edit has one size.",
                fix="Set condition_area_px and reference_area_px to the same value.",
            )
        if self.counts["prompt"] == 0:
            encode.check_tokenizer(self._parts.processor.tokenizer)
            self._make_room()
        self.counts["prompt"] += 1
        positions = self.base.options.get("text_positions", "true")
        with self._stated():
            embeds = encode.encode_prompt(self._parts, prompt, pictures, sampler.condition_area_px, positions)
        self._memory.note()
        return encode.PromptEncoding(embeds.cpu())

    def encode_image(self, picture: Picture, sampler: SamplerProfile) -> encode.ImageLatents:
        """Encode a photograph at the sampler's reference area."""
        self.counts["image"] += 1
        self._prepare_vae()
        latents = self._through_vae(
            sampler.reference_area_px, lambda: encode.encode_image(self._parts, picture, sampler.reference_area_px))
        self._memory.note()
        return latents

    def release_encoders(self) -> None:
        """Free text encoder and processor."""
        self._released = True
        self._parts.release_encoders()

    def restore_encoders(self) -> None:
        """Allow encoding again; text encoder and processor are read from disk when they are next needed."""
        if self._released:
            self._released = False
            self._make_room()

    # ------------------------------------------------------------------ switch and denoise

    def switch(self, candidate: Candidate) -> SwitchReport:
        """Make exactly this candidate's adapters (and its sampler's) active, from pristine weights."""
        started = time.perf_counter()
        if candidate.combine != "stack" and candidate.adapters and candidate.merged is None:
            raise RefusedError(f"'{candidate.name}' combines LoRAs by '{candidate.combine}', but was not merged.",
                               fix="Plan again: the merged file is made then.")
        uses = (*candidate.applied, *candidate.sampler.adapters)
        report = self._within_memory(lambda: self._activate(uses))
        self._memory.note()
        return SwitchReport(
            candidate.name, report.modules_in_files, report.modules_changed, time.perf_counter() - started,
            {"delta_rms": report.delta_rms, "rounding_loss": report.rounding_loss, "zero_modules": report.zero_modules},
        )

    def prefetch(self, candidate: Candidate) -> None:
        """Begin to read the next candidate's files; returns at once. What is wrong with a file, `switch` will say."""
        if self._machine is not None:
            self._adapters().prefetch((*candidate.applied, *candidate.sampler.adapters))

    def denoise(
        self, prompt: encode.PromptEncoding, negative: encode.PromptEncoding | None,
        images: list[encode.ImageLatents], sampler: SamplerProfile, seed: int,
    ) -> encode.ImageLatents:
        """Run the sampler on one picture; see `denoise.denoise`."""
        return self.denoise_together([denoise.Job(prompt, negative, images, seed)], sampler)[0]

    def denoise_together(self, jobs: Sequence[denoise.Job], sampler: SamplerProfile) -> list[encode.ImageLatents]:
        """Run the sampler on several pictures of one size, every block visited once a step for all of them.

        Worth it where blocks are streamed (see `pictures_together`); elsewhere it takes as long as one after another.
        """
        return self._within_memory(lambda: denoise.denoise(
            self._parts, self._machinery().engine, jobs, sampler, self._memory.note, self._settings.shortcuts))

    def pictures_together(self, sampler: SamplerProfile) -> int:
        """How many pictures of a candidate to make at once.

        2 where blocks are streamed and there is no guidance, so that the copy of a block hides behind two forwards as
        it does with guidance; else 1.
        """
        streamed = self._machinery().store.facts()["streamed_blocks"] > 0
        return 2 if streamed and sampler.true_cfg_scale <= 1 else 1

    def decode(self, latents: encode.ImageLatents) -> Picture:
        """Turn latents into a picture."""
        self._prepare_vae()
        picture = self._through_vae(
            latents.height_px * latents.width_px, lambda: encode.decode(self._parts, latents))
        self._memory.note()
        return picture

    def round_trip(self, picture: Picture, sampler: SamplerProfile) -> Picture:
        """Encode and decode a picture without any edit; counts as no encoding of the run."""
        self._prepare_vae()
        area_px = sampler.reference_area_px
        return self._through_vae(
            area_px, lambda: encode.decode(self._parts, encode.encode_image(self._parts, picture, area_px)))

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

    def touched_beyond(self, labels: Container[str]) -> tuple[str, ...]:
        """Modules that differ from the base and are not among these."""
        return self._adapters().touched_beyond(labels)

    def tensors(self, module: str) -> tuple[Tensor, Tensor]:
        """`pristine` and `weights` of a module as tensors on the device, in the working format. Only to be read."""
        return self._adapters().tensors(module)

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
        before = self._within_memory(lambda: probe.fixed_forward(self._parts, self._machinery().engine))
        self.switch(candidate)
        after = self._within_memory(lambda: probe.fixed_forward(self._parts, self._machinery().engine))
        return probe.largest_change(before, after)

    def noise_floor(self) -> float:
        """Largest relative change between forwards of the same weights: a repeat, and a batch of two."""
        return self._within_memory(lambda: probe.noise_floor(self._parts, self._machinery().engine))

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

    def engine_facts(self) -> dict[str, Any]:
        """How the model is held and computed: profile, blocks resident and streamed, bytes, notes."""
        machine = self._machinery()
        return {**machine.store.facts(), **machine.engine.facts(), "notes": self.remarks()}

    def ways(self) -> dict[str, str]:
        """What was chosen by this machine and may change the last bits of a picture."""
        return {"forward": self._machinery().engine.way(), "text encoder": self._parts.encoder_device}

    def remarks(self) -> list[str]:
        """Sentences about what was not possible so far and what was done instead; the pictures are the same."""
        machine = self._machine
        found = [] if machine is None else [*getattr(machine.store, "notes", ()), *machine.engine.notes]
        return [*self.notes, *found]

    # ------------------------------------------------------------------ inside

    def _stated(self) -> AbstractContextManager[Any]:
        from whichlora.families._qwen.numerics import stated

        return stated(self._parts.device, self._parts.dtype)

    def _machinery(self) -> Machine:
        if self._machine is None:
            from whichlora.families._qwen.opening import open_machine

            self._machine = open_machine(self._parts, self._settings)
        return self._machine

    def _adapters(self) -> adapters.Switcher:
        if self._switcher is None:
            self._switcher = adapters.Switcher(self._parts, self._machinery().store)
        return self._switcher

    def _activate(self, uses: tuple[AdapterUse, ...]) -> adapters.Applied:
        self._machinery().engine.invalidate()
        report = self._adapters().activate(uses)
        self._active = uses
        return report

    def _within_memory(self, work: Callable[[], R]) -> R:
        """Do something; when the device runs out of memory, hold less of the model there and do it again."""
        import torch

        while True:
            try:
                with self._stated():
                    return work()
            except torch.OutOfMemoryError as error:
                if self._machine is None:
                    raise  # no weights of the transformer are there that could make room
                reason = f"the device ran out of memory ({str(error).splitlines()[0][:120]})"
            # Outside the handler: the traceback would keep the failed attempt's tensors alive.
            self._step_down(reason)

    def _through_vae(self, pixels: int, work: Callable[[], R]) -> R:
        """Do something with the VAE, after making sure that it has room."""
        if self._machine is not None:
            from whichlora.families._qwen.opening import make_room_for_vae

            make_room_for_vae(self._machine, self._settings, pixels)
        return self._within_memory(work)

    def _step_down(self, reason: str) -> None:
        from whichlora.families._qwen.opening import step_down

        machine, self._machine, self._switcher = self._machinery(), None, None
        self._machine, self._settings, sentence = step_down(self._parts, self._settings, machine, reason)
        self.notes.append(sentence)
        with self._stated():
            self._adapters().activate(self._active)

    def _make_room(self) -> None:
        """Before the text encoder comes: blocks leave a card that cannot hold both."""
        import torch

        if not self._parts.device.startswith("cuda"):
            return
        from whichlora.families._qwen.weights import free_bytes

        size = torch.cuda.get_device_properties(self._parts.device).total_memory
        if min(size, self._settings.vram_bytes or size) < ENCODER_BYTES:
            self._parts.encoder_device = "cpu"
        elif self._machine is not None and free_bytes(torch.device(self._parts.device)) < ENCODER_BYTES:
            self._machine.store.park(ENCODER_BYTES)

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
    profile = options.get("profile", "auto")
    if profile not in (*EXACT, *QUANTISED):
        raise UserError(f"The base's option profile is {profile!r}.",
                        fix=f"Use one of: {', '.join((*EXACT, *QUANTISED))}.")
    known = (*allowed, "profile", *NAMES, "transformer_file", "revision")
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UserError(f"The base has an unknown option '{unknown[0]}'.", fix=f"Known: {', '.join(known)}.")
    # How an exact model is held changes no picture, so only what does is kept: cells of plans without it stay theirs.
    if profile in QUANTISED:
        chosen["profile"] = profile
        if chosen["dtype"] in ("float32", "float16"):
            raise UserError(f"The profile '{profile}' is made from bfloat16 weights, not {chosen['dtype']}.",
                            fix="Remove 'dtype' from the base's options.")
    return {**chosen, **to_options(from_options(options))}
