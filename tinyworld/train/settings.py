"""Sizes of the tiny model and where training reads and writes."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

IMAGE = 128
LATENT = 16  # latent height and width
CHANNELS = 16
TOKENS = 64  # packed latent tokens of one picture
THUMB = 84  # side of the picture that the text encoder sees
SEED = 20261123


@dataclass(frozen=True)
class Sizes:
    """Widths and depths; head size of the transformer is width / heads."""

    width: int = 192
    heads: int = 6
    layers: int = 6
    text: int = 128
    text_layers: int = 2
    vision: int = 64
    vae: int = 16
    vae_blocks: int = 1


SIZES = Sizes()


@dataclass
class Job:
    """One process of a training run."""

    toy: bool
    out: Path
    load: Path | None
    rank: int = int(os.environ.get("RANK", "0"))
    world: int = int(os.environ.get("WORLD_SIZE", "1"))
    started: float = field(default_factory=time.time)

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return torch.device("cpu" if self.toy else f"cuda:{self.rank}")

    @property
    def leads(self) -> bool:
        """Whether this process writes the shared files."""
        return self.rank == 0

    def log(self, *words: object, **figures: object) -> None:
        """One line with the elapsed seconds, from the leading process (others say who)."""
        text = " ".join([*map(str, words), *(f"{k}={v}" for k, v in figures.items())])
        print(f"[{time.time() - self.started:6.1f} r{self.rank}] {text}", flush=True)

    def amp(self) -> torch.autocast:
        """bfloat16 autocast on a GPU, plain float32 at toy scale."""
        kind = "cpu" if self.toy else "cuda"
        return torch.autocast(kind, torch.bfloat16, enabled=not self.toy, cache_enabled=False)
