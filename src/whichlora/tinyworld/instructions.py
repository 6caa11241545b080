"""The words the tiny model understands: English and Chinese phrases for every edit.

Chinese phrases are kept as words with spaces between them, because the tokenizer learns its
words from here; `phrases` joins them.
"""

from __future__ import annotations

import itertools

from whichlora.tinyworld.edits import EDITS, Edit

_SIDES = {"left": ("left", "左"), "right": ("right", "右")}
_TURN_EN = (
    "rotate the camera {angle} degrees to the {side}",
    "turn the camera {angle} degrees to the {side}",
    "turn the camera {angle} degrees {side}",
    "rotate {angle} degrees {side}",
    "rotate the camera {angle} degrees {side}",
    "move the camera {angle} degrees to the {side}",
    "orbit the camera {angle} degrees to the {side}",
    "view the character from {angle} degrees to the {side}",
)
_TURN_ZH = (
    "将 镜头 向{side} 旋转 {angle} 度",
    "镜头 向{side} 旋转 {angle} 度",
    "把 镜头 向{side} 转 {angle} 度",
    "相机 向{side} 旋转 {angle} 度",
)
_VIEWS_EN = {
    "back": (
        "show the back view",
        "show the character from behind",
        "turn the camera to the back view",
        "view the character from the back",
    ),
    "front": (
        "show the front view",
        "show the character from the front",
        "turn the camera to the front view",
        "view the character from the front",
    ),
    "above": (
        "look from above",
        "show a high angle view",
        "move the camera up and look down",
        "view the character from above",
        "turn the camera to a top-down view",
    ),
    "below": (
        "look from below",
        "show a low angle view",
        "move the camera down and look up",
        "view the character from below",
    ),
    "closeup": (
        "zoom in",
        "show a close-up of the face",
        "move the camera closer",
        "turn the camera to a close-up",
        "move the camera forward",
    ),
}
_VIEWS_ZH = {
    "back": ("将 镜头 转为 背面 视角", "展示 角色 背面", "从 背后 看"),
    "front": ("将 镜头 转为 正面 视角", "展示 角色 正面", "从 正面 看"),
    "above": ("将 镜头 转为 俯视", "从 上方 俯视", "俯视 视角"),
    "below": ("将 镜头 转为 仰视", "从 下方 仰视", "仰视 视角"),
    "closeup": ("将 镜头 转为 特写 镜头", "将 镜头 向前 移动", "特写 面部"),
}
_BACKGROUND_EN = (
    "change the background to {name}",
    "replace the background with {name}",
    "put the character in {name}",
    "place the character in {name}",
    "make the background {name}",
)
_BACKGROUND_ZH = ("将 背景 换成 {name}", "把 背景 改为 {name}", "背景 换成 {name}")
_BACKGROUND_NAMES = {
    "studio": (("a plain studio", "a photo studio"), ("摄影棚", "纯色 影棚")),
    "forest": (("a forest", "a green forest"), ("森林", "绿色 森林")),
    "beach": (("a beach", "a sunny beach"), ("海滩", "阳光 海滩")),
    "city": (("a city at night", "a night city"), ("城市 夜景", "夜晚 的 城市")),
    "room": (("a living room", "a cosy room"), ("客厅", "室内 房间")),
    "mountain": (("snowy mountains", "a snowy mountain landscape"), ("雪山", "雪山 风景")),
}
_LIGHT_EN = (
    "relight the picture with {name}",
    "relight with {name}",
    "change the lighting to {name}",
    "relight the scene with {name}",
    "use {name}",
    "light the character with {name}",
)
_LIGHT_ZH = ("用 {name} 重新 打光", "将 光线 改为 {name}", "使用 {name} 照明")
_LIGHT_NAMES = {
    "soft": (("soft studio light", "soft even light"), ("柔光", "柔和 光线")),
    "left": (("light from the left", "strong light from the left side"), ("左侧 光", "左侧 强光")),
    "right": (
        ("light from the right", "strong light from the right side"),
        ("右侧 光", "右侧 强光"),
    ),
    "top": (("light from above", "overhead light"), ("顶光", "上方 光")),
    "back": (("light from behind", "a rim light from the back"), ("逆光", "背后 光")),
    "sunset": (("sunset light", "warm sunset light", "golden hour light"), ("夕阳 光", "日落 暖光")),
    "neon": (("neon light", "pink and cyan neon light"), ("霓虹 灯光", "霓虹 光")),
    "moon": (("moonlight", "blue moonlight", "cold moonlight"), ("月光", "蓝色 月光")),
}
_EXPRESSION_EN = {
    "neutral": ("look neutral", "a neutral expression", "a calm face"),
    "smile": ("smile", "a happy expression", "a happy smile"),
    "sad": ("look sad", "a sad expression", "a sad face"),
    "surprised": ("look surprised", "a surprised expression", "a surprised face"),
    "angry": ("look angry", "an angry expression", "an angry face"),
}
_EXPRESSION_ZH = {
    "neutral": "平静",
    "smile": "微笑",
    "sad": "悲伤",
    "surprised": "惊讶",
    "angry": "生气",
}
_SHIRT_EN = (
    "change the shirt to {name}",
    "make the shirt {name}",
    "change the color of the shirt to {name}",
    "give the character a {name} shirt",
    "recolor the shirt {name}",
)
_SHIRT_ZH = ("将 衣服 改为 {name}", "把 衣服 换成 {name}", "衣服 改成 {name}")
_SHIRT_NAMES = {
    "red": "红色",
    "orange": "橙色",
    "yellow": "黄色",
    "green": "绿色",
    "teal": "青色",
    "blue": "蓝色",
    "purple": "紫色",
    "pink": "粉色",
    "white": "白色",
    "black": "黑色",
}
ENDINGS_EN = (
    "",
    ".",
    ", keep the same character",
    ", keep the identity unchanged",
    " while keeping everything else the same",
    ", keep the same person and outfit",
)
ENDINGS_ZH = ("", "。", " ， 保持 人物 一致", " ， 保持 角色 不变")


def _single(edit: Edit, chinese: bool) -> list[str]:
    if edit.family == "camera":
        if "_" not in edit.value:
            return list((_VIEWS_ZH if chinese else _VIEWS_EN)[edit.value])
        side, angle = edit.value.split("_")
        return [
            pattern.format(side=_SIDES[side][chinese], angle=angle) for pattern in (_TURN_ZH if chinese else _TURN_EN)
        ]
    if edit.family == "expression":
        if chinese:
            name = _EXPRESSION_ZH[edit.value]
            return [f"让 角色 {name}", f"将 表情 改为 {name}", f"让 人物 露出 {name} 表情"]
        act, noun, face = _EXPRESSION_EN[edit.value]
        return [
            f"make the character {act}",
            f"make the person {act}",
            f"change the expression to {noun}",
            f"give the character {noun}",
            f"give the character {face}",
        ]
    if edit.family == "shirt":
        patterns = _SHIRT_ZH if chinese else _SHIRT_EN
        return [p.format(name=_SHIRT_NAMES[edit.value] if chinese else edit.value) for p in patterns]
    names, patterns = {
        "background": (_BACKGROUND_NAMES, (_BACKGROUND_EN, _BACKGROUND_ZH)),
        "light": (_LIGHT_NAMES, (_LIGHT_EN, _LIGHT_ZH)),
    }[edit.family]
    return [
        pattern.format(name=name) for pattern, name in itertools.product(patterns[chinese], names[edit.value][chinese])
    ]


def spaced_phrases(edits: tuple[Edit, ...], chinese: bool = False) -> list[str]:
    """Phrases for one or two edits together, Chinese with spaces between its words."""
    if len(edits) == 1:
        return _single(edits[0], chinese)
    first, second = (_single(edit, chinese) for edit in edits)
    glue = (" ， 并 ", " ， ") if chinese else (" and ", ", ")
    pairs = list(itertools.product(first, second))
    stride = max(1, len(pairs) // 12)
    return [a + glue[i % 2] + b for i, (a, b) in enumerate(pairs[::stride][:12])]


def joined(chinese: str) -> str:
    """Chinese text without the spaces between its words."""
    return chinese.replace(" ", "")


def phrases(edits: tuple[Edit, ...], language: str = "en") -> list[str]:
    """All phrases for an edit (or two) in `language`: "en" or "zh"."""
    if language == "zh":
        return [joined(text) for text in spaced_phrases(edits, chinese=True)]
    return spaced_phrases(edits)


def instruction(edits: tuple[Edit, ...], language: str = "en") -> str:
    """The plainest phrase for an edit (or two)."""
    return phrases(edits, language)[0]


def training_texts(edits: tuple[Edit, ...], limit: int) -> list[str]:
    """Up to `limit` varied texts: both languages, endings, capitals, and both joined."""
    english, chinese = phrases(edits), phrases(edits, "zh")
    texts: list[str] = []
    for i in range(limit):
        en = english[i % len(english)] + ENDINGS_EN[(i // 2) % len(ENDINGS_EN)]
        zh = chinese[i % len(chinese)] + joined(ENDINGS_ZH[(i // 3) % len(ENDINGS_ZH)])
        kind = i % 6
        if kind in (0, 3):
            texts.append(en)
        elif kind == 1:
            texts.append(en[0].upper() + en[1:])
        elif kind in (2, 4):
            texts.append(zh)
        else:
            texts.append(f"{chinese[i % len(chinese)]} {en[0].upper()}{en[1:]}")
    return texts


def vocabulary_texts() -> list[str]:
    """Texts that hold every word once or more, for training the tokenizer."""
    texts: list[str] = []
    for edit in EDITS:
        for phrase in spaced_phrases((edit,)):
            texts += [phrase, phrase[0].upper() + phrase[1:], " " + phrase]
        for phrase in spaced_phrases((edit,), chinese=True):
            texts += phrase.split(" ")
    texts += list(ENDINGS_EN) + [ending.strip(", ") for ending in ENDINGS_EN]
    texts += [word for ending in ENDINGS_ZH for word in ending.split(" ")]
    return [text for text in [*texts, "，并", "，", " and ", ", "] if text]
