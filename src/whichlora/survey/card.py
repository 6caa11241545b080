"""Read facts out of a model card: base, licence, trigger prompts, settings, training, and what it needs besides.

A card is a stranger's text. It is searched for figures by bounded patterns and never rendered, executed or followed;
what it does not say stays None. Every text that comes out went through `text.clean`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from whichlora.survey.entry import Settings, Training
from whichlora.survey.text import clean

_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_FRONT_LIMIT = 65_536
_PROMPT_LIMIT = 12


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card says."""

    base_models: tuple[str, ...] = ()
    """Declared bases."""
    relation: str | None = None
    """Declared relation to the base: 'adapter', 'finetune', 'merge' or 'quantized'."""
    licence: str | None = None
    """Licence id or name."""
    prompts: tuple[str, ...] = ()
    """Trigger prompts, in their own language."""
    settings: Settings = field(default_factory=Settings)
    """Recommended settings."""
    training: Training = field(default_factory=Training)
    """Training as told."""
    lightning: bool = False
    """True when it asks for a Lightning LoRA."""
    lightning_file: str | None = None
    """The Lightning file that it names."""
    tags: tuple[str, ...] = ()
    """Declared tags."""
    headline: str = ""
    """Title and first words, used to see what it is for."""


class _NoAliases(yaml.SafeLoader):
    """YAML without aliases, which can grow a few lines into gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse an alias where a node is expected."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)  # pyright: ignore[reportArgumentType]


def read_card(text: str, declared: Mapping[str, Any] | None = None) -> CardFacts:
    """Read a card.

    Args:
        text: README.md, or '' when there is none.
        declared: The card's YAML as the Hub parsed it; the text's own block without it.
    """
    front, body = split(text)
    data = {**front, **(dict(declared) if declared else {})}
    plain = _plain(body)
    prompts = _prompts(data, plain)
    lightning, file = _lightning(plain)
    return CardFacts(
        base_models=_strings(data.get("base_model"), limit=8),
        relation=clean(data["base_model_relation"], limit=20) if data.get("base_model_relation") else None,
        licence=_licence(data),
        prompts=prompts,
        settings=_settings(plain),
        training=_training(plain, data),
        lightning=lightning,
        lightning_file=file,
        tags=_strings(data.get("tags"), limit=40),
        headline=clean(plain[:400]),
    )


def split(text: str) -> tuple[dict[str, Any], str]:
    """YAML block and body of a card; a block that cannot be read counts as none."""
    found = _FRONT.match(text)
    if not found:
        return {}, text
    body = text[found.end() :]
    if len(found[1]) > _FRONT_LIMIT:
        return {}, body
    try:
        data = yaml.load(found[1], Loader=_NoAliases)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}, body
    return (data, body) if isinstance(data, dict) else ({}, body)


def _strings(value: Any, *, limit: int) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    kept = [clean(item, limit=120) for item in items[:limit] if isinstance(item, str) and item.strip()]
    return tuple(dict.fromkeys(kept))


def _licence(data: Mapping[str, Any]) -> str | None:
    licence = data.get("license")
    if licence == "other" and isinstance(data.get("license_name"), str):
        licence = data["license_name"]
    found = _strings(licence, limit=3)
    return ", ".join(found) or None


def _plain(body: str) -> str:
    """Body without HTML tags, link targets and emphasis; lines stay."""
    text = re.sub(r"<!--.{0,4000}?-->", " ", body, flags=re.DOTALL)
    text = re.sub(r"<[^<>]{1,500}>", " ", text)
    text = re.sub(r"!?\[([^\[\]]{0,300})\]\([^()]{0,500}\)", r"\1", text)
    return re.sub(r"[*_]{2,3}", "", text)


def _prompts(data: Mapping[str, Any], plain: str) -> tuple[str, ...]:
    found: list[str] = []
    for key in ("instance_prompt", "trigger_word", "trigger_words", "trigger"):
        found.extend(_strings(data.get(key), limit=6))
    widget = data.get("widget")
    for item in (widget if isinstance(widget, list) else [])[:12]:
        if isinstance(item, dict):
            found.extend(_strings(item.get("text"), limit=1))
    marker = r"(?:trigger(?:\s+(?:words?|prompts?|phrases?))?|prompts?|触发词|提示词)"
    for line in plain.splitlines()[:2000]:
        pattern = rf"\W{{0,6}}(?:[\w\s]{{0,30}}?){marker}\s*(?:is|are|为)?\s*[:：]\s*(.{{1,400}})$"
        hit = re.match(pattern, line.strip(), re.IGNORECASE)
        if hit and not re.match(r"negative", line.strip().lstrip("-*# "), re.IGNORECASE):
            quoted = re.findall(r"[`\"“「『]([^`\"”」』]{2,300})[`\"”」』]", hit[1])
            found.extend(quoted or [hit[1]])
    kept = [clean(prompt.strip(" `\"'“”"), limit=300) for prompt in found]
    useless = {"", "-", "none", "n/a", "no", "null", "no trigger", "not needed", "no trigger word"}
    return tuple(dict.fromkeys(prompt for prompt in kept if prompt.lower().rstrip(".") not in useless))[:_PROMPT_LIMIT]


def _number(pattern: str, text: str, *, low: float, high: float) -> float | None:
    """First number of a pattern that lies in a range; '3k' and '3,000' are read."""
    for hit in re.finditer(pattern, text, re.IGNORECASE):
        raw = hit[1].replace(",", "")
        factor = 1000 if raw[-1:] in "kK" else 1
        try:
            value = float(raw.rstrip("kK")) * factor
        except ValueError:
            continue
        if low <= value <= high:
            return value
    return None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _settings(plain: str) -> Settings:
    scale = re.search(
        r"(?:lora[\s_]*(?:scale|strength|weight)|strength|adapter[\s_]weights?|权重|强度)\W{0,10}"
        r"(\d(?:\.\d{1,2})?(?:\s*(?:-|–|~|to|到)\s*\d(?:\.\d{1,2})?)?)(?![\d%])",
        plain, re.IGNORECASE,
    )
    steps = _number(r"num_inference_steps\W{1,6}(\d{1,3})\b", plain, low=1, high=100)
    if steps is None:
        steps = _number(r"(?:inference|sampling|sampler)\s*steps?\W{0,6}(\d{1,3})\b", plain, low=1, high=100)
    if steps is None:
        steps = _number(r"^\W{0,6}steps?\W{1,6}(\d{1,3})\b", "\n".join(plain.splitlines()[:2000]), low=1, high=100)
    if steps is None:
        steps = _number(r"\b(\d{1,2})[\s-]?steps?\b", plain, low=1, high=60)
    cfg = _number(r"(?:true_cfg_scale|cfg(?:[\s_]*scale)?)\W{0,6}(\d{1,2}(?:\.\d{1,2})?)\b", plain, low=0, high=30)
    return Settings(clean(scale[1], limit=20) if scale else None, _whole(steps), cfg)


_TRAINERS: tuple[tuple[str, str], ...] = (
    (r"ai[\s-]?toolkit", "ai-toolkit"), (r"musubi", "musubi-tuner"), (r"onetrainer", "OneTrainer"),
    (r"diffsynth", "DiffSynth-Studio"), (r"modelscope|魔搭", "ModelScope"), (r"diffusion-pipe", "diffusion-pipe"),
    (r"simpletuner", "SimpleTuner"), (r"flymyai", "flymyai-lora-trainer"),
    (r"qwen-image-finetune", "qwen-image-finetune"),
    (r"kohya|sd-scripts", "kohya sd-scripts"), (r"fal(?:\.ai)?[\s/-]+[\w/-]{0,20}trainer", "fal"),
    (r"diffusers", "diffusers"),
)


def _training(plain: str, data: Mapping[str, Any]) -> Training:
    """Figures of training; each one found is marked as the card's word."""
    tags = " ".join(_strings(data.get("tags"), limit=40))
    lines = plain.splitlines()[:3000]
    told = [line for line in lines if re.search(r"train|训练|lora rank|fine-?tun", line, re.IGNORECASE)]
    about = "\n".join([*told, tags])[:20_000]
    trainer = next((name for pattern, name in _TRAINERS if re.search(pattern, about, re.IGNORECASE)), None)
    number = r"(\d[\d,]{0,8}(?:\.\d+)?k?)"
    steps: float | None = None
    for pattern in (
        rf"(?:train\w*|total|max|optimi[sz]er)[\s_]*(?:train[\s_]*)?steps?\W{{0,8}}{number}\b",
        rf"{number}[\s-]*(?:training\s+|train\s+|optimi[sz]er\s+)?steps?\b",
        rf"训练步数\W{{0,6}}{number}",
    ):
        steps = steps if steps is not None else _number(pattern, plain, low=100, high=1e7)
    size = _number(
        rf"{number}\+?\s*(?:[\w-]+\s+){{0,2}}(?:image\s+)?(?:pairs?|images|pictures|photos|samples|examples|张|对|组)",
        "\n".join(line for line in lines if re.search(r"train|data|训练|数据", line, re.IGNORECASE)),
        low=1, high=1e9,
    )
    rate = _number(r"(?:learning[\s_]*rate|\blr\b)\W{0,6}(\d(?:\.\d+)?e-\d{1,2}|0\.\d{1,10})", plain, low=1e-9, high=1)
    datasets = _strings(data.get("datasets"), limit=4)
    rank = r"(?:\brank|network[\s_]?dim|lora[\s_]?dim|\blora[\s_]r|秩)\W{0,8}(\d{1,4})\b"
    facts = Training(
        trainer=trainer,
        rank=_whole(_number(rank, plain, low=1, high=1024)),
        alpha=_number(r"\balpha\W{0,8}(\d{1,4}(?:\.\d+)?)\b", plain, low=0.01, high=4096),
        steps=_whole(steps), learning_rate=rate, dataset=", ".join(datasets) or None, dataset_size=_whole(size),
    )
    known = facts.known()
    basis = (f"{', '.join(sorted(known)).replace('_', ' ')}: by the card",) if known else ()
    return Training(**known, basis=basis)


def _lightning(plain: str) -> tuple[bool, str | None]:
    """Whether the card asks for a Lightning LoRA, and which file it names."""
    file = r"((?:[\w.-]{1,80}/)?[\w.-]{0,60}Lightning-\d{1,2}steps?[\w.-]{0,40}\.safetensors)"
    named = re.search(file, plain, re.IGNORECASE)
    for line in plain.splitlines()[:3000]:
        if not re.search(r"lightning|lightx2v", line, re.IGNORECASE):
            continue
        unasked = r"without|not (?:use|need|requir|recommend|tested)|don'?t|unnecessary|不需要|不要"
        if re.search(unasked, line, re.IGNORECASE):
            continue
        asked = r"\b(?:with|use[ds]?|using|need\w*|require\w*|recommend\w*|together|combin\w*|load|pair\w*)\b"
        if re.search(asked + r"|配合|需要|使用|搭配|结合", line, re.IGNORECASE):
            return True, clean(named[1], limit=160) if named else None
    return False, None
