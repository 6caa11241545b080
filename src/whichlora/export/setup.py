"""The folder of a set-up to be used: LoRA files, diffusers script, ComfyUI workflow, and a page that explains them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whichlora.errors import RefusedError
from whichlora.export import comfyui, script
from whichlora.export.folder import write_json, write_text
from whichlora.families._qwen.geometry import fit_area
from whichlora.survey.bases import EDIT, EDIT_2509, EDIT_2511, canonical
from whichlora.types import Candidate, Generation, Plan, instruction

_COMFY_FILES = {
    EDIT: "qwen_image_edit_bf16.safetensors", EDIT_2509: "qwen_image_edit_2509_bf16.safetensors",
    EDIT_2511: "qwen_image_edit_2511_bf16.safetensors",
}


@dataclass(frozen=True, slots=True)
class SetupSummary:
    """What was written for one set-up."""

    candidate: str
    folder: str
    """Name inside the export."""
    files: tuple[str, ...]
    notes: tuple[str, ...]
    """What is missing, and why, in sentences."""


def write_setup(folder: Path, plan: Plan, candidate: Candidate, generations: dict[str, Generation]) -> SetupSummary:
    """Write everything that reproduces a set-up.

    Raises:
        RefusedError: Nothing of it can be written: another family, or a way of combining that is not portable.
    """
    example, pixels = _example(plan, candidate, generations)
    loras = script.write_loras(folder, plan, candidate) if plan.base.family in script.FAMILIES else []
    write_text(folder / script.SCRIPT_NAME, script.script_text(plan, candidate, loras, example))
    graph = comfyui.build(_scene(plan, candidate, loras, example))
    write_json(folder / "comfyui-api.json", comfyui.api_form(graph))
    write_json(folder / "comfyui-workflow.json", comfyui.editor_form(graph))
    write_json(folder / "setup.json", {
        "schema": "whichlora.setup/1", "set_up": candidate.name, "base": plan.base.id,
        "base_fingerprint": plan.base.fingerprint, "options": dict(plan.base.options), "loras": loras,
        "settings": script.settings(plan, candidate, loras, example),
        "example": {"photo": example.photo, "seed": example.seed, "prompt": instruction(candidate, example.case),
                    "pixels_sha256": pixels},
    })
    write_text(folder / "README.md", _readme(plan, candidate, loras, example))
    files = ("README.md", script.SCRIPT_NAME, "comfyui-workflow.json", "comfyui-api.json", "setup.json",
             *(item["file"] for item in loras))
    return SetupSummary(candidate.name, folder.name, files, ())


def _example(
    plan: Plan, candidate: Candidate, generations: dict[str, Generation]
) -> tuple[script.ExampleCell, str | None]:
    """The first finished cell of a set-up, and the hash of its pixels."""
    cases = {case.id: case for case in plan.cases}
    photos = {photo.id: photo for photo in plan.sources}
    mine = [cell for cell in plan.cells if cell.candidate == candidate.name]
    if not mine:
        raise RefusedError(f"'{candidate.name}' has no cells in the plan.", fix="Run: whichlora evaluate PROJECT")
    done = [cell for cell in mine if cell.id in generations and generations[cell.id].status == "done"]
    cell = (done or mine)[0]
    case = cases[cell.case]
    pixels = generations[cell.id].facts.get("pixels") if done else None
    return script.ExampleCell(case, cell.seed, photos[case.source].path), pixels


def _scene(
    plan: Plan, candidate: Candidate, loras: list[dict[str, Any]], example: script.ExampleCell
) -> comfyui.Scene:
    folder = Path(plan.base.location.partition("::")[0])
    photos = {photo.id: photo for photo in plan.sources}
    shown = [photos[name] for name in (example.case.source, *example.case.references)]
    return comfyui.Scene(
        transformer=_COMFY_FILES.get(canonical(plan.base.id), "your-base.safetensors"),
        loras=[(Path(item["file"]).name, item["weight"]) for item in loras],
        photos=[Path(photo.path).name for photo in shown],
        sizes=[fit_area(candidate.sampler.reference_area_px, photo.height_px, photo.width_px) for photo in shown],
        prompt=instruction(candidate, example.case), seed=example.seed, sampler=candidate.sampler,
        scheduler=_config(folder / "scheduler" / "scheduler_config.json"),
        zero_cond_t=bool(_config(folder / "transformer" / "config.json").get("zero_cond_t")),
    )


def _config(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _readme(plan: Plan, candidate: Candidate, loras: list[dict[str, Any]], example: script.ExampleCell) -> str:
    files = "\n".join(
        f"- `{item['file']}`: canonical copy of `{item['name']}` (SHA-256 {item['sha256']}), weight "
        f"{item['weight']:g}, {item['part']}, licence {item['licence']}"
        for item in loras
    ) or "- none: the base alone"
    versions = ", ".join(f"{name} {version}" for name, version in plan.libraries.items())
    return _README.format(
        name=" ".join(candidate.name.split()), base=plan.base.id, fingerprint=plan.base.fingerprint, files=files,
        photo=example.photo, seed=example.seed, versions=versions,
        sampler=f"{candidate.sampler.num_inference_steps} steps, guidance {candidate.sampler.true_cfg_scale:g}",
        terminal="" if candidate.sampler.scheduler.get("shift_terminal", 0) is None else
        " Its noise levels are not stretched to the base's `shift_terminal`.",
    )


_README = """\
# {name}

Base: `{base}` (fingerprint {fingerprint}). Sampler: {sampler}. Made with {versions}.

{files}

The LoRA files are yours to use under their own licences; a copy does not change them.

## With diffusers

```
python edit.py PHOTO --prompt "…" --out edited.png
```

Without `--prompt` and `--seed` it repeats one compared picture: `{photo}`, seed {seed}. With the same library versions
and device type the pixels agree to 1/255 (bf16 kernels of another device may round otherwise). It adds the LoRAs into
the weights and marks pictures for the text encoder, as the comparison did; the stock pipeline does neither.

## With ComfyUI

Copy `loras/*.safetensors` to `models/loras`, put the base's three files into `models/diffusion_models`,
`models/text_encoders` and `models/vae`, and open `comfyui-workflow.json` (or POST `comfyui-api.json` as `prompt`).
Set both sizes to the ratio of your photograph, in multiples of 32. ComfyUI scales and rounds in its own way, so expect
a like picture, not the same pixels.{terminal}
"""
