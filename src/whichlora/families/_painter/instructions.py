"""What an instruction asks of the painter, by plain words in English or Chinese; it understands nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing to do."""

    family: str
    """'camera', 'lighting', 'background', 'expression' or 'segmentation'."""
    kind: str
    """'yaw', 'pitch'; a light; a place; an expression."""
    degrees: float = 0.0
    """For the camera: > 0 moves it to the viewer's right, or up."""


_KEEP = re.compile(r"\b(?:keep|while keeping|without changing|preserve)\b.*|保持.*", re.S)
_DEGREES = re.compile(r"(\d{1,3})\s*(?:degrees?|deg|°|度)")
_CAMERA = re.compile(r"camera|\bview|angle|profile|rotate|orbit|镜头|视角|转")
_LIGHT_WORD = re.compile(r"light|\blit\b|sunset|golden hour|dusk|光|夕阳")
_BACKGROUND_WORD = re.compile(r"background|backdrop|\bplace\b|\bput\b|scene|背景|置于")
_MASK_WORD = re.compile(r"segment|分割")
_LIGHTS = (
    ("sunset", r"sunset|golden|warm|dusk|夕阳|暖"), ("moon", r"moon|night|cold|月"), ("neon", r"neon|霓虹"),
    ("left", r"from the left|左"), ("right", r"from the right|右"), ("top", r"above|overhead|顶"),
    ("daylight", r"daylight|noon|bright|日光"), ("studio", r"studio|soft|even|柔"),
)
_PLACES = (
    ("forest", r"forest|wood|森林"), ("beach", r"beach|sea\b|shore|海"), ("studio", r"studio|plain|grey|gray|棚"),
    ("city", r"city|street|城"), ("room", r"room|indoors|室"), ("mountain", r"mountain|snow|山"),
)
_EXPRESSIONS = (
    ("smile", r"smil|happy|laugh|微笑|笑"), ("surprised", r"surpris|惊"), ("sad", r"\bsad|伤|难过"),
    ("angry", r"angr|怒"), ("neutral", r"neutral|calm|平静"),
)


def understand(instruction: str) -> tuple[Ask, ...]:
    """Everything that an instruction asks for, in a fixed order; what must be kept is not an order."""
    text = _KEEP.sub("", instruction.lower())
    asks: list[Ask] = []
    if _CAMERA.search(text):
        asks.append(_camera(text))
    if _LIGHT_WORD.search(text):
        asks += [Ask("lighting", name) for name, pattern in _LIGHTS if re.search(pattern, text)][:1]
    if _BACKGROUND_WORD.search(text):
        asks += [Ask("background", name) for name, pattern in _PLACES if re.search(pattern, text)][:1]
    if _MASK_WORD.search(text):
        asks.append(Ask("segmentation", "subject"))
    asks += [Ask("expression", name) for name, pattern in _EXPRESSIONS if re.search(pattern, text)][:1]
    return tuple(asks)


def _camera(text: str) -> Ask:
    named = _DEGREES.search(text)
    if re.search(r"higher|above|high angle|\bup\b|俯|高", text):
        return Ask("camera", "pitch", float(named[1]) if named else 20.0)
    if re.search(r"lower|below|low angle|仰|低", text):
        return Ask("camera", "pitch", -(float(named[1]) if named else 20.0))
    size = 75.0 if "profile" in text else 30.0 if "slightly" in text or "略" in text else 45.0
    degrees = min(float(named[1]), 80.0) if named else size
    return Ask("camera", "yaw", -degrees if re.search(r"left|左", text) else degrees)
