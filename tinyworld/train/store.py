"""Saving and loading weights between phases, in half precision."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from model import Codec
from safetensors.torch import load_file, save_file
from settings import Job
from torch import nn


def save_weights(module: nn.Module, path: Path) -> None:
    """fp16 safetensors of a module; the text encoder's tied head is left out."""
    state = {
        name: tensor.detach().half().contiguous().cpu()
        for name, tensor in module.state_dict().items()
        if not name.startswith("lm_head") and "num_batches" not in name
    }
    save_file(state, path)


def load_weights(module: nn.Module, path: Path) -> None:
    """Load a half-precision file into a module, strictly."""
    state = {name: tensor.float() for name, tensor in load_file(path).items()}
    report = module.load_state_dict(state, strict=False)
    missing = [k for k in report.missing_keys if "lm_head" not in k and "num_batches" not in k]
    if report.unexpected_keys or missing:
        raise RuntimeError(f"{path}: unexpected {report.unexpected_keys}, missing {missing}")


def save_statistics(codec: Codec, path: Path) -> None:
    """Latent mean and standard deviation as JSON."""
    figures = {"mean": codec.mean.flatten().tolist(), "std": codec.std.flatten().tolist()}
    path.write_text(json.dumps(figures))


def load_codec(vae: nn.Module, job: Job) -> Codec:
    """The autoencoder trained by an earlier phase."""
    folder = job.load if job.load and (job.load / "vae.safetensors").exists() else job.out
    load_weights(vae, folder / "vae.safetensors")
    figures = json.loads((folder / "statistics.json").read_text())
    vae.to(job.device).eval().requires_grad_(False)
    return Codec(vae, torch.tensor(figures["mean"]), torch.tensor(figures["std"]))


def found(job: Job, name: str) -> Path | None:
    """A file of an earlier phase: this run's own first, then the carried one."""
    for folder in (job.out, job.load):
        if folder and (folder / name).exists():
            return folder / name
    return None
