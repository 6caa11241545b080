"""Make text from the internet harmless: for the terminal, for Markdown, and as plain facts.

Model cards, file names and header metadata are written by strangers. Nothing here renders them; see `document`.
"""

from __future__ import annotations

import re
import unicodedata

_MARKDOWN = re.compile(r"([\\`*_\[\]|~$^])")
_BLOCK_START = re.compile(r"^(\d+(?=[.)])|(?=[#+=-]))([.)#+=-])")
_SPACES = re.compile(r"\s+")
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


def clean(text: object, *, limit: int = 300) -> str:
    """One line of printable text: no control, format, private or unassigned characters, no terminal sequences.

    Args:
        text: Anything; turned into a string first.
        limit: Largest number of characters; longer text ends in '…'.
    """
    raw = str(text)[: limit * 8]  # whatever lies beyond cannot be shown and need not be worked through
    raw = _ESCAPES.sub("", raw)
    kept = "".join(_printable(char) for char in raw)
    line = _SPACES.sub(" ", unicodedata.normalize("NFC", kept)).strip()
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _printable(char: str) -> str:
    category = unicodedata.category(char)
    if category in {"Zs", "Zl", "Zp"} or char in "\t\n\r":
        return " "
    # Cc control, Cf bidi overrides and zero-width, Cs lone surrogates, Co private use, Cn unassigned
    return "" if category[0] == "C" else char


def markdown(text: object, *, limit: int = 300) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no automatic link, no mention, no table break."""
    line = clean(text, limit=limit)
    line = _MARKDOWN.sub(r"\\\1", line)
    line = _BLOCK_START.sub(r"\1\\\2", line)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = line.replace("://", "&#58;//").replace("@", "&#64;")
    return re.sub(r"(?i)\bwww\.", "www&#46;", line)


def stem(name: str) -> str:
    """Last part of a repository path, without its ending."""
    last = name.rsplit("/", 1)[-1]
    return last.rsplit(".", 1)[0] if "." in last else last
