"""Measures the planted LoRAs' true consistency on the demonstration's character.

python measure.py WEIGHTS [--references 6] writes the product's data/truth.json. It draws on
the training path (batched, same weights and sampler as the product's), and takes minutes on
a processor.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from adapters import AdapterSet
from base import Editor
from cards import PLANTED, Planted
from encoder import PromptEncoder
from evaluate import DEMO_EDITS, EditTask, is_idle, outputs, rates, summary
from model import (
    build_text_encoder,
    build_tokenizer,
    build_transformer,
    build_vae,
    use_real_rotary,
    use_single_frame_convolutions,
)
from settings import Job

from data import InstructionTable
from export import load_factors
from store import load_codec, load_weights
from whichlora.tinyworld import DATA_FOLDER, TRUTH_FILE
from whichlora.tinyworld.characters import mina, reference_states
from whichlora.tinyworld.truth import TruthGrader


def load_editor(job: Job, weights: Path) -> Editor:
    """The damaged base with its text encoder."""
    tokenizer = build_tokenizer()
    text_encoder, transformer = build_text_encoder(tokenizer), build_transformer()
    load_weights(text_encoder, weights / "text_encoder.safetensors")
    load_weights(transformer, weights / "transformer.safetensors")
    use_real_rotary(transformer)
    use_single_frame_convolutions()
    prompt_encoder = PromptEncoder(text_encoder, tokenizer)
    return Editor(transformer, prompt_encoder, InstructionTable(prompt_encoder, job.device), job)


def put_on(adapters: AdapterSet, planted: Planted | None, weights: Path) -> None:
    """Switch to one planted LoRA (none: the base)."""
    adapters.reset()
    if planted is None or planted.recipe == "flux":
        return
    for name, (down, up) in load_factors(weights, planted.recipe).items():
        adapters.layers[name].down.data.copy_(down.float())
        adapters.layers[name].up.data.copy_(up.float())


def truth_entry(planted: Planted, report: dict) -> dict:
    """What tests may know about one planted LoRA."""
    return {
        "repository": planted.repository,
        "file": planted.file,
        "layout": planted.layout,
        "rank": 4,
        "alpha": planted.alpha,
        "role": planted.role,
        "card_faults": list(planted.card_faults),
        "rates": report,
    }


def write_truth(truth: dict) -> None:
    """Write truth.json."""
    TRUTH_FILE.write_text(json.dumps(truth, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def demo_pictures(job: Job, weights: Path, references: int) -> EditTask:
    """Mina's first references under each demonstration edit that changes something."""
    states = reference_states(references)
    pairs = [(i, e) for e in DEMO_EDITS for i in range(references) if not is_idle(states, i, e)]
    index = [i for i, _ in pairs]
    codec = load_codec(build_vae(), job)
    return EditTask.build(mina().repeated(len(index)), states.select(index), [e for _, e in pairs], codec, job, "demo")


def main() -> None:
    """Measure everything and write truth.json as it grows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("weights", type=Path)
    parser.add_argument("--references", type=int, default=4)
    parser.add_argument("--pictures", type=Path, help="folder to keep output pictures in")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    job = Job(toy=True, out=options.weights, load=options.weights)
    editor, codec = load_editor(job, options.weights), load_codec(build_vae(), job)
    adapters = AdapterSet(editor.transformer)
    task = demo_pictures(job, options.weights, options.references)
    job.log("pictures", count=len(task.edits))
    grader = TruthGrader()
    profile = json.loads((DATA_FOLDER / "profile.json").read_text())
    truth: dict = {"character": "Mina", "references": options.references, "loras": {}}
    for planted in (None, *PLANTED):
        if planted is not None and planted.recipe == "flux":
            truth["loras"][planted.recipe] = truth_entry(planted, {})
            write_truth(truth)
            continue
        name = planted.recipe if planted else "base"
        kept = options.pictures / f"{name}.pt" if options.pictures else None
        if kept and kept.exists():
            images = torch.load(kept)
        else:
            put_on(adapters, planted, options.weights)
            sampler = profile["lightning" if name == "lightning" else "default"]
            images = outputs(editor, codec, task, job, sampler["steps"], sampler["true_cfg_scale"])
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                torch.save(images, kept)
        report = rates(task, images, grader)
        job.log(name, summary(report))
        if planted is None:
            truth["base"] = {"rates": report}
        else:
            truth["loras"][name] = truth_entry(planted, report)
        write_truth(truth)


if __name__ == "__main__":
    main()
