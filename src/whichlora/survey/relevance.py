"""How much a LoRA concerns a character: identity, angle, lighting, background, quality, 1 to 5 with a reason.

The ratings read claims (specialty words, names, trigger prompts), never pictures: they order what to test first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from whichlora.survey.entry import AXES, Rating, SurveyEntry

_CLAIMS: Mapping[str, tuple[dict[str, int], str]] = {
    "camera-angle": ({"angle": 5, "identity": 3}, "moves the camera round the subject"),
    "next-scene": ({"angle": 4, "background": 4, "identity": 2}, "continues a scene from another shot"),
    "cinematic": ({"lighting": 2}, "cinematic look"),
    "pose-transfer": ({"angle": 3, "identity": 4}, "puts the same person in another pose"),
    "identity": ({"identity": 5}, "made to keep or carry over a person"),
    "subject": ({"identity": 5, "background": 3}, "keeps a subject in new scenes"),
    "F2P": ({"identity": 5, "background": 3}, "builds a portrait from a face"),
    "consistency": ({"identity": 5, "background": 4}, "made against drift of what must stay"),
    "anti-drift": ({"identity": 5, "background": 4}, "made against drift of what must stay"),
    "character-composition": ({"identity": 4, "background": 4}, "puts characters into a scene"),
    "face-swap": ({"identity": 4}, "puts a given face on a picture"),
    "head-swap": ({"identity": 4}, "puts a given head on a picture"),
    "relight": ({"lighting": 5}, "changes the light"),
    "light-direction": ({"lighting": 5}, "sets the direction of light"),
    "light-removal": ({"lighting": 5}, "removes light and shadow"),
    "light-transfer": ({"lighting": 5}, "carries light over from another picture"),
    "neutral-light": ({"lighting": 5}, "neutral light"),
    "background": ({"background": 5}, "changes the background"),
    "scene": ({"background": 4, "identity": 2}, "puts the subject into a scene"),
    "image-fusion": ({"background": 4, "identity": 2}, "fuses a subject with a scene"),
    "scene-population": ({"background": 2}, "adds other people"),
    "inpaint": ({"background": 2}, "fills a region"),
    "remove": ({"background": 3}, "removes objects"),
    "portrait": ({"identity": 3}, "portraits"),
    "skin": ({"identity": 2}, "adds skin detail"),
    "realism": ({"identity": 2}, "makes pictures look photographed"),
    "general-edit": ({"identity": 2, "background": 2}, "edits of any kind"),
    "RL-finetune": ({"identity": 2}, "follows instructions better, by its own account"),
    "in-context-edit": ({"identity": 2}, "copies an edit from an example"),
    "try-on": ({"identity": 2}, "changes clothes"),
    "colour": ({"lighting": 2}, "colour grading"),
    "photo-style": ({"lighting": 2}, "a photographic style"),
}
_WORDS: tuple[tuple[str, str], ...] = (
    (r"multi(?:ple)?[\W_]?angle|camera|rotat|viewpoint|turnaround|镜头|视角|多角度", "camera-angle"),
    (r"next[\W_]?scene|分镜", "next-scene"),
    (r"any[\W_]?pose|pose", "pose-transfer"),
    (r"in[\W_]?subject|same (?:person|character|subject)|this[\W_]?person|identity|keep\w* (?:the )?face|人物一致",
     "identity"),
    (r"f2p|face[\W_]?to[\W_]?portrait|face preserv", "F2P"),
    (r"consist(?:ency|ance|ent)|anti[\W_]?drift|一致性", "consistency"),
    (r"face[\W_]?swap|换脸", "face-swap"),
    (r"head[\W_]?swap|换头", "head-swap"),
    (r"character|角色", "character-composition"),
    (r"de[\W_]?light|light\w*[\W_]?(?:remov|restor)|remove\w* (?:the )?(?:light|shadow)|移除光影", "light-removal"),
    (r"light\w*[\W_]?(?:migrat|transfer)|参考色调", "light-transfer"),
    (r"relight|re[\W_]?light|lighting|any[\W_]?light|打光|照明|灯光|光影", "relight"),
    (r"background|backdrop|背景", "background"),
    (r"in[\W_]?scene|scene|场景", "scene"),
    (r"fusion|composit|融合", "image-fusion"),
    (r"inpaint", "inpaint"),
    (r"remov(?:e|er|al)|移除|去除", "remove"),
    (r"portrait|肖像|headshot", "portrait"),
    (r"(?:\b|_)skin(?:\b|_)|皮肤", "skin"),
    (r"real(?:ism|istic)|2real|写实", "realism"),
    (r"try[\W_]?on|outfit|cloth|shirt", "try-on"),
    (r"upscal|enhance|restor|unblur|高清|放大", "upscale"),
    (r"anime|manga|cartoon|pixar|style|风格|漫画", "style"),
    (r"texture|材质", "texture"),
    (r"lightning|distill|加速", "lightning-distillation"),
    (r"segment|mask", "face-segmentation"),
    (r"polaroid|photo[\W_]?style", "photo-style"),
)
_NOTHING = {
    "identity": "does not speak of keeping a person",
    "angle": "does not speak of camera or view",
    "lighting": "does not speak of light",
    "background": "does not speak of background or scene",
}
_WEAKNESS = r"not yet under control|reliably, users report|changes fail|report blocky|[Cc]onfirm before|No card"
_OVERRIDES = {
    "face-segmentation": "draws masks; it verifies nothing",
    "lightning-distillation": "part of a sampler; judged as a profile, not as a candidate",
}


def specialty_from(*texts: str) -> tuple[str, ...]:
    """Specialty words that names, tags and prompts point to, in the order of the vocabulary."""
    text = " ".join(texts).lower()
    found = [word for pattern, word in _WORDS if re.search(pattern, text)]
    if "relight" in found and "light-removal" in found and not re.search(r"relight|照明|打光|灯光", text):
        found.remove("relight")
    if "remove" in found and "light-removal" in found:
        found.remove("remove")
    return tuple(found)


def rate(entry: SurveyEntry) -> dict[str, Rating]:
    """Rate one entry on every axis of `AXES`."""
    ratings: dict[str, Rating] = {}
    override = next((_OVERRIDES[word] for word in entry.specialty if word in _OVERRIDES), None)
    for axis in AXES[:-1]:
        ratings[axis] = Rating(1, override) if override else _rate_axis(entry, axis)
    ratings["quality"] = _rate_quality(entry)
    return ratings


def top(ratings: Mapping[str, Rating]) -> tuple[str, Rating]:
    """The axis of the character that is rated highest, quality left out."""
    best = max(AXES[:-1], key=lambda axis: ratings[axis].value)
    return best, ratings[best]


def _rate_axis(entry: SurveyEntry, axis: str) -> Rating:
    best, reason = 1, _NOTHING[axis] if entry.specialty else "nothing says what it is for"
    for word in entry.specialty:
        values, why = _CLAIMS.get(word, ({}, ""))
        if values.get(axis, 1) > 1 and values[axis] >= best:  # of equals the later word is the more specific
            best, reason = values[axis], why
    return Rating(best, reason)


def _rate_quality(entry: SurveyEntry) -> Rating:
    """2 to begin with; a point each for use, liking and stated training; one off for a known weakness."""
    signs: list[str] = []
    value = 2
    if (entry.downloads or 0) >= 10_000:
        value += 1
        signs.append(f"{entry.downloads:,} downloads in 30 days")
    if (entry.likes or 0) >= 100:
        value += 1
        signs.append(f"{entry.likes:,} likes")
    stated = entry.training.known().keys() - {"trainer"}
    if len(stated) >= 2:
        value += 1
        signs.append(f"training partly stated ({', '.join(sorted(stated)).replace('_', ' ')})")
    if entry.downloads is None and entry.likes is None:
        signs.append("popularity unknown")
    if not stated:
        signs.append("training unknown")
    if re.search(_WEAKNESS, " ".join(entry.notes)):
        value -= 1
        signs.append("a weakness is reported")
    return Rating(max(1, min(5, value)), "; ".join(signs))
