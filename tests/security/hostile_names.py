"""Names that strangers might give to repositories, files, photographs and cells; for every place that makes a path."""

from __future__ import annotations

import random

KNOWN = (
    "../x", "../../../../tmp/x", "..", ".", "", "/", "/etc/passwd", "//host/share/x", "\\\\host\\share\\x", "..\\..\\x",
    "C:\\x", "C:x", "c:/x", "file:///etc/x", "~/x", "~root/x", "$HOME/x", "%TEMP%\\x", "`id`", "$(id)", "a;id", "a|id",
    "a\0b", "a\nb", "a\r\nb", "\x1b[2Jx", "\x7f", "CON", "con.safetensors", "NUL", "aux.png", "COM1.tar.gz", "lpt9",
    "con.x/y", "x.", "x ", " x", "...", "x/../y", "x/./y", "x//y", "x/", "./x", "‮gnp.exe", "a​b", "ﬀ", "é", "é", "猫/狗",
    "😀" * 300, "a" * 255, "a" * 4096, "a/" * 600, "-rf", "--output=x", "*", "?", "<script>", "a:b", "a:stream",
    ".hidden", ".git/config", "%2e%2e%2fx", "..%2f..%2fx", "..;/x", "．．/x", "\ud800", "x\ud800/y", "​", "\ufeffx",
    "/dev/null", "proc/self/environ", "../" * 50 + "x", "x/" + "../" * 50 + "y", "\u2044etc\u2044x", "a\\..\\..\\b",
)
_PIECES = ("..", ".", "/", "\\", "a", "CON", "\0", ":", " ", "‮", "é", "~", "%2e", "x" * 80, "-", "\n", "*",
           "猫", "\ud800")


def names(count: int, seed: int = 1) -> list[str]:
    """The known ones, then made-up ones."""
    draw = random.Random(seed)
    made = ["".join(draw.choices(_PIECES, k=draw.randint(1, 9))) for _ in range(max(0, count - len(KNOWN)))]
    return [*KNOWN, *made][:count]
