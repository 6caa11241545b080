"""Which way to hold the model and which forward to use, from what was asked and what the device has.

'exact' makes the pictures of the bf16 model, resident or streamed by the room there is, with the same bits either way.
'fp8' and 'nf4' are profiles of their own: part of the base's options, so that scores are never paired across them.
How to hold it can be forced by environment variables, which change no picture:

    WHICHLORA_VRAM_GIB     device memory that may be used, in GiB (also a rehearsal of a smaller card)
    WHICHLORA_RAM_GIB      host memory that may be used by all workers of this machine, in GiB
    WHICHLORA_HOLD         auto | resident | streamed
    WHICHLORA_ENGINE       auto | plain | fast
    WHICHLORA_COMPILE      auto | off
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whichlora.errors import MachineError, UserError
from whichlora.families._qwen.shortcuts import NONE, Shortcuts, from_options

if TYPE_CHECKING:
    from whichlora.lora.keys import ModelShape

GIB = 1024**3
QUANTISED = ("fp8", "nf4")
"""Profiles whose pictures differ from the bf16 model's."""
EXACT = ("auto", "bf16", "bf16-streamed")
"""Ways to ask for the bf16 model's pictures."""
RESERVE_BYTES = 15 * GIB // 2
"""Device memory left for activations, modulations and the VAE at 1024² with up to three references: blocks and buffers
take what is left."""
VAE_BYTES_PER_PX = 3 * 1024
"""Device memory that must be free, per pixel, when the VAE begins: its activations and cuDNN's workspaces."""
ENCODER_BYTES = 17 * GIB
"""Room that the text encoder of 8.3 billion parameters needs on the device."""
_NEXT = {"bf16": "bf16-streamed", "bf16-streamed": "fp8", "fp8": "nf4"}


@dataclass(frozen=True)
class Settings:
    """What was asked for."""

    profile: str = "exact"
    """'exact', 'fp8' or 'nf4'."""
    hold: str = "auto"
    """'auto', 'resident' or 'streamed'."""
    engine: str = "auto"
    """'auto', 'plain' or 'fast'."""
    compile: bool | Any = True
    """Whether blocks are compiled on CUDA; tests hand over a backend of torch.compile."""
    vram_bytes: int | None = None
    """Device memory that may be used; all that is free when None."""
    ram_bytes: int | None = None
    """Host memory that may be used; what is available when None."""
    budget_bytes: int | None = None
    """Device memory for blocks and buffers; worked out when None."""
    shortcuts: Shortcuts = NONE
    """Near-lossless speed-ups."""


def from_environment(options: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings of a base's options and of the environment.

    Raises:
        UserError: A variable has a value that it cannot have.
    """
    profile = str(options.get("profile", "exact"))
    return Settings(
        profile=profile if profile in QUANTISED else "exact",
        hold=_choice(environment, "WHICHLORA_HOLD", ("auto", "resident", "streamed")),
        engine=_choice(environment, "WHICHLORA_ENGINE", ("auto", "plain", "fast")),
        compile=_choice(environment, "WHICHLORA_COMPILE", ("auto", "off")) == "auto",
        vram_bytes=_gib(environment, "WHICHLORA_VRAM_GIB"), ram_bytes=_gib(environment, "WHICHLORA_RAM_GIB"),
        shortcuts=from_options(options),
    )


def _choice(environment: Mapping[str, str], name: str, known: tuple[str, ...]) -> str:
    value = environment.get(name, "").strip().lower() or known[0]
    if value not in known:
        raise UserError(f"{name} is '{value}'.", fix=f"Use one of: {', '.join(known)}.")
    return value


def _gib(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e5:
        raise UserError(f"{name} is '{text}'.", fix="Give a number of GiB, such as 24.")
    return int(value * GIB)


def transformer_bytes(shape: ModelShape, element_bytes: int) -> tuple[int, int]:
    """Bytes of the transformer's weights: (in the blocks, outside them)."""
    inside = outside = 0
    for name, (rows, columns) in shape.linears.items():
        size = (rows * columns + rows) * element_bytes
        if name.startswith("transformer_blocks."):
            inside += size
        else:
            outside += size
    for name, length in shape.norms.items():
        if name.startswith("transformer_blocks."):
            inside += length * element_bytes
        else:
            outside += length * element_bytes
    return inside, outside


def holding(settings: Settings, need_bytes: int, free_bytes: int) -> str:
    """'resident' or 'streamed' for the exact profile.

    Args:
        settings: What was asked for.
        need_bytes: All weights of the transformer.
        free_bytes: Device memory that may be used.
    """
    if settings.hold != "auto":
        return settings.hold
    return "resident" if free_bytes >= need_bytes + RESERVE_BYTES else "streamed"


def next_profile(name: str) -> str | None:
    """The profile that needs less than this one; None when there is none."""
    return _NEXT.get(name)


def too_small(profile: str, reason: str) -> MachineError:
    """The error for a profile that this machine cannot hold, naming the next one."""
    less = next_profile(profile)
    fix = "Close other programs, or use a larger card."
    if less in QUANTISED:
        fix = (f"Set 'profile: {less}' in the base's options (its pictures differ, so they are compared apart), "
               "or use a larger card.")
    return MachineError(f"The profile '{profile}' does not work here: {reason}.", fix=fix)
