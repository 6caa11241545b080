"""How a LoRA was trained, by its header's metadata and by the numbers in its file name. Reads text only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from whichlora.survey.entry import Training
from whichlora.survey.text import clean, stem


def from_metadata(metadata: Mapping[str, str]) -> Training:
    """Training facts of a safetensors header, as ai-toolkit, musubi-tuner, kohya, OneTrainer and PEFT write them."""
    software = _json(metadata.get("software"))
    info = _json(metadata.get("training_info"))
    adapter = _json(metadata.get("lora_adapter_metadata"))
    facts: dict[str, Any] = {
        "trainer": _trainer(metadata, software),
        "rank": _whole(metadata.get("ss_network_dim")) or _first_whole(adapter, "r"),
        "alpha": _real(metadata.get("ss_network_alpha")) or _real(_first(adapter, "lora_alpha")),
        "steps": _whole(metadata.get("ss_steps")) or _whole(info.get("step"))
        or _whole(metadata.get("ss_max_train_steps")),
        "learning_rate": _real(metadata.get("ss_learning_rate")),
        "dataset_size": _whole(metadata.get("ss_num_train_items")) or _whole(metadata.get("ss_num_train_images")),
    }
    known = {name: value for name, value in facts.items() if value is not None}
    basis = (f"{', '.join(sorted(known)).replace('_', ' ')}: by the file's own metadata",) if known else ()
    return Training(**known, basis=basis)


def from_file_name(name: str) -> Training:
    """Steps and rank that a file name carries, such as 'qwen-edit-skin_1.1_000002750' or 'enhance_r64'."""
    low = stem(name).lower()
    steps = re.search(r"[_-](0{2,}\d{3,6})(?!\d)|(?<!\d)(\d{3,6})[_-]?steps?(?![a-z])", low)
    rank = re.search(r"(?:rank|[_-]r|dim)[_-]?(4|8|16|32|48|64|96|128|256)(?!\d)", low)
    facts: dict[str, Any] = {}
    if steps:
        facts["steps"] = int(steps[1] or steps[2])
    if rank:
        facts["rank"] = int(rank[1])
    basis = (f"{', '.join(sorted(facts))}: from the file name",) if facts else ()
    return Training(**facts, basis=basis)


def merge(*sources: tuple[str, Training]) -> tuple[Training, tuple[str, ...]]:
    """Join training facts, the most trusted source first; every disagreement is told, none is averaged.

    Args:
        sources: (name of the source, its facts), most trusted first.

    Returns:
        The joined facts, and one sentence per disagreement.
    """
    joined: dict[str, Any] = {}
    origin: dict[str, str] = {}
    conflicts: list[str] = []
    for source, facts in sources:
        for name, value in facts.known().items():
            if name not in joined:
                joined[name], origin[name] = value, source
            elif name in {"rank", "alpha", "steps"} and joined[name] != value:
                conflicts.append(f"{name}: {origin[name]} says {joined[name]:g}, {source} says {value:g}")
    basis = tuple(dict.fromkeys(line for _, facts in sources for line in facts.basis))
    return Training(**joined, basis=basis), tuple(conflicts)


def with_rank(training: Training, rank: int | None) -> Training:
    """The same facts with the rank that tensor shapes prove."""
    if not rank:
        return training
    fields = {**asdict(training), "rank": rank}
    fields["basis"] = (*training.basis, "rank: by the tensor shapes")
    return Training(**fields)


def _trainer(metadata: Mapping[str, str], software: Mapping[str, Any]) -> str | None:
    name = software.get("name") if isinstance(software.get("name"), str) else None
    if name:
        version = software.get("version")
        return clean(f"{name} {version}" if isinstance(version, str) else name, limit=60)
    if "ot_config" in metadata or "ot_revision" in metadata:
        return "OneTrainer"
    module = metadata.get("ss_network_module", "")
    if re.search(r"lora_qwen|networks\.lora_", module):
        return "musubi-tuner"
    if module:
        return "kohya sd-scripts"
    return None


def _json(text: str | None) -> dict[str, Any]:
    if not text or len(text) > 65_536:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _first(values: Mapping[str, Any], key: str) -> Any:
    """Value of a key that may carry a prefix such as 'transformer.'."""
    return next((value for name, value in values.items() if name.split(".")[-1] == key), None)


def _first_whole(values: Mapping[str, Any], key: str) -> int | None:
    return _whole(_first(values, key))


def _whole(value: Any) -> int | None:
    number = _real(value)
    return int(number) if number is not None and number >= 1 and number == int(number) else None


def _real(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 < number < 1e12 else None
