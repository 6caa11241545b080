"""Qwen2.5-VL as a judge, constrained to A, B or C by its logits. Needs torch and transformers; loads nothing by itself.

The judge may be the pipeline's own text encoder: it is this very class, if its language head came with the checkpoint.
Some repacks drop the head; the class then invents random weights for it, so the checkpoint's own list of tensors is
read before the model is trusted. An EditScore-style adapter can be put on top for the time of judging.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from whichlora.errors import UserError
from whichlora.metrics.base import Picture
from whichlora.metrics.judge.pairwise import QUESTIONS, Answer, Reply, Shown
from whichlora.vision.picture import resized

PIXELS = 1_200_000
"""Larger pictures are scaled down to this; judges of this family were tuned at 1–1.35 megapixels."""
MIN_MASS = 0.2
"""Probability that the allowed answers must hold together; below it the model wanted to say something else."""
REPLIES: dict[str, Reply] = {"A": "A", "B": "B", "C": "tie"}
HEAD = "lm_head.weight"
MAX_HEADER = 64 << 20
ADAPTER = "judge"
"""Name under which the adapter is put on."""
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def has_language_head(folder: Path) -> bool:
    """Whether a text encoder's checkpoint really holds a language head (or shares it with its embeddings).

    Args:
        folder: Folder with config.json and safetensors weights.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        names = _tensor_names(folder)
    except (OSError, ValueError, struct.error):
        return False
    tied = config.get("tie_word_embeddings", config.get("text_config", {}).get("tie_word_embeddings", False))
    if any(name == HEAD or name.endswith("." + HEAD) for name in names):
        return True
    return bool(tied) and any(name.endswith("embed_tokens.weight") for name in names)


def _tensor_names(folder: Path) -> set[str]:
    """Names of all tensors of a checkpoint, from its index or its file's header."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as data:
            (length,) = struct.unpack("<Q", data.read(8))
            if length > MAX_HEADER:
                raise ValueError("the header is too long")
            names |= set(json.loads(data.read(length))) - {"__metadata__"}
    return names


def without_head() -> UserError:
    """What is said of a text encoder that cannot speak."""
    return UserError("This text encoder comes without its language head, so it cannot answer questions.",
                     fix="Name a Qwen2.5-VL folder that has it (--model FOLDER), or judge by eye: "
                         "whichlora review PROJECT")


class QwenJudge:
    """Asks a Qwen2.5-VL; see `pairwise.compare`."""

    def __init__(self, model: Any, processor: Any, checkpoint: Path | None = None) -> None:
        """Check that the model can answer.

        Args:
            model: A `Qwen2_5_VLForConditionalGeneration`, such as a pipeline's `text_encoder`.
            processor: Its processor.
            checkpoint: Folder that the weights came from; None when the caller knows that the head is real.

        Raises:
            UserError: There is no language head, or an answer is no single token.
        """
        head = getattr(model, "lm_head", None)
        if head is None or (checkpoint is not None and not has_language_head(checkpoint)):
            raise without_head()
        if getattr(head.weight, "is_meta", False):
            raise UserError("The language head is not loaded.", fix="Load the text encoder whole before judging.")
        self._model, self._processor = model, processor
        self._tokens: dict[str, int] = {}
        for word in REPLIES:
            ids = processor.tokenizer.encode(word, add_special_tokens=False)
            if len(ids) != 1:
                raise UserError(f"The tokenizer has no single token for the answer '{word}'.",
                                fix="Use a Qwen2.5-VL checkpoint with its own tokenizer.")
            self._tokens[word] = int(ids[0])

    def __call__(self, shown: Shown) -> Answer:
        """Answer one question from the next token's probabilities; nothing is sampled, so the answer is fixed."""
        import torch

        pictures = [*shown.references, shown.source, shown.a, shown.b]
        text = conversation(shown)
        inputs = self._processor(
            text=[text], images=[limited(picture) for picture in pictures], return_tensors="pt",
        ).to(self._model.device)
        with torch.inference_mode():
            logits = self._model(**inputs).logits[0, -1].float()
        chances = torch.softmax(logits, -1)
        return read_answer({word: float(chances[token]) for word, token in self._tokens.items()})


def read_answer(chances: dict[str, float]) -> Answer:
    """The reply that the allowed tokens' probabilities speak for; none when they hold too little, or two are level."""
    mass = sum(chances.values())
    if not np.isfinite(mass) or mass < MIN_MASS:
        return Answer(None, 0.0, f"only {mass:.0%} of the probability is on an allowed answer")
    ranked = sorted(chances, key=lambda word: -chances[word])
    if chances[ranked[0]] == chances[ranked[1]]:
        return Answer("tie", chances[ranked[0]] / mass, "two answers are level")
    return Answer(REPLIES[ranked[0]], chances[ranked[0]] / mass)


def conversation(shown: Shown) -> str:
    """The model's own chat format: pictures with their names, then the question; the instruction is quoted as data.

    Written out here, because repacks of the text encoder come with other chat templates or with none.
    """
    picture = "<|vision_start|><|image_pad|><|vision_end|>\n"
    parts = [f"Reference picture {index + 1} of the character: {picture}" for index in range(len(shown.references))]
    parts += [f"{name}: {picture}" for name in ("The picture before the edit", "Edited picture A", "Edited picture B")]
    quoted = shown.instruction.replace("<|", "<").replace("\n", " ")[:500]
    parts.append(
        f'The edit that was asked for, quoted: """{quoted}"""\n{QUESTIONS[shown.question]}\n'
        "Answer with one letter: A, B, or C if neither is better."
    )
    return (
        "<|im_start|>system\nYou compare pictures.<|im_end|>\n<|im_start|>user\n" + "".join(parts)
        + "<|im_end|>\n<|im_start|>assistant\n"
    )


def limited(picture: Picture) -> Picture:
    """The picture at no more than `PIXELS` pixels."""
    height, width = picture.shape[:2]
    scale = min(1.0, (PIXELS / (height * width)) ** 0.5)
    # A copy: torch warns of arrays that must not be written to, such as pictures that are kept.
    return np.array(resized(picture, max(28, round(height * scale)), max(28, round(width * scale))))


@contextmanager
def judging_adapter(model: Any, folder: Path) -> Generator[None]:
    """Put a LoRA (EditScore style, PEFT layout, safetensors) on the model while judging, and take it off again.

    A text encoder that kept the adapter would encode other prompts than before; so it is removed whatever happens.

    Args:
        model: The judge's model.
        folder: Folder with adapter_config.json and adapter_model.safetensors.

    Raises:
        UserError: The folder is no such adapter, or not all of it reached the model.
    """
    require_adapter(folder)
    try:
        model.load_adapter(str(folder), adapter_name=ADAPTER)
        _require_reached(model, folder)
        yield
    finally:
        _take_off(model)


def _take_off(model: Any) -> None:
    """Put the very modules back that the adapter wrapped.

    `delete_adapter` of transformers leaves the wrappers, and refuses to work at all with some releases of PEFT that
    `load_adapter` accepts.
    """
    wrapped = [(name, module) for name, module in model.named_modules() if ADAPTER in getattr(module, "lora_A", {})]
    for name, module in wrapped:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module.base_layer)
    if hasattr(model, "peft_config"):
        del model.peft_config
    model._hf_peft_config_loaded = False


def require_adapter(folder: Path) -> None:
    """Refuse a folder that holds no adapter of safetensors.

    Raises:
        UserError: A file is missing.
    """
    if not all((folder / name).is_file() for name in ADAPTER_FILES):
        raise UserError(f"'{folder}' holds no adapter for the judge.",
                        fix="It needs adapter_config.json and adapter_model.safetensors; pickled files are not read.")


def _require_reached(model: Any, folder: Path) -> None:
    """Refuse an adapter that does not reach the model whole: the loader fills what it does not find with noise.

    Raises:
        UserError: A weight of the file is not in the model, or the model has one that is not in the file.
    """
    import torch
    from safetensors import safe_open

    with safe_open(str(folder / ADAPTER_FILES[1]), framework="pt") as file:
        names = [name for name in file.keys() if ".lora_B." in name]  # noqa: SIM118
        wanted = [file.get_tensor(name) for name in names]
    there = [module.lora_B[ADAPTER].weight.detach() for module in model.modules()
             if ADAPTER in getattr(module, "lora_B", {})]
    reached = 0
    for tensor in wanted:
        reached += any(
            tensor.shape == mine.shape and torch.equal(tensor.to(mine.device, mine.dtype), mine) for mine in there
        )
    if not reached or reached < max(len(wanted), len(there)):
        raise UserError(
            f"Of the {len(wanted)} modules that the adapter in '{folder}' changes, {reached} exist in the judge.",
            fix="Use an adapter that was made for this very model (Qwen2.5-VL of the same size).",
        )
