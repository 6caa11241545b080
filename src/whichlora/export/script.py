"""A diffusers script that makes a set-up's pictures without whichlora, and the LoRA files in the form it loads.

The files are canonical copies: diffusers' own key names, one rank, every strength multiplied in. So nothing is left
for a library version to read in its own way; ComfyUI loads them too.
"""

from __future__ import annotations

import pprint
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from whichlora.errors import RefusedError
from whichlora.lora.delta import canonical_state_dict
from whichlora.lora.keys import ModelShape
from whichlora.types import BaseModel, Candidate, EditCase, Plan, SamplerProfile, instruction

SCRIPT_NAME = "edit.py"
FAMILIES = {"qwen_image_edit": "edit_qwen.py.txt"}
"""Families for which there is a script."""


@dataclass(frozen=True, slots=True)
class ExampleCell:
    """What the script does when it is told nothing: one cell of the comparison."""

    case: EditCase
    seed: int
    photo: str
    """Name of the photograph, for the user."""


def write_loras(folder: Path, plan: Plan, candidate: Candidate) -> list[dict[str, Any]]:
    """Write canonical copies of every LoRA of a set-up (its own, then its sampler's).

    Returns:
        Per file: 'file' (relative to the set-up's folder), 'weight', 'name', 'sha256' (of the original), 'licence'.

    Raises:
        RefusedError: A file is gone or changed, or holds what cannot be written as plain LoRA matrices.
    """
    from safetensors.numpy import save_file

    from whichlora.plan.candidates import sha256_file

    shape = ModelShape.from_folder(plan.base.location.partition("::")[0])
    written: list[dict[str, Any]] = []
    for use in (*candidate.applied, *candidate.sampler.adapters):
        path = Path(use.path)
        if not path.is_file() or sha256_file(path) != use.sha256:
            raise RefusedError(f"The LoRA '{use.name}' is no longer at '{path}', or is another file now.",
                               fix="Put the compared file back and export again.")
        state = canonical_state_dict(path, shape)
        name = f"loras/{safe_name(use.name)}-{use.sha256[:8]}.safetensors"
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(state), target, metadata={"format": "pt", "canonical_copy_of_sha256": use.sha256})
        own = use in candidate.applied
        written.append({"file": name, "weight": use.weight, "name": use.name, "sha256": use.sha256,
                        "licence": candidate.licence if own else "unknown", "part": "set-up" if own else "sampler"})
    return written


def script_text(plan: Plan, candidate: Candidate, loras: list[dict[str, Any]], example: ExampleCell) -> str:
    """Text of the script.

    Raises:
        RefusedError: There is no script for this family, or for this way of combining LoRAs.
    """
    template = FAMILIES.get(plan.base.family)
    if template is None:
        raise RefusedError(f"There is no script for the model family '{plan.base.family}' yet.",
                           fix=f"There is one for: {', '.join(FAMILIES)}.")
    if one_picture(plan.base):
        raise RefusedError(f"There is no script for the first Qwen-Image-Edit ('{plan.base.id}') yet.",
                           fix="Its pictures are compared all the same; for a script use 2509 or 2511.")
    if candidate.combine != "stack" and candidate.merged is None:
        raise RefusedError(
            f"'{candidate.name}' combines its LoRAs by '{candidate.combine}', and no merged file is known.",
            fix="Before you export, run again: whichlora evaluate PROJECT",
        )
    text = (resources.files("whichlora.export") / "templates" / template).read_text(encoding="utf-8")
    # repr quotes whatever a card or a suite says; nothing of it can become code
    return text.replace("@SETTINGS@", pprint.pformat(settings(plan, candidate, loras, example), width=116,
                                                     sort_dicts=False))


def settings(plan: Plan, candidate: Candidate, loras: list[dict[str, Any]], example: ExampleCell) -> dict[str, Any]:
    """Everything that decides a picture, as plain data."""
    sampler = candidate.sampler
    folder, _, single = plan.base.location.partition("::")
    return {
        "set_up": candidate.name,
        "base": folder if Path(folder).is_dir() and not _is_hub_cache(folder) else plan.base.id,
        "transformer_file": single,
        "dtype": _dtype(plan.base),
        "merge": not single.endswith(".gguf"),
        "loras": [{"file": item["file"], "weight": item["weight"]} for item in loras],
        "trigger": candidate.trigger,
        "prompt": instruction(candidate, example.case), "seed": example.seed,
        "text_positions": plan.base.options.get("text_positions", "true"),
        **_sampling(sampler),
        "libraries": dict(plan.libraries),
    }


def _sampling(sampler: SamplerProfile) -> dict[str, Any]:
    return {
        "num_inference_steps": sampler.num_inference_steps, "true_cfg_scale": sampler.true_cfg_scale,
        "negative_prompt": sampler.negative_prompt, "scheduler": dict(sampler.scheduler),
        "reference_area_px": sampler.reference_area_px, "condition_area_px": sampler.condition_area_px,
    }


def _dtype(base: BaseModel) -> str:
    """'' lets the script choose by device, as the comparison did with 'auto'."""
    wanted = str(base.options.get("dtype", "auto"))
    return "" if wanted == "auto" else wanted


def one_picture(base: BaseModel) -> bool:
    """True for the first Qwen-Image-Edit, which has a pipeline of its own."""
    from whichlora.families._qwen.places import FIRST_CLASS, read_json

    index = Path(base.location.partition("::")[0]) / "model_index.json"
    return index.is_file() and read_json(index, "the list of its parts").get("_class_name") == FIRST_CLASS


def _is_hub_cache(folder: str) -> bool:
    return "models--" in folder and "snapshots" in folder


def safe_name(name: str) -> str:
    """A file name that every system accepts, ASCII only."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60] or "lora"
