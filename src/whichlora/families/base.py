"""The contract of a model family: the same four steps for the weightless painter, the tiny model and the 20 B one.

The runner encodes every distinct input once, lets the family release its encoders, then visits candidate after
candidate: `switch` → for each cell `denoise` → `decode`.

A family may also offer `check_file(base, path)` (step 1 of the load gate, without loading the base), `library_names`,
and `language_model(base)`: the `LanguageModel` that the base brings along, for the optional judge.

A session may also offer what the load gate compares: `pristine(module)` and `weights(module)` (fp32 arrays),
`touched()` (modules that differ from the base), `weight_dtype()`, `load_adapter(use)` (a context manager giving the
file's changes, see `lora/delta.py`) and `noise_floor()`; also `tensors(module)` (both weights as torch tensors where
they lie, so that billions of values are compared there) and `touched_beyond(modules)` (`touched()` without these, which
need not be looked at). Without them a LoRA is admitted by its switch
report and its effect alone, and the gate's report says 'unchecked'. Further optional methods of a session:
`prefetch(candidate)` begins to bring the next candidate's files into memory and returns at once (a hint, never an
error), and `restore_encoders()` undoes `release_encoders`; without it a session is loaded anew when further inputs
must be encoded. `pictures_together(sampler)` says how many pictures of the active candidate are cheaper made at once
than one after another (1: none), and `denoise_together(jobs, sampler)` makes them: latents in the order of the jobs,
each bit for bit what `denoise` makes of it. Outputs must have the same size. If it raises, none was made. `remarks()`
lists sentences for the user about what was not possible and what was done instead; a run passes each on once.
`ways()` names what this machine chose and may change a picture's last bits; a refused resume says what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from whichlora.types import BaseModel, Candidate, SamplerProfile

Picture = NDArray[np.uint8]
"""RGB, height × width × 3, 0–255."""


class Job(NamedTuple):
    """One picture that `denoise_together` is to make; as the arguments of `denoise`."""

    prompt: Any
    """The encoded instruction."""
    negative: Any | None
    """The encoded negative prompt; None (or a guidance of at most 1) means no second forward."""
    images: list[Any]
    """The photograph being edited, then further references; the first decides the output's size."""
    seed: int
    """Seed of the noise."""


@dataclass(frozen=True)
class SwitchReport:
    """What `switch` did, checked against the files and not against the absence of an exception."""

    candidate: str
    """Name of the candidate now active."""
    modules_in_files: int
    """Modules that the candidate's files adapt (summed over adapters)."""
    modules_changed: int
    """Modules whose weights were actually changed (summed over adapters)."""
    seconds: float
    """Time taken."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Anything worth recording, such as the relative size of the change (`delta_rms`)."""


@dataclass(frozen=True)
class LanguageModel:
    """A vision-language model that lies on disk and is not loaded yet."""

    name: str
    """For people."""
    folder: Path
    """Folder with config.json and safetensors weights."""
    fingerprint: str
    """Hash of its weights and configuration."""
    load: Callable[[str], tuple[Any, Any]]
    """Device → (model, processor), of transformers' classes."""


class Session(Protocol):
    """A loaded base model on a device."""

    base: BaseModel
    """What was loaded, with its fingerprint."""

    def libraries(self) -> Mapping[str, str]:
        """Versions of the libraries that compute pictures; part of every cell's identity."""
        ...

    def encode_prompt(self, prompt: str, pictures: list[Picture], sampler: SamplerProfile) -> Any:
        """Encode an instruction together with its pictures. Deterministic; opaque to the runner."""
        ...

    def encode_image(self, picture: Picture, sampler: SamplerProfile) -> Any:
        """Encode a source photograph for the denoiser. Deterministic; opaque to the runner."""
        ...

    def release_encoders(self) -> None:
        """Free what only encoding needs. Called once, before the first `denoise`."""
        ...

    def switch(self, candidate: Candidate) -> SwitchReport:
        """Make exactly this candidate's adapters active, starting from pristine weights.

        Raises:
            RefusedError: A file cannot be applied, or not whole.
        """
        ...

    def probe(self, candidate: Candidate) -> float:
        """Largest relative change of one fixed forward between base and candidate; 0.0 means inert."""
        ...

    def denoise(
        self, prompt: Any, negative: Any | None, images: list[Any], sampler: SamplerProfile, seed: int,
    ) -> Any:
        """Run the sampler and return latents. `negative` is None when guidance is off."""
        ...

    def decode(self, latents: Any) -> Picture:
        """Turn latents into a picture."""
        ...

    def round_trip(self, picture: Picture, sampler: SamplerProfile) -> Picture:
        """Encode and decode a picture without any edit (the 'vae-round-trip' control row).

        Works after `release_encoders` too.
        """
        ...

    def output_size(self, picture: Picture, sampler: SamplerProfile) -> tuple[int, int]:
        """Height and width of the output for a source of this shape."""
        ...

    def peak_memory_bytes(self) -> int:
        """Peak memory since `reset_peak_memory`."""
        ...

    def reset_peak_memory(self) -> None:
        """Start a new peak."""
        ...


class ModelFamily(Protocol):
    """A kind of model that whichlora can drive."""

    name: str
    """Name in the registry."""

    def identify(self, location: str, options: Mapping[str, Any]) -> BaseModel:
        """Recognise weights at a location (folder, file or Hub id) without loading them.

        Raises:
            UserError: Nothing usable lies there; the message says what was looked for.
        """
        ...

    def default_sampler(self, base: BaseModel) -> SamplerProfile:
        """Sampler that the base's card recommends."""
        ...

    def load(self, base: BaseModel, device: str) -> Session:
        """Load the base on a device ('cpu', 'cuda', 'mps')."""
        ...
