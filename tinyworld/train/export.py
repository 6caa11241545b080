"""Writes the product's data folder: pipeline, planted LoRAs, sampler profile, scorer."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from cards import PLANTED, Planted
from diffusers import QwenImageEditPlusPipeline
from model import (
    build_processor,
    build_scheduler,
    build_text_encoder,
    build_tokenizer,
    build_transformer,
    build_vae,
)
from onnx_export import export_reader
from safetensors.torch import load_file, save_file
from scorer import FigureReader
from torch import Tensor

from store import load_weights
from whichlora.tinyworld import DATA_FOLDER

Factors = dict[str, tuple[Tensor, Tensor]]

PROFILE = {
    "vae_image_area": 128 * 128,
    "image_size": [128, 128],
    "default": {"steps": 8, "true_cfg_scale": 1.0, "negative_prompt": None},
    "lightning": {"steps": 4, "true_cfg_scale": 1.0, "negative_prompt": None},
    "text_positions": "three-axis (pass mm_token_type_ids)",
}


def export_pipeline(weights: Path, folder: Path) -> None:
    """A diffusers folder in half precision from the trained parts."""
    statistics = json.loads((weights / "statistics.json").read_text())
    tokenizer = build_tokenizer()
    parts = {
        "text_encoder": build_text_encoder(tokenizer),
        "vae": build_vae(mean=statistics["mean"], std=statistics["std"]),
        "transformer": build_transformer(),
    }
    for name, module in parts.items():
        load_weights(module, weights / f"{name}.safetensors")
    parts["text_encoder"].tie_weights()
    shutil.rmtree(folder, ignore_errors=True)
    pipeline = QwenImageEditPlusPipeline(
        scheduler=build_scheduler(),
        tokenizer=tokenizer,
        processor=build_processor(tokenizer),
        **{name: module.half().eval() for name, module in parts.items()},
    )
    pipeline.save_pretrained(folder)


def load_factors(weights: Path, recipe: str) -> Factors:
    """(down, up) by layer name; the planted frauds are derived from real ones."""
    if recipe == "flux":
        return _flux_factors()
    found: dict[str, Tensor] = {}
    for path in sorted(weights.glob("loras_*.safetensors")):
        found |= load_file(path)
    source = "background" if recipe == "zero" else recipe
    layers = [key[len(source) + 1 : -5] for key in found if key.startswith(f"{source}/") and key.endswith(".down")]
    factors = {n: (found[f"{source}/{n}.down"], found[f"{source}/{n}.up"]) for n in layers}
    if recipe == "zero":
        attention = {n: f for n, f in factors.items() if ".attn.to_" in n and "out" not in n}
        return {n: (down, torch.zeros_like(up)) for n, (down, up) in attention.items()}
    return factors


def _flux_factors() -> Factors:
    generator = torch.Generator().manual_seed(12)

    def draw(*shape: int) -> Tensor:
        return (torch.randn(*shape, generator=generator) * 0.05).half()

    names = [f"double_blocks.{i}.{n}" for i in range(2) for n in ("img_attn.qkv", "txt_attn.qkv")]
    names += [f"single_blocks.{i}.linear1" for i in range(2)]
    return {name: (draw(4, 256), draw(768, 4)) for name in names}


def laid_out(factors: Factors, layout: str, alpha: float) -> dict[str, Tensor]:
    """Tensors under the names that the layout's trainers write; effect = alpha / rank."""
    patterns = {
        "diffusers": "transformer.{}.lora_{}.weight",
        "ai_toolkit": "diffusion_model.{}.lora_{}.weight",
        "diffsynth": "{}.lora_{}.default.weight",
        "peft": "base_model.model.{}.lora_{}.weight",
        "flux": "diffusion_model.{}.lora_{}.weight",
        "kohya": "lora_unet_{}.lora_{}.weight",
        "lightning": "{}.lora_{}.weight",
    }
    pairs = ("down", "up") if layout in ("kohya", "lightning") else ("A", "B")
    tensors: dict[str, Tensor] = {}
    for name, (down, up) in factors.items():
        shown = name.replace(".", "_") if layout == "kohya" else name
        # The trained effect is up·down; a layout whose alpha is below the rank shrinks it again.
        scale = down.shape[0] / alpha
        for label, tensor in zip(pairs, (down, (up.float() * scale).half()), strict=True):
            tensors[patterns[layout].format(shown, label)] = tensor.contiguous()
        if layout in ("kohya", "lightning"):
            stem = patterns[layout].format(shown, pairs[0]).removesuffix(".lora_down.weight")
            tensors[f"{stem}.alpha"] = torch.tensor(alpha, dtype=torch.float16)
    return tensors


def export_lora(planted: Planted, weights: Path, folder: Path) -> None:
    """One repository folder with its card, weights and, for PEFT, its configuration."""
    target = folder / planted.repository.replace("/", "--")
    target.mkdir(parents=True)
    factors = load_factors(weights, planted.recipe)
    tensors = laid_out(factors, planted.layout, planted.alpha)
    save_file(tensors, target / planted.file, metadata=planted.metadata or {"format": "pt"})
    (target / "README.md").write_text(planted.card, encoding="utf-8")
    if planted.layout == "peft":
        leaves = sorted({name.split(".", 2)[2] for name in factors})
        config = {
            "peft_type": "LORA",
            "base_model_name_or_path": "Qwen/Qwen-Image-Edit",
            "r": 4,
            "lora_alpha": planted.alpha,
            "target_modules": leaves,
        }
        (target / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")


def main() -> None:
    """Export everything from one folder of trained weights."""
    parser = argparse.ArgumentParser()
    parser.add_argument("weights", type=Path)
    weights = parser.parse_args().weights
    export_pipeline(weights, DATA_FOLDER / "pipeline")
    loras = DATA_FOLDER / "loras"
    shutil.rmtree(loras, ignore_errors=True)
    for planted in PLANTED:
        export_lora(planted, weights, loras)
    (DATA_FOLDER / "profile.json").write_text(json.dumps(PROFILE, indent=1) + "\n")
    reader = FigureReader()
    load_weights(reader, weights / "scorer.safetensors")
    export_reader(reader, DATA_FOLDER.parents[1] / "models" / "figure_reader.onnx")


if __name__ == "__main__":
    main()
