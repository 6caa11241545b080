"""How checks look in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whichlora.cli.output import answer_console

if TYPE_CHECKING:
    from whichlora.machine.checks import Check


def print_checks(checks: list[Check]) -> None:
    """One line a check, and under it the line that fixes it."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        mark = Text("✓", "green") if check.ok else Text("✗", "bold red")
        table.add_row(mark, Text(check.name), Text(check.found))
        if check.fix:
            table.add_row("", "", Text(f"→ {check.fix}", "" if not check.ok else "dim"))
    answer_console.print(table, soft_wrap=False)
