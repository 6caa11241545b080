"""Opening a judge: its checkpoint is looked at first, and gigabytes are read only when it can answer."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from whichlora import registry
from whichlora.errors import UserError
from whichlora.families.base import LanguageModel
from whichlora.metrics.judge.pairwise import QUESTIONS
from whichlora.metrics.judge.qwen import (
    ADAPTER_FILES,
    QwenJudge,
    has_language_head,
    judging_adapter,
    require_adapter,
    without_head,
)
from whichlora.types import BaseModel, fingerprint


def find_judge(base: BaseModel, folder: Path | None) -> LanguageModel:
    """The model that will be asked: the base's own text encoder, or a Qwen2.5-VL in a folder. Loads nothing.

    Raises:
        UserError: There is none, or its checkpoint lacks the language head.
    """
    if folder is not None:
        from whichlora.families._qwen.speaking import of_folder

        found = of_folder(folder)
    else:
        offer: Any = getattr(registry.load("families", base.family), "language_model", None)
        if offer is None:
            raise UserError(f"The base '{base.id}' brings no vision-language model that could judge.",
                            fix="Name a Qwen2.5-VL folder: --model FOLDER")
        found = offer(base)
    if not has_language_head(found.folder):
        raise without_head()
    return found


def judge_fingerprint(model: LanguageModel, adapter: Path | None) -> str:
    """Whose answers they are: weights, adapter and the wording of the questions."""
    files = [] if adapter is None else [
        hashlib.sha256((adapter / name).read_bytes()).hexdigest() for name in ADAPTER_FILES
    ]
    return fingerprint(["judge", 1, model.fingerprint, files, dict(QUESTIONS)], length=16)


@contextmanager
def open_judge(model: LanguageModel, device: str, adapter: Path | None = None) -> Generator[QwenJudge]:
    """Load a judge, with an EditScore-style adapter on it if one is given.

    Args:
        model: From `find_judge`.
        device: 'cpu', 'cuda' or 'mps'.
        adapter: Folder with adapter_config.json and adapter_model.safetensors.

    Raises:
        UserError: The model cannot answer, or the adapter does not reach it.
    """
    if adapter is not None:
        require_adapter(adapter)
    network, processor = model.load(device)
    judge = QwenJudge(network, processor, model.folder)
    with ExitStack() as stack:
        if adapter is not None:
            stack.enter_context(judging_adapter(network, adapter))
        yield judge
