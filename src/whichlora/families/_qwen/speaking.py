"""The base's text encoder as a vision-language model that can answer. Loads nothing until asked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from whichlora.errors import UserError
from whichlora.families._qwen.identity import weight_identity
from whichlora.families._qwen.places import Places, check_weight_file, read_json
from whichlora.families.base import LanguageModel
from whichlora.types import fingerprint

SMALL_BYTES = 200_000_000
"""Weights below this are computed in fp32 on a CPU; larger ones stay bf16, which halves the memory."""
MODEL_TYPE = "qwen2_5_vl"


def of_base(places: Places) -> LanguageModel:
    """The text encoder of a base.

    Raises:
        UserError: Its weights are random numbers.
    """
    if places.random_weights:
        raise UserError("This base is made of random numbers for a rehearsal; its answers would mean nothing.",
                        fix="Name a base with weights, or a Qwen2.5-VL folder: --model FOLDER")
    folder, files = places.folder / "text_encoder", places.weights["text_encoder"]
    return LanguageModel(f"the text encoder of {places.id}", folder, _known(folder, files),
                         partial(_load_of_base, places))


def of_folder(folder: Path) -> LanguageModel:
    """A Qwen2.5-VL in a folder of its own: config.json, safetensors, tokenizer and processor.

    Raises:
        UserError: It is none, or its weights are pickles.
    """
    config = folder / "config.json"
    if not config.is_file() or read_json(config, "the judge").get("model_type") != MODEL_TYPE:
        raise UserError(f"'{folder}' holds no Qwen2.5-VL model.",
                        fix="Name a folder with config.json, *.safetensors, a tokenizer and a processor.")
    files = tuple(sorted(folder.glob("*.safetensors")))
    if not files:
        raise UserError(f"'{folder}' holds no safetensors weights.", fix="Pickled weights are not read.")
    for path in files:
        check_weight_file(path)
    return LanguageModel(folder.name, folder, _known(folder, files), partial(_load_folder, folder, files))


def _known(folder: Path, files: Sequence[Path]) -> str:
    return fingerprint(["vision-language", 1, read_json(folder / "config.json", "the text encoder"),
                        [weight_identity(path) for path in files]])


def _dtype(files: Sequence[Path], device: str) -> Any:
    import torch

    small = sum(path.stat().st_size for path in files) < SMALL_BYTES
    return torch.float32 if device == "cpu" and small else torch.bfloat16


def _load_of_base(places: Places, device: str) -> tuple[Any, Any]:
    from whichlora.families._qwen.loading import Parts

    parts = Parts(places, device, _dtype(places.weights["text_encoder"], device))
    return parts.text_encoder, parts.processor


def _load_folder(folder: Path, files: Sequence[Path], device: str) -> tuple[Any, Any]:
    from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

    from whichlora.families._qwen.loading import quiet

    quiet()
    model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        str(folder), dtype=_dtype(files, device), use_safetensors=True, local_files_only=True,
    )
    try:
        processor = Qwen2_5_VLProcessor.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"The processor in '{folder}' cannot be read: {str(error).splitlines()[0][:160]}",
                        fix="Copy the model's tokenizer and preprocessor files beside its weights.") from error
    return model.requires_grad_(False).eval().to(device), processor
