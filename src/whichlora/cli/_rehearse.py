"""`whichlora doctor --rehearse [PROJECT]`: the model at its true size, of random weights, on this very machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whichlora.cli.output import answer_console, emit_json, progress_console

GIB = 1024**3
_LEAST_SHARED_GIB = 46
"""Weights of 38 GiB and activations, on devices that share the computer's memory."""


def rehearse(project: Path | None, *, device: str, toy: bool, json: bool) -> None:
    """Measure, then say what a step costs, what memory it takes, which profile to use and what a project would cost."""
    from whichlora import registry
    from whichlora.cli.project import choose_device
    from whichlora.cli.stages import require_run_extra

    require_run_extra()
    device = choose_device(device)
    _refuse_small(device, toy=toy)
    family = registry.load("families", "qwen_image_edit")
    size = "a toy of the same architecture" if toy else "20 billion random weights"
    with progress_console.status(f"rehearsing with {size}; nothing is downloaded"):
        found = family.rehearse(device, toy=toy)
        price = None if project is None else _price(project, found.seconds_per_image, device)
    document = _document(found, price)
    if json:
        emit_json("whichlora.rehearsal/1", document)
        return
    for sentence in sentences(found, price):
        answer_console.print(sentence)


def _refuse_small(device: str, *, toy: bool) -> None:
    """The true size on a processor, or in too little shared memory, would bring the machine to a halt."""
    import psutil

    from whichlora.errors import UserError

    if toy or device.startswith("cuda"):
        return
    free = psutil.virtual_memory().available / GIB
    if device == "cpu" or free < _LEAST_SHARED_GIB:
        found = "no GPU was found" if device == "cpu" else f"{free:.0f} GiB of memory are free"
        raise UserError(f"The true size cannot be rehearsed here: {found}.",
                        fix="Run it on the machine with the GPU; --toy --device cpu tries the machinery.")


def _price(folder: Path, seconds_per_image: float, device: str) -> dict[str, Any]:
    """Pictures and hours of a project's whole matrix, for a picture of base that takes so many seconds."""
    from whichlora.cli._budget import Wish
    from whichlora.cli.plan import describe
    from whichlora.cli.project import open_project

    plan = describe(open_project(folder), device, Wish(full=True, seconds=seconds_per_image))
    return {"cells": plan["cells"] - plan["controls"], "hours": plan["gpu_hours"]}


def sentences(found: Any, price: dict[str, Any] | None) -> list[str]:
    """What the rehearsal says to people."""
    facts = found.facts
    held = f"{facts['resident_blocks']} of {facts['resident_blocks'] + facts['streamed_blocks']} blocks resident"
    step = f"{found.seconds_per_step:.3f}" if found.seconds_per_step >= 0.001 else f"{found.seconds_per_step:.1g}"
    lines = [
        f"{found.device}: the profile [bold]{found.profile}[/] works ({held}).",
        f"A step with guidance takes {step} s, a picture of 40 steps "
        f"[bold]{found.seconds_per_image:.1f} s[/]; the first one {found.warm_up_s:.0f} s more (loading, compiling).",
        f"Peak memory: {found.peak_bytes / GIB:.1f} GiB. Encoding instructions comes on top, once for each.",
    ]
    if found.profile in ("fp8", "nf4"):
        lines.append(f"Use it by 'profile: {found.profile}' in the base's options; its pictures are not those of bf16.")
    else:
        lines.append("Nothing needs to be set: this profile is chosen by itself, and its pictures are exact.")
    if price is not None:
        cost = "price unknown" if price["hours"] is None else (
            f"about {price['hours']:.1f} hours for the whole matrix, its base at 40 steps with guidance")
        lines.append(f"This project: {price['cells']} pictures, {cost}.")
    lines += [f"Did not work: {reason}" for reason in found.failed]
    lines += [str(note) for note in facts.get("notes", ())]
    if found.toy:
        lines.append("Toy size: these figures say nothing of the 20 B model.")
    return lines


def _document(found: Any, price: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "profile": found.profile, "device": found.device, "toy": found.toy,
        "seconds_per_step": found.seconds_per_step, "seconds_per_image": found.seconds_per_image,
        "seconds_around": found.seconds_around, "peak_gib": found.peak_bytes / GIB, "warm_up_s": found.warm_up_s,
        "facts": found.facts, "failed": list(found.failed), "project": price,
    }
