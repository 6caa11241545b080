"""Which memory profile of the 20 B model fits a machine's VRAM and host RAM. Arithmetic only; nothing is loaded.

Two bf16 copies of the transformer are 82 GB, so a PC with 32 GB of RAM cannot stream bf16 however large its card.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

GIB = 1024**3
TRANSFORMER_BF16_BYTES = 20_430_401_088 * 2
"""Weights of the transformer: 20.43 billion parameters in bf16."""
TEXT_ENCODER_BYTES = 16_580_000_000
"""Qwen2.5-VL-7B in bf16."""
VAE_BYTES = 250_000_000
"""The VAE."""
RESERVED_VRAM_GIB = 0.6
"""Taken by the driver's context and the desktop."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One way of holding the model."""

    name: str
    """Name, as in a suite's base options."""
    vram_gib: float
    """Peak VRAM at 1024² with one reference, while denoising."""
    ram_gib: float
    """Host memory it needs beside the system."""
    download_gb: float
    """Size of the smallest sufficient download, in 10⁹ bytes."""
    exact: bool
    """True when pictures are those of the bf16 model; scores are never paired across profiles."""
    source: str
    """Where the figures come from."""
    note: str
    """What it changes."""


_FULL_GB = (TRANSFORMER_BF16_BYTES + TEXT_ENCODER_BYTES + VAE_BYTES) / 1e9
_ENCODERS_GB = (TEXT_ENCODER_BYTES + VAE_BYTES) / 1e9
PROFILES: tuple[Profile, ...] = (
    Profile(
        "bf16", 44.0, 24.0, _FULL_GB, True,
        "computed: 38.1 GiB of weights and 4.2 GiB measured above the weights, encoders released before denoising",
        "everything resident in bf16",
    ),
    Profile(
        "bf16-streamed", 18.6, 56.0, _FULL_GB, True,
        "measured on an H100 capped at 24 GiB, 24 of 60 blocks resident; host memory holds one bf16 copy",
        "bf16, blocks streamed from host memory behind the arithmetic; the same bits",
    ),
    Profile(
        "fp8", 19.8, 26.0, _FULL_GB, False,
        "computed: 14.8 GiB of weights and 5 GiB kept free; the bf16 files are read again at every switch",
        "weights and activations rounded to 8 bits, after LoRAs were added",
    ),
    Profile(
        "gguf-q8", 22.4, 24.0, 21.8 + _ENCODERS_GB, False,
        "computed: 20.3 GiB of Q8_0 weights and 2.1 GiB measured for one streamed block group",
        "weights in 8-bit blocks, unpacked at every use: saves memory, not time",
    ),
    Profile(
        "nf4", 10.7, 18.0, _FULL_GB, False,
        "measured on an H100 capped at 24 GiB with another implementation; host memory by the largest shard",
        "weights rounded to 4 bits, after LoRAs were added: another model in all but name",
    ),
)
"""From exact and large to rough and small: the first that fits is taken."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A profile held against a machine."""

    profile: Profile
    """The profile."""
    fits: bool
    """Whether both memories suffice."""
    reason: str
    """What is missing, in words; '' when it fits."""
    supported: bool = True
    """Whether this version can run it; a profile that fits but is not built in is shown, never recommended."""


def fit_all(vram_bytes: int, ram_bytes: int, supported: Collection[str] | None = None) -> tuple[Fit, ...]:
    """Hold every profile against a machine.

    Args:
        vram_bytes: Memory of the GPU that may be used.
        ram_bytes: Host memory that may be used.
        supported: Names of the profiles that the model family can run; all of them when None.
    """
    vram, ram = max(0.0, vram_bytes / GIB - RESERVED_VRAM_GIB), ram_bytes / GIB
    fits: list[Fit] = []
    for profile in PROFILES:
        missing = [
            f"{need - have:.1f} GiB of {what} missing"
            for what, need, have in (("VRAM", profile.vram_gib, vram), ("RAM", profile.ram_gib, ram))
            if need > have
        ]
        known = supported is None or profile.name in supported
        fits.append(Fit(profile, not missing, ", ".join(missing), known))
    return tuple(fits)


def best(fits: Sequence[Fit]) -> Profile | None:
    """The first profile that fits and can be run; None when there is none."""
    return next((fit.profile for fit in fits if fit.fits and fit.supported), None)


def encoder_place(vram_bytes: int, ram_bytes: int) -> str:
    """Where the text encoder runs: 'gpu' (16.6 GB for the time of encoding), 'cpu', or 'nowhere'."""
    need = TEXT_ENCODER_BYTES / GIB + 1.0
    if vram_bytes / GIB - RESERVED_VRAM_GIB >= need:
        return "gpu"
    return "cpu" if ram_bytes / GIB >= need else "nowhere"
