"""Build the store and the engine of a loaded base by its settings, and step down when the device has no room."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from whichlora.company import company
from whichlora.errors import MachineError
from whichlora.families._qwen.calls import PlainEngine
from whichlora.families._qwen.engine import FastEngine
from whichlora.families._qwen.files import shape_of
from whichlora.families._qwen.profiles import (
    RESERVE_BYTES,
    VAE_BYTES_PER_PX,
    Settings,
    holding,
    too_small,
    transformer_bytes,
)
from whichlora.families._qwen.quantised import QuantisedStore
from whichlora.families._qwen.shared import bytes_there, offered
from whichlora.families._qwen.streaming import StreamedStore
from whichlora.families._qwen.weights import ResidentStore, Store, free_bytes

if TYPE_CHECKING:
    from whichlora.families._qwen.loading import Parts


@dataclass(eq=False)
class Machine:
    """How a base is held and computed."""

    store: Any
    """A `weights.Store`."""
    engine: Any
    """`PlainEngine` or `FastEngine`."""


def open_machine(parts: Parts, settings: Settings) -> Machine:
    """Load the transformer the way the settings and the device ask for.

    Raises:
        MachineError: The profile cannot be held or computed here; the message names the next one.
    """
    device = torch.device(parts.device)
    if uses_plain(parts, settings):
        return Machine(ResidentStore(parts.transformer, device, fuse=False), PlainEngine(parts.transformer))
    with torch.inference_mode(False):
        store = _store(parts, settings, device)
    compiled = settings.compile if device.type == "cuda" or settings.compile not in (True, False) else False
    return Machine(store, FastEngine(parts.transformer, store, compiled=compiled, shortcuts=settings.shortcuts))


def uses_plain(parts: Parts, settings: Settings) -> bool:
    """Whether diffusers' own forward is used: GGUF weights, and devices without CUDA unless a profile needs ours."""
    file = parts.places.transformer_file
    gguf = file is not None and file.suffix == ".gguf"
    wants_ours = (settings.profile != "exact" or settings.hold == "streamed" or settings.engine == "fast"
                  or settings.shortcuts.needs_engine())
    if gguf:
        if settings.profile != "exact" or settings.shortcuts.needs_engine():
            raise MachineError("A GGUF transformer runs as it is: no other profile or shortcut applies to it.",
                               fix="Remove 'profile' and the shortcuts from the base's options, or use bf16 weights.")
        return True
    if settings.engine == "plain":
        if wants_ours:
            raise MachineError("WHICHLORA_ENGINE=plain cannot hold the model in the way that was asked for.",
                               fix="Unset it.")
        return True
    nvidia = parts.device.startswith("cuda") and not torch.version.hip
    return not nvidia and not wants_ours


def _store(parts: Parts, settings: Settings, device: Any) -> Store:
    inside, outside = transformer_bytes(shape_of(parts.places.location), parts.dtype.itemsize)
    free = free_bytes(device) if device.type == "cuda" else inside + outside + RESERVE_BYTES
    fill = parts.fill
    file = offered()
    share = None if file is None else (file, f"{parts.places.location}|{parts.places.transformer_file}|{parts.dtype}")
    # What the workers hold together is paid for once, and what is there already needs no room.
    need = inside if file is None else max(0, inside - bytes_there(file))

    def alone() -> None:
        check_host_room(settings, inside, shared=False)

    if settings.profile != "exact":
        _need_kernel(settings.profile, device)
        copy = _host_bytes(settings, shared=file is not None) >= need * 1.35
        return QuantisedStore(parts.in_host_memory(), device, settings.profile, copy=copy, fill=fill, share=share,
                              alone=alone)
    if holding(settings, inside + outside, free) == "resident":
        return ResidentStore(parts.transformer, device, fuse=True)
    budget = settings.budget_bytes
    budget = free - outside - RESERVE_BYTES if budget is None else budget
    check_host_room(settings, need, shared=file is not None)
    try:
        return StreamedStore(parts.in_host_memory(), device, budget, fill=fill, share=share, alone=alone)
    except MemoryError as error:
        raise too_small("bf16-streamed", str(error)) from error


def step_down(parts: Parts, settings: Settings, machine: Machine, reason: str) -> tuple[Machine, Settings, str]:
    """After running out of device memory: the same pictures with less on the device, or an error.

    Returns:
        The new machine, the settings that made it, and a sentence for the user.

    Raises:
        MachineError: What is left makes other pictures, which is the user's decision.
    """
    facts = machine.store.facts()
    name = machine.store.name
    if settings.profile != "exact" or parts.device.partition(":")[0] != "cuda":
        raise too_small(settings.profile if settings.profile != "exact" else name, reason)
    if name == "bf16-streamed" and facts["resident_blocks"] == 0:
        raise too_small(name, reason)
    if name == "bf16-streamed":
        blocks = facts["resident_blocks"]
        keep = max(0, blocks - max(4, blocks // 4))
        machine.store.hold(keep)
        return machine, settings, (f"The card's memory ran out; {keep} instead of {blocks} blocks stay on it (the same "
                                   "bits).")
    sentence = "The card's memory ran out with everything on it; blocks are streamed from now on (the same bits)."
    settings = replace(settings, hold="streamed", budget_bytes=None)
    # Every reference to the weights must go before they are loaded again, or both would be on the device.
    machine.store = machine.engine = None
    parts.forget_transformer()
    return open_machine(parts, settings), settings, sentence


def make_room_for_vae(machine: Machine, settings: Settings, pixels: int) -> None:
    """Let weights leave a card that has hardly any memory free; the next forward brings them back.

    Where a workspace does not fit, torch silently takes another of cuDNN's kernels, and keeps to it: the picture's bits
    would depend on how much memory was free. Weights of a quantised profile stay: making them again takes too long.
    """
    need = VAE_BYTES_PER_PX * pixels
    if settings.profile == "exact" and machine.store.device.type == "cuda" and free_bytes(machine.store.device) < need:
        machine.store.park(need)


def _need_kernel(profile: str, device: Any) -> None:
    if profile == "fp8" and device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 9):
        name = torch.cuda.get_device_name(device)
        raise too_small("fp8", f"{name} has no matrix units for 8-bit floats")


def check_host_room(settings: Settings, need_bytes: int, *, shared: bool) -> None:
    """Refuse to hold the blocks in host memory that is not there.

    Args:
        settings: What was asked for.
        need_bytes: What this worker would add.
        shared: All workers of the machine hold one copy together.

    Raises:
        MachineError: It is not there; the message names what is needed and what there is.
    """
    workers = company()[0]
    room = _host_bytes(settings, shared=shared)
    if room >= need_bytes:
        return
    whose = "" if workers == 1 else (f", for {workers} workers together" if shared
                                     else f" for each of {workers} workers, every one with its own copy")
    error = too_small("bf16-streamed", f"{need_bytes / 2**30:.1f} GiB of weights do not fit into "
                      f"{room / 2**30:.1f} GiB of host memory{whose}")
    fewer = "Use fewer --workers. " if workers > 1 and not shared else ""
    raise MachineError(error.message, fix=fewer + error.fix)


def _host_bytes(settings: Settings, *, shared: bool) -> int:
    """Host memory that this worker may use: all that there is, or its share where every worker holds its own copy."""
    workers, at_start = company()
    if settings.ram_bytes is not None:
        return settings.ram_bytes // (1 if shared else workers)
    import psutil

    available = int(psutil.virtual_memory().available)
    return available if shared or workers == 1 else min(available, at_start // workers)
