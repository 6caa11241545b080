"""Which Lightning file belongs to a base and a number of steps. Facts of one family; no network."""

from __future__ import annotations

from whichlora.survey.bases import EDIT, EDIT_2509, EDIT_2511, QWEN_IMAGE
from whichlora.survey.entry import Requirement

_REPO_2509 = "lightx2v/Qwen-Image-Lightning"
_REPO_2511 = "lightx2v/Qwen-Image-Edit-2511-Lightning"
LIGHTNING_REPOS = frozenset({_REPO_2509, _REPO_2511, "lightx2v/Qwen-Image-Edit-2509-Lightning"})
"""Repositories that hold sampler parts, not candidates."""


def lightning(base: str | None, steps: int | None) -> Requirement:
    """The Lightning file that matches a base; 8-step when 8 steps or more are asked, else 4-step.

    The file is None for a base without one: a Lightning of another base is no substitute.
    """
    count = 8 if steps is not None and steps in (8, 16) else 4
    if base == EDIT_2509:
        name = f"Qwen-Image-Edit-2509/Qwen-Image-Edit-2509-Lightning-{count}steps-V1.0-bf16.safetensors"
        return Requirement(_REPO_2509, name)
    if base == EDIT_2511:
        return Requirement(_REPO_2511, f"Qwen-Image-Edit-2511-Lightning-{count}steps-V1.0-bf16.safetensors")
    if base == EDIT:
        return Requirement(_REPO_2509, f"Qwen-Image-Edit-Lightning-{count}steps-V1.0.safetensors")
    if base == QWEN_IMAGE:
        return Requirement(_REPO_2509, None if count == 8 else "Qwen-Image-Lightning-4steps-V2.0.safetensors")
    return Requirement(_REPO_2509, None)
