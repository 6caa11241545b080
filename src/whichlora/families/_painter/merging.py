"""Merging painter LoRAs: every number is combined as one entry of a matrix would be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whichlora.lora.merge import Recipe, combine
from whichlora.lora.merged import recipe_id
from whichlora.types import AdapterUse


def merge_strengths(
    uses: Sequence[AdapterUse], recipe: Recipe, folder: Path,
    read: Callable[[AdapterUse], Iterable[tuple[str, float]]],
) -> AdapterUse:
    """Merge LoRAs of single numbers into one file.

    Args:
        uses: The parts with their weights.
        recipe: The method; 'cat', 'linear' and 'svd' all add.
        folder: Where the file goes, under the recipe's identity.
        read: Gives (name, number) of a part.
    """
    from safetensors.numpy import save_file

    found: dict[str, list[tuple[int, float, float]]] = {}
    for index, use in enumerate(uses):
        for name, value in read(use):
            found.setdefault(name, []).append((index, use.weight, value))
    method = recipe.method.removesuffix("_svd")
    merged: dict[str, NDArray[np.float32]] = {}
    for name, parts in found.items():
        total = combine(
            [np.array([[value]]) for _, _, value in parts], [weight for _, weight, _ in parts],
            "linear" if method in ("cat", "svd") else method, recipe, [f"{name}|{index}" for index, _, _ in parts],
        )
        merged[name] = np.clip(total, -1.0, 1.0).reshape(1).astype(np.float32)
    path = folder / f"{recipe_id(uses, recipe)}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(merged, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return AdapterUse(f"{recipe.method} of " + " + ".join(use.name for use in uses), str(path), digest)
