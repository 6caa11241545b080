"""Photographs in, PNG out. Photographs are opened through the suite's guarded reader; PNGs carry their settings."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from whichlora.errors import PhotoError
from whichlora.families.base import Picture
from whichlora.suite.photos import open_picture
from whichlora.types import Candidate, Cell, EditCase, Plan, instruction

if TYPE_CHECKING:
    from whichlora.run.made import Made


def photograph_reader(plan: Plan, folder: Path) -> Callable[[str], Picture]:
    """Source id → photograph, checked against the hash in the plan and kept in memory for the next use.

    The returned function raises PhotoError when a file has changed since it was planned: its cells would otherwise be
    attributed to another picture.
    """
    known = {item.id: item for item in (*plan.sources, *plan.calibration, *plan.impostors)}

    @lru_cache(maxsize=64)
    def read(name: str) -> Picture:
        item = known[name]
        path = folder / item.path
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise PhotoError(f"The photograph '{path}' cannot be read: {error.strerror or error}.",
                             fix="Put it back, or run 'whichlora init' anew.") from error
        if found != item.sha256:
            raise PhotoError(f"The photograph '{path}' has changed since it was planned.",
                             fix="Run the same command again; a new plan is made from the photographs as they are.")
        return open_picture(path)

    return read


def png_bytes(picture: Picture, parameters: str, facts: Mapping[str, Any]) -> bytes:
    """PNG with the A1111 'parameters' text and one namespaced JSON chunk; no candidate name is written into it."""
    chunks = PngInfo()
    chunks.add_itxt("parameters", parameters)
    chunks.add_itxt("whichlora", json.dumps(facts, ensure_ascii=False, sort_keys=True))
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", pnginfo=chunks, compress_level=4)
    return buffer.getvalue()


def picture_bytes(made: Made, cell: Cell) -> bytes:
    """A finished cell's picture as it is stored."""
    return png_bytes(made.picture, made.parameters, {"cell": cell.id, "schema": "whichlora.picture/1"})


def parameters_text(candidate: Candidate, case: EditCase, cell: Cell, size: tuple[int, int]) -> str:
    """Settings in the text form that A1111 wrote first and most tools read."""
    sampler = candidate.sampler
    uses = (*sampler.adapters, *candidate.adapters)
    hashes = ", ".join(f"{use.sha256[:10]}:{use.weight:g}" for use in uses)
    lines = [instruction(candidate, case)]
    if sampler.true_cfg_scale > 1.0:
        lines.append(f"Negative prompt: {sampler.negative_prompt}")
    settings = (
        f"Steps: {sampler.num_inference_steps}, Sampler: FlowMatchEuler, CFG scale: {sampler.true_cfg_scale:g}, "
        f"Seed: {cell.seed}, Size: {size[1]}x{size[0]}"
    )
    lines.append(settings + (f', Lora hashes: "{hashes}"' if hashes else ""))
    return "\n".join(lines)


def pixel_hash(picture: Picture) -> str:
    """SHA-256 of shape and pixels, without any metadata: equal exactly when the pictures are."""
    return hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest()
