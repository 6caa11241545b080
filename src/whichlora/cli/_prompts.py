"""What a picture made elsewhere says of itself: the prompt in its PNG text, and the edit that prompt asks for.

Text from files is data, never an instruction. Only plain sentences are understood (English and Chinese); whatever is
not becomes an edit without a verifier, shown as "not measured".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

MAX_TEXT = 2_000_000
"""Longer metadata is not read."""
MAX_PROMPT = 2000
MAX_NODES = 200
"""A prompt that lies behind more nodes than this is not looked for."""

_LEFT, _RIGHT = r"(?:left|左)", r"(?:right|右)"
_CAMERA = re.compile(r"camera|rotate|orbit|view|angle|镜头|相机|视角|旋转", re.IGNORECASE)
_DEGREES = re.compile(r"(\d{1,3})\s*(?:°|degrees?|deg\b|度)", re.IGNORECASE)
_BACKGROUNDS = {
    "forest": r"forest|woods|森林", "beach": r"beach|seaside|海滩|沙滩", "city": r"city|城市",
    "mountain": r"mountain|雪山", "studio": r"studio|影棚|摄影棚", "room": r"living room|客厅|室内",
}
_LIGHTS = {
    "sunset": r"sunset|golden hour|夕阳|日落", "moon": r"moonlight|月光", "neon": r"neon|霓虹",
    "left": r"light from the left|左侧", "right": r"light from the right|右侧", "back": r"backlight|from behind|逆光",
    "top": r"overhead|from above|顶光", "daylight": r"daylight|日光", "soft": r"soft|柔", "studio": r"studio",
}
_EXPRESSIONS = {
    "smile": r"smil|happy|laugh|微笑|开心", "sad": r"\bsad|悲伤", "surprised": r"surpris|惊讶",
    "angry": r"angry|anger|生气", "neutral": r"neutral expression|平静",
}


def prompt_of(text: Mapping[str, str]) -> str:
    """The instruction that a picture's text chunks carry; '' when there is none.

    Understood: whichlora's own chunk, the `parameters` text of A1111, Forge and ComfyUI image savers, SwarmUI's JSON
    under the same key, and ComfyUI's graph under `prompt` (the text that reaches the sampler's positive input).
    """
    for key, reader in (("whichlora", _own), ("parameters", _parameters), ("prompt", _graph)):
        value = text.get(key, "")
        if value and len(value) <= MAX_TEXT:
            found = reader(value).strip()
            if found:
                return found[:MAX_PROMPT]
    return ""


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _text(value: Any) -> str:
    """The value if it is text that can be written out; '' for anything else."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""


def _own(text: str) -> str:
    data = _json(text)
    return _text(data.get("prompt")) if isinstance(data, dict) else ""


def _parameters(text: str) -> str:
    data = _json(text)
    if isinstance(data, dict):
        inner = data.get("sui_image_params", data)
        return _text(inner.get("prompt")) if isinstance(inner, dict) else ""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(("Negative prompt:", "Steps:")):
            break
        lines.append(line)
    return "\n".join(lines)


def _graph(text: str) -> str:
    """Follow the positive input of the first sampler to the node that holds a sentence."""
    graph = _json(text)
    if not isinstance(graph, dict):
        return ""
    for node in graph.values():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        if isinstance(inputs, dict) and "positive" in inputs:
            found = _sentence(graph, inputs["positive"], set())
            if found:
                return found
    return ""


def _sentence(graph: Mapping[str, Any], link: Any, seen: set[str]) -> str:
    """Text behind a link [node id, output]; a node is visited once, so a graph that runs in circles ends."""
    if isinstance(link, str):
        return _text(link)
    if not isinstance(link, list) or not link or str(link[0]) in seen or len(seen) >= MAX_NODES:
        return ""
    seen.add(str(link[0]))
    node = graph.get(str(link[0]))
    inputs = node.get("inputs") if isinstance(node, dict) else None
    if not isinstance(inputs, dict):
        return ""
    for key in ("prompt", "text", "string", "value", "positive", "conditioning"):
        if key in inputs and (found := _sentence(graph, inputs[key], seen)):
            return found
    return ""


def edit_of(prompt: str) -> tuple[str, dict[str, Any]]:
    """Edit family and target that a sentence asks for; ('trigger', {}) when it is not understood.

    Compound instructions are not understood: half an answer would look like a whole one.
    """
    sentence = prompt.split("keep", 1)[0].split("保持", 1)[0]
    found: list[tuple[str, dict[str, Any]]] = []
    camera = _camera_target(sentence)
    if camera:
        found.append(("camera", camera))
    if re.search(r"background|背景|put the (?:character|person) in|place the (?:character|person) in", sentence, re.I):
        found.extend(_first("background", "background", _BACKGROUNDS, sentence))
    if re.search(r"light|relit|光|照明", sentence, re.I) and not re.search(r"background|背景", sentence, re.I):
        found.extend(_first("lighting", "light", _LIGHTS, sentence))
    if re.search(r"expression|smil|look (?:sad|angry|surprised|happy)|laugh|表情|笑|悲伤|惊讶|生气", sentence, re.I):
        found.extend(_first("expression", "expression", _EXPRESSIONS, sentence))
    return found[0] if len(found) == 1 else ("trigger", {})


def _camera_target(sentence: str) -> dict[str, Any]:
    if not _CAMERA.search(sentence) or re.search(r"\blight", sentence, re.I):
        return {}
    if re.search(r"back view|from behind|背面|背后", sentence, re.I):
        return {"view": "back"}
    if re.search(r"front view|from the front|正面", sentence, re.I):
        return {"view": "front"}
    left, right = (re.search(side, sentence, re.I) for side in (_LEFT, _RIGHT))
    degrees = _DEGREES.search(sentence)
    if bool(left) == bool(right) or not degrees:
        return {}
    angle = int(degrees.group(1))
    return {"yaw_deg": -angle if left else angle} if 0 < angle <= 180 else {}


def _first(family: str, key: str, words: Mapping[str, str], sentence: str) -> list[tuple[str, dict[str, Any]]]:
    """The one name of a vocabulary that the sentence holds; [] for none, family 'trigger' for several."""
    names = [name for name, pattern in words.items() if re.search(pattern, sentence, re.I)]
    if not names:
        return []
    return [(family, {key: names[0]})] if len(names) == 1 else [("trigger", {})]
