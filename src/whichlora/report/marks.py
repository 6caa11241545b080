"""Small pieces of Markdown with everything escaped. Knows nothing of reports."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from whichlora.report.words import clean

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&$^])")
_LINE_START = re.compile(r"^(\s*)([-+=]|\d+[.)])(?=\s|$|-|=)")


def text(value: object) -> str:
    """Write any text so that no character of it works as Markdown or HTML; line breaks become spaces."""
    flat = " ".join(clean(value).split())
    flat = _SPECIAL.sub(r"\\\1", flat)
    flat = re.sub(r"(?i)\b(https?|ftp|www)([.:])", r"\1\\\2", flat)  # or a bare address becomes a link
    return _LINE_START.sub(lambda m: f"{m[1]}{m[2][:-1]}\\{m[2][-1]}", flat)  # a list begins with '-' or '1.'


def code(value: object) -> str:
    """Write text as inline code; a fence longer than any run of backticks inside keeps it together."""
    flat = " ".join(clean(value).split())
    fence = "`" * (max((len(run) for run in re.findall("`+", flat)), default=0) + 1)
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{pad}{flat}{pad}{fence}" if flat else ""


def bullets(items: Iterable[object], *, numbered: bool = False) -> str:
    """Write a list, one line per item."""
    return "\n".join(f"{f'{n}.' if numbered else '-'} {text(item)}" for n, item in enumerate(items, 1))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table from cells that are escaped already (see `text`)."""
    lines = [list(head), ["---"] * len(head), *[list(row) for row in rows]]
    return "\n".join("| " + " | ".join(cell or " " for cell in line) + " |" for line in lines)


def image(alt: str, address: str) -> str:
    """Embed a picture by its relative address."""
    return f"![{text(alt)}]({quote(clean(address), safe='/._~-')})"
