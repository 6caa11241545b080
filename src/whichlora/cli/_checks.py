"""How checks look in the terminal."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from rich.text import Text

from whichlora.cli.output import answer_console

if TYPE_CHECKING:
    from whichlora.machine.checks import Check


def print_checks(checks: list[Check]) -> None:
    """One line a check, and under it the line that fixes it, never broken: it may hold a command to copy."""
    names = max((len(check.name) for check in checks), default=0)
    indent = " " * (names + 5)
    for check in checks:
        mark = Text("✓", "green") if check.ok else Text("✗", "bold red")
        found = wrap(check.found, max(30, answer_console.width - len(indent)), break_long_words=False,
                     break_on_hyphens=False) or [""]
        answer_console.print(Text.assemble(mark, f"  {check.name:<{names}}  {found[0]}"))
        for line in found[1:]:
            answer_console.print(Text(f"{indent}{line}"))
        if check.fix:
            answer_console.print(Text(f"{indent}→ {check.fix}", "" if not check.ok else "dim"))
