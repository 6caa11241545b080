"""Recognise how a LoRA file names its tensors: one detector per layout, in a declared order.

A key such as 'lora_unet_transformer_blocks_0_attn_to_q.lora_down.weight' is split into a *stem* (which module), a
*role* (which matrix) and a *style* (how the role is spelt). The first detector that accepts the whole file names the
layout and says why. It looks at names only: no shape, no tensor, no model.

A new layout is one more line in `LAYOUTS`, with a synthesised header as its test.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from whichlora.lora import keys

AB = "lora_A/lora_B"
DOWN_UP = "lora_down/lora_up"
ANY = ""

_ADAPTER = r"((?:\.[^.]+){0,2})"
_LORA_DOT = r"(?:[._]lora\.|\.lora_)"
# Suffix of a key → (role, style). The first match counts; a group captures the adapter's name.
_ROLES: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(rf"\.lora_A{_ADAPTER}\.weight\Z"), "down", AB),
    (re.compile(rf"\.lora_B{_ADAPTER}\.weight\Z"), "up", AB),
    (re.compile(rf"\.lora_B{_ADAPTER}\.bias\Z"), "up_bias", AB),
    (re.compile(rf"\.lora_magnitude_vector{_ADAPTER}\Z"), "magnitude", AB),
    (re.compile(rf"{_LORA_DOT}down\.weight\Z"), "down", DOWN_UP),
    (re.compile(rf"{_LORA_DOT}up\.weight\Z"), "up", DOWN_UP),
    (re.compile(r"\.dora_scale\Z"), "magnitude", ANY),
    (re.compile(r"(\.default)?\.alpha\Z"), "alpha", ANY),
    (re.compile(r"\.lokr_(?P<part>w[12](?:_[ab])?)\Z"), "lokr", ANY),
    (re.compile(r"\.hada_(?P<part>w[12]_[ab])\Z"), "loha", ANY),
    (re.compile(r"\.(?:diff|w_norm)\Z"), "diff", ANY),
    (re.compile(r"\.(?:diff_b|b_norm)\Z"), "diff_b", ANY),
)

_FOREIGN: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r".*\.(oft_|boft_|oft_R)[\w.]*"), "OFT (rotations of the weights)"),
    (re.compile(r".*\.[ab][12]\.weight"), "GLoRA"),
    (re.compile(r".*\.(lora_mid\.weight|lokr_t[12]|hada_t[12])"), "a convolution (Tucker) factor"),
    (re.compile(r".*\.(vera_lambda|ia3_l|reshape_weight|set_weight)[\w.]*"), "VeRA, IA3 or replaced weights"),
    (re.compile(r"(text_encoder|lora_te|te\.|conditioner\.|clip_).*"), "text-encoder weights"),
)


@dataclass(frozen=True, slots=True)
class Key:
    """A tensor name taken apart."""

    name: str
    """Key in the file."""
    stem: str
    """Everything before the role."""
    role: str
    """'down', 'up', 'up_bias', 'magnitude', 'alpha', 'diff', 'diff_b', 'lokr_w1', 'loha_w1_a', …"""
    style: str
    """How down and up are spelt, or '' where the role does not tell."""
    adapter: str
    """Adapter's name inside the key, such as 'default', or ''."""


@dataclass(frozen=True, slots=True)
class Names:
    """All names of a file, sorted into what was understood and what was not."""

    keys: tuple[Key, ...]
    """Keys with a known role."""
    loose: tuple[str, ...]
    """Keys without one."""
    styles: frozenset[str]
    """Spellings of down and up that occur."""
    adapters: frozenset[str]
    """Adapter names that occur on down or up, '' included where there is none."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A detector: accepts a file when every stem carries its prefix and the spelling agrees."""

    name: str
    """Name shown to people and stored."""
    prefix: str
    """What stands before the module path."""
    flat: bool
    """True when dots of the module path are written as underscores."""
    style: str
    """Spelling that it needs, or '' for any."""
    summary: str
    """Who writes it."""
    named_adapter: bool | None = None
    """Whether an adapter name must (True) or must not (False) occur; None for either."""

    def module(self, stem: str) -> str | None:
        """Canonical module path of a stem, or None when the architecture has no such module."""
        rest = stem[len(self.prefix) :]
        if self.flat:
            return keys.from_flat(rest)
        if keys.is_module(rest):
            return rest
        # PEFT wraps whatever it is given, so the pipeline's own prefix may follow its own.
        for inner in ("transformer.", "diffusion_model.", "dit."):
            if self.name == "peft" and rest.startswith(inner) and keys.is_module(rest[len(inner) :]):
                return rest[len(inner) :]
        return None


LAYOUTS: tuple[Layout, ...] = (
    Layout("peft", "base_model.model.", False, ANY, "a raw save of the PEFT library"),
    Layout("diffusers-down-up", "transformer.", False, DOWN_UP, "diffusers paths with kohya's spelling (OneTrainer)"),
    Layout("diffusers", "transformer.", False, ANY, "diffusers"),
    Layout("comfy-down-up", "diffusion_model.", False, DOWN_UP, "ComfyUI's prefix with kohya's spelling"),
    Layout("comfy", "diffusion_model.", False, ANY, "ai-toolkit and ComfyUI"),
    Layout("kohya", "lora_unet_", True, ANY, "musubi-tuner and kohya's scripts"),
    Layout("kohya-transformer", "lora_transformer_", True, ANY, "OneTrainer and kohya's scripts"),
    Layout("lycoris", "lycoris_", True, ANY, "LyCORIS"),
    Layout("diffsynth-pipe", "pipe.dit.", False, ANY, "DiffSynth, pipeline paths"),
    Layout("bare-down-up", "", False, DOWN_UP, "bare module paths with kohya's spelling (Lightning)"),
    Layout("diffsynth", "", False, AB, "DiffSynth: bare module paths with an adapter name", named_adapter=True),
    Layout("bare", "", False, ANY, "bare module paths", named_adapter=False),
)
"""In order: the first that accepts the file names it."""
_PREFIXES = tuple(dict.fromkeys(layout.prefix for layout in LAYOUTS))
"""Each prefix once: a file may hold 20,000 names."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """Which layout a file has, and why."""

    layout: Layout | None
    """The layout, or None when none fits."""
    name: str
    """Its name; 'full-model', 'controlnet', 'mixed' or 'unknown' where there is none."""
    evidence: tuple[str, ...] = ()
    """One sentence per piece of evidence."""
    problem: str = ""
    """Why the file cannot be read under one layout, or ''."""
    modules: dict[str, str] = field(default_factory=dict)
    """Stem → canonical module path, for stems that the architecture has."""


def split_key(name: str) -> Key | None:
    """Take a key apart; None when its ending is no known role."""
    for pattern, role, style in _ROLES:
        match = pattern.search(name)
        if match is None:
            continue
        groups = match.groupdict()
        adapter = "" if groups or not match.groups() else (match[1] or "").strip(".")
        if role == "magnitude" and adapter.endswith("weight"):
            adapter = adapter.removesuffix("weight").strip(".")
        if groups:
            role = f"{role}_{groups['part']}"
        return Key(name, name[: match.start()], role, style, adapter if role in ("down", "up") else "")
    return None


def read_names(names: Iterable[str]) -> Names:
    """Sort a file's names by role."""
    found: list[Key] = []
    loose: list[str] = []
    for name in names:
        key = None if foreign(name) else split_key(name)
        if key is None or not key.stem:
            loose.append(name)
        else:
            found.append(key)
    pairs = [key for key in found if key.role in ("down", "up")]
    return Names(
        tuple(found), tuple(loose), frozenset(key.style for key in found if key.style),
        frozenset(key.adapter for key in pairs),
    )


def foreign(name: str) -> str:
    """What a key belongs to that is known but cannot be applied here, or ''."""
    for pattern, what in _FOREIGN:
        if pattern.fullmatch(name):
            return what
    return ""


def recognise(names: Names) -> Recognised:
    """Find the layout of a file.

    Args:
        names: Its names, from `read_names`.

    Returns:
        The layout with its evidence; or the name of what it is instead, with the problem in a sentence.
    """
    if not names.keys:
        return _not_a_lora(names.loose)
    if any("controlnet" in key.stem for key in names.keys):
        return Recognised(None, "controlnet", problem="It adapts a ControlNet, not the image transformer itself.")
    stems = {key.stem for key in names.keys}
    prefixes = Counter(_prefix(stem) for stem in stems)
    if len(prefixes) > 1:
        listing = ", ".join(f"'{prefix or 'none'}' ({count})" for prefix, count in prefixes.most_common())
        return Recognised(None, "mixed", problem=f"It mixes layouts: its keys have different prefixes: {listing}.")
    if len(names.styles) > 1:
        return Recognised(
            None, "mixed", problem=f"It mixes layouts: {AB} and {DOWN_UP} both occur.",
        )
    if len(names.adapters) > 1:
        listing = ", ".join(f"'{name or 'none'}'" for name in sorted(names.adapters))
        return Recognised(None, "mixed", problem=f"It holds more than one adapter ({listing}) in one file.")
    for layout in LAYOUTS:
        evidence = _detect(layout, names, prefixes)
        if evidence:
            modules = {stem: module for stem in stems if (module := layout.module(stem)) is not None}
            return Recognised(layout, layout.name, evidence, modules=modules)
    return Recognised(None, "unknown", problem="Its keys follow no known LoRA layout.")


def _detect(layout: Layout, names: Names, prefixes: Counter[str]) -> tuple[str, ...]:
    """Evidence that a file has this layout; empty when it has not."""
    style = next(iter(names.styles), "")
    adapter = next(iter(names.adapters), "")
    if layout.prefix not in prefixes:
        return ()
    if layout.style and style != layout.style:
        return ()
    if layout.named_adapter is not None and layout.named_adapter != bool(adapter):
        return ()
    lead = f"all {len(names.keys)} keys begin with '{layout.prefix}'" if layout.prefix else "keys are bare module paths"
    parts = [f"Layout '{layout.name}' ({layout.summary}): {lead}."]
    if style:
        parts.append(f"Matrices are spelt {style}.")
    if adapter:
        parts.append(f"The adapter's name '{adapter}' stands inside the keys.")
    return tuple(parts)


def _prefix(stem: str) -> str:
    """The first known prefix that a stem carries."""
    return next(prefix for prefix in _PREFIXES if stem.startswith(prefix))


def _not_a_lora(loose: tuple[str, ...]) -> Recognised:
    """Say what a file without any adapter key is."""
    if not loose:
        return Recognised(None, "unknown", problem="It holds no tensors at all.")
    if any("controlnet" in name or name.startswith("control_") for name in loose):
        return Recognised(None, "controlnet", problem="It is a ControlNet, not a LoRA.")
    what = next((label for label in map(foreign, loose) if label), "")
    if what:
        return Recognised(None, "unknown", problem=f"It holds {what}, which cannot be applied here.")
    weights = sum(name.endswith((".weight", ".bias")) for name in loose)
    if weights >= 0.5 * len(loose):
        return Recognised(None, "full-model", problem="It is a full model or part of one (plain weights), not a LoRA.")
    return Recognised(None, "unknown", problem="None of its keys is a LoRA matrix.")
