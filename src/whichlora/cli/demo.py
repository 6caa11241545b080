"""`whichlora demo`: the main job on the embedded tiny model. The only verb that knows it.

It sets up an ordinary project (photographs of one toy character, community-style LoRAs with cards that partly
mislead) and then runs the same chain as `evaluate`. Afterwards the exact ground truth grades the pictures, in a
column that no decision reads.
"""

from __future__ import annotations

import json as json_module
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import guarded, progress_console
from whichlora.quoting import quoted

if TYPE_CHECKING:
    from whichlora.store import Store
    from whichlora.types import Plan

_PHOTOS = 12
_QUICK_PHOTOS = 2


@guarded
def command(
    folder: Annotated[Path, typer.Argument(help="Where the demo project goes; run again to continue it.")] = Path(
        "whichlora-demo"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="Two photographs only: a look at the machinery.")] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the live page and the report.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Compare planted LoRAs on the embedded model and decide."""
    from whichlora.cli._budget import Wish
    from whichlora.cli.evaluate import chain, finish
    from whichlora.cli.grading import GradingProcess
    from whichlora.cli.project import open_project
    from whichlora.cli.stages import require_run_extra
    from whichlora.workspace import SUITE_NAME

    require_run_extra()
    if not (folder / SUITE_NAME).is_file():
        _one_thread()
        set_up(folder, photos=_QUICK_PHOTOS if quick else _PHOTOS)
    progress_console.print(
        "A tiny Qwen-Image-Edit that ships with whichlora edits a toy character. Nine LoRAs from its 'community' "
        "want the job; some cards mislead.\nWhich one keeps the character?"
    )
    grading = GradingProcess(folder)

    def after_score(store: Store, plan: Plan) -> None:
        with progress_console.status("grading with the ground truth (shown apart, read by no decision)"):
            grading.finish()

    try:
        outcome = chain(open_project(folder), "cpu", markdown=folder / "report" / "results.md",
                        command=f"whichlora demo {quoted(folder)}", show_live=open_page, after_score=after_score,
                        wish=Wish(full=True))
    finally:
        grading.stop()
    finish(outcome, "whichlora.demo/1", json=json, open_page=open_page)


def _one_thread() -> None:
    """Rendering toy pictures is faster without threads that wait for one another."""
    import torch

    torch.set_num_threads(1)


def set_up(folder: Path, *, photos: int, loras: dict[str, Path] | None = None) -> None:
    """Create the demo project.

    Args:
        folder: Where it goes.
        photos: Number of source photographs.
        loras: Repository name → folder of its files; the planted ones when left out (tests hand over others).
    """
    from whichlora.cli.init import create_project
    from whichlora.tinyworld import LORA_FOLDER, PIPELINE_FOLDER, PROFILE_FILE
    from whichlora.tinyworld.characters import write_demo_references, write_impostors

    profile = json_module.loads(PROFILE_FILE.read_text(encoding="utf-8"))
    repositories = loras or {path.name: path for path in sorted(LORA_FOLDER.iterdir()) if path.is_dir()}
    with tempfile.TemporaryDirectory() as scratch:
        refs = write_demo_references(Path(scratch) / "refs", photos)
        others = write_impostors(Path(scratch) / "impostors")
        candidates = [_candidate(name, path) for name, path in repositories.items()]
        create_project(
            folder, refs, others, template="figure", candidates=candidates, samplers=_samplers(profile),
            head={"name": "mina", "base": {"family": "qwen_image_edit", "location": str(PIPELINE_FOLDER)},
                  "subject": "figure", "sources": {"count": photos}},
        )
    for name, path in repositories.items():
        shutil.copytree(path, folder / "loras" / name)


def _samplers(profile: dict[str, Any]) -> dict[str, Any]:
    """The base's own sampler, and the few-step one that a distilled LoRA needs."""
    area = {"reference_area_px": profile["vae_image_area"], "condition_area_px": profile["vae_image_area"]}
    return {
        name: {"num_inference_steps": profile[key]["steps"], "true_cfg_scale": profile[key]["true_cfg_scale"], **area}
        for name, key in (("default", "default"), ("few-steps", "lightning"))
    }


def _candidate(name: str, folder: Path) -> dict[str, Any]:
    """A suite entry for a repository folder: its weight file, licence and what its card claims."""
    weights = sorted(folder.glob("*.safetensors"))[0]
    front, claim = _card(folder / "README.md")
    tags = [str(tag).lower() for tag in front.get("tags") or []]
    entry = {
        "name": name.rpartition("--")[2].removeprefix("Qwen-Edit-Tiny-"), "loras": f"{name}/{weights.name}",
        "licence": str(front.get("license") or "unknown"), "card": claim,
    }
    if "distillation" in tags or "lightning" in tags:
        entry["sampler"] = "few-steps"
    return entry


def _card(path: Path) -> tuple[dict[str, Any], str]:
    """Front matter of a model card, and its first sentence of prose."""
    import yaml

    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    front: dict[str, Any] = {}
    if text.startswith("---"):
        _, head, text = text.split("---", 2)
        front = yaml.safe_load(head) or {}
    lines = [line.strip() for line in text.splitlines()]
    prose = [line for line in lines if line and not line.startswith(("#", "!", "`"))]
    return front, (prose[0][:160] if prose else "")
