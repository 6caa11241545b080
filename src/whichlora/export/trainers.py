"""Settings files with which musubi-tuner (24 GB, block swap) and ai-toolkit (32 GB) train on an exported data set.

Argument names are those of musubi-tuner 0.3.4 (docs/qwen_image.md, docs/dataset_config.md, docs/block_swap.md) and of
ai-toolkit's config/examples/train_lora_qwen_image_edit_2509_32gb.yaml. No training was run with them here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whichlora.export.folder import write_text
from whichlora.export.layouts import WrittenPair
from whichlora.export.recipe import Recipe
from whichlora.survey.bases import EDIT, EDIT_2509, EDIT_2511, canonical

_DIT = "split_files/diffusion_models/"
_VERSIONS = {
    # base → musubi's --model_version, its transformer file at Comfy-Org/Qwen-Image-Edit_ComfyUI, ai-toolkit's arch,
    # and the 3-bit recovery adapter with which ai-toolkit fits 32 GB
    EDIT: ("edit", "qwen_image_edit_bf16.safetensors", "qwen_image_edit", "qwen_image_edit_torchao_uint3.safetensors"),
    EDIT_2509: ("edit-2509", "qwen_image_edit_2509_bf16.safetensors", "qwen_image_edit_plus",
                "qwen_image_edit_2509_torchao_uint3.safetensors"),
    EDIT_2511: ("edit-2511", "qwen_image_edit_2511_bf16.safetensors", "qwen_image_edit_plus",
                "qwen_image_edit_2511_torchao_uint3.safetensors"),
}
SWAPPED_BLOCKS = 26
"""musubi-tuner's table: 16 of 60 blocks swapped take 24 GB and 45 take 12 GB at 1024² without source photographs; the
photograph's tokens double the sequence, so more is swapped than the table asks for 24 GB."""


@dataclass(frozen=True, slots=True)
class Training:
    """What is trained."""

    name: str
    """Name of the new LoRA's files; safe for every file system."""
    base_id: str
    """Base that it is trained on."""
    trigger: str
    recipe: Recipe


def trainable(base_id: str) -> bool:
    """Whether settings can be written for a base."""
    return canonical(base_id) in _VERSIONS


def write_musubi(folder: Path, training: Training) -> None:
    """Write dataset.toml, train.toml and the three commands beside a 'musubi' layout."""
    version, dit, _, _ = _VERSIONS[canonical(training.base_id)]
    recipe = training.recipe
    write_text(folder / "dataset.toml", _MUSUBI_DATA)
    write_text(folder / "train.toml", _MUSUBI_TRAIN.format(
        version=version, dit=dit, rank=recipe.rank, rank_why=_line(recipe.rank_why), steps=recipe.steps,
        steps_why=_line(recipe.steps_why), rate=f"{recipe.learning_rate or 5e-5:.1e}",
        rate_why=_line(recipe.learning_rate_why), swap=SWAPPED_BLOCKS, name=json.dumps(training.name),
        save=max(100, recipe.steps // 6),
    ))
    write_text(folder / "README.md", _MUSUBI_README.format(
        version=version, dit=_DIT + dit, local=dit, base=training.base_id, swap=SWAPPED_BLOCKS,
        examples="\n".join(f"- {_line(text)}" for text in recipe.examples) or "- none says anything",
    ))


def write_ai_toolkit(folder: Path, training: Training, written: Sequence[WrittenPair]) -> None:
    """Write train_32gb.yaml beside an 'ai-toolkit' layout."""
    _, _, arch, adapter = _VERSIONS[canonical(training.base_id)]
    recipe = training.recipe
    counts = max(len(item.controls) for item in written)
    controls = ["control" if index == 0 else f"control_{index + 1}" for index in range(counts)]
    shown = {item.pair.case.edit: item for item in reversed(written)}
    samples = "".join(
        f"          - prompt: {json.dumps(item.pair.caption, ensure_ascii=False)}\n"
        f"            ctrl_img_1: \"control/{item.pair.name}.png\"\n"
        for _, item in sorted(shown.items())[:4]
    )
    write_text(folder / "train_32gb.yaml", _AI_TOOLKIT.format(
        name=json.dumps(training.name), rank=recipe.rank, rank_why=_line(recipe.rank_why), steps=recipe.steps,
        steps_why=_line(recipe.steps_why), rate=f"{recipe.learning_rate or 1e-4:.1e}",
        rate_why=_line(recipe.learning_rate_why), base=json.dumps(canonical(training.base_id)), arch=arch,
        adapter=adapter, save=max(100, recipe.steps // 6), samples=samples.rstrip("\n"),
        controls="".join(f"\n            - {json.dumps(name)}" for name in controls),
    ))


def _line(text: str) -> str:
    """One line of a comment, whatever a card says."""
    return " ".join(text.split())


_MUSUBI_DATA = """\
# musubi-tuner data set. Paths are relative: start the commands in this folder.
[general]
resolution = [1024, 1024]  # buckets of about this area; the base edits at one megapixel
caption_extension = ".txt"
batch_size = 1
enable_bucket = true
bucket_no_upscale = true   # a small picture has no detail that enlarging could teach

[[datasets]]
image_directory = "images"     # what came out and was accepted, with the instruction in NAME.txt
control_directory = "control"  # what went in: NAME_0.png
cache_directory = "cache"
control_resolution = [1024, 1024]  # as the base's own code resizes; musubi-tuner strongly recommends it
num_repeats = 1
"""
_MUSUBI_TRAIN = """\
# musubi-tuner, LoRA on a card of 24 GB: qwen_image_train_network.py --config_file train.toml
# Starting points, not measurements. Compare every saved checkpoint with whichlora before believing one.
[model]
model_version = "{version}"
dit = "models/{dit}"
vae = "models/qwen_image_vae.safetensors"
text_encoder = "models/qwen_2.5_vl_7b.safetensors"
fp8_base = true         # the bf16 transformer alone is 41 GB;
fp8_scaled = true       # scaled, because plain fp8 shows a grid
blocks_to_swap = {swap}     # of 60; their table gives 24 GB at 16 without source photographs, which need room here
block_swap_h2d_only = true  # the base is frozen, so nothing needs copying back
sdpa = true
mixed_precision = "bf16"

[network]
network_module = "networks.lora_qwen_image"
network_dim = {rank}        # {rank_why}
network_alpha = {rank}      # equal to the rank: strength 1.0 means the same in every program that loads it

[training]
dataset_config = "dataset.toml"
max_train_steps = {steps}   # {steps_why}
learning_rate = {rate}    # {rate_why}
optimizer_type = "adamw8bit"
gradient_checkpointing = true
timestep_sampling = "qwen_shift"  # the noise levels that the base's sampler visits at each picture's size
weighting_scheme = "none"
max_data_loader_n_workers = 2
persistent_data_loader_workers = true
seed = 42

[output]
output_dir = "output"
output_name = {name}
save_every_n_steps = {save}
"""
_MUSUBI_README = """\
# Train with musubi-tuner on 24 GB

Base: `{base}`. 64 GB of main memory are recommended, since {swap} blocks are swapped there.

1. Put three files into `models/`: `{local}` (Comfy-Org/Qwen-Image-Edit_ComfyUI, `{dit}`), and from
   Comfy-Org/Qwen-Image_ComfyUI `qwen_2.5_vl_7b.safetensors` and `qwen_image_vae.safetensors`. bf16 only: the fp8 files
   cannot be trained on.
2. Start these in this folder, with `MUSUBI` as the path of musubi-tuner:

```
python $MUSUBI/src/musubi_tuner/qwen_image_cache_latents.py --dataset_config dataset.toml \\
  --vae models/qwen_image_vae.safetensors --model_version {version}
python $MUSUBI/src/musubi_tuner/qwen_image_cache_text_encoder_outputs.py --dataset_config dataset.toml \\
  --text_encoder models/qwen_2.5_vl_7b.safetensors --batch_size 1 --model_version {version} --fp8_vl
accelerate launch --num_cpu_threads_per_process 1 --mixed_precision bf16 \\
  $MUSUBI/src/musubi_tuner/qwen_image_train_network.py --config_file train.toml
```

3. Name every checkpoint in `output/` as a candidate of the project and run `whichlora evaluate` again: the last one is
   often over-trained.

How surveyed LoRAs for these capabilities were trained:

{examples}
"""
_AI_TOOLKIT = """\
---
# ai-toolkit, LoRA on a card of 32 GB: start in this folder with  python $AI_TOOLKIT/run.py train_32gb.yaml
# Starting points, not measurements. Compare every saved checkpoint with whichlora before believing one.
job: extension
config:
  name: {name}
  process:
    - type: "diffusion_trainer"
      training_folder: "output"
      device: "cuda:0"
      network:
        type: "lora"
        linear: {rank}  # {rank_why}
        linear_alpha: {rank}  # equal to the rank: ai-toolkit writes no alpha, so every program reads strength 1.0
      save:
        dtype: "bf16"
        save_every: {save}
        max_step_saves_to_keep: 8  # the best is seldom the last
      datasets:
        - folder_path: "images"
          control_path:{controls}
          caption_ext: "txt"
          caption_dropout_rate: 0.05
          resolution: [512, 768, 1024]  # cheaper small pictures first teach the edit, large ones the detail
      train:
        batch_size: 1
        cache_text_embeddings: true  # needed to fit 32 GB
        steps: {steps}  # {steps_why}
        gradient_accumulation: 1
        timestep_type: "weighted"
        train_unet: true
        train_text_encoder: false
        gradient_checkpointing: true
        noise_scheduler: "flowmatch"
        optimizer: "adamw8bit"
        lr: {rate}  # {rate_why}
        dtype: "bf16"
      model:
        name_or_path: {base}
        arch: "{arch}"
        quantize: true
        qtype: "uint3|ostris/accuracy_recovery_adapters/{adapter}"  # 3 bit is what 32 GB take
        quantize_te: true
        qtype_te: "qfloat8"
        low_vram: true
      sample:
        sampler: "flowmatch"
        sample_every: {save}
        width: 1024
        height: 1024
        samples:
{samples}
        neg: ""
        seed: 42
        walk_seed: true
        guidance_scale: 3
        sample_steps: 25
meta:
  name: "[name]"
  version: "1.0"
"""
