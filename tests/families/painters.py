"""Builders of painter bases and painter LoRAs, for tests of everything that needs a fast family."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from whichlora.types import AdapterUse


def base(folder: Path, **settings) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "painter.json").write_text(json.dumps({"name": "painter", **settings}), encoding="utf-8")
    return folder


def lora(path: Path, **strengths: float) -> Path:
    save_file({f"painter.{name}": np.array([value], np.float32) for name, value in strengths.items()}, path)
    return path


def use(path: Path, weight: float = 1.0) -> AdapterUse:
    return AdapterUse(path.stem, str(path), hashlib.sha256(path.read_bytes()).hexdigest(), weight)
