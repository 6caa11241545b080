"""`whichlora bases PROJECT…`: the base as an axis: one project a base, and a table over what all were asked."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whichlora.cli.output import answer_console, emit_json, guarded
from whichlora.quoting import quoted

if TYPE_CHECKING:
    from whichlora.analysis.bases import Row, Side, Table


@guarded
def command(
    folders: Annotated[list[Path], typer.Argument(help="Projects on different bases; one, with --add.")],
    add: Annotated[
        str | None, typer.Option("--add", help="Create a sibling of the project on this base, without its LoRAs.")
    ] = None,
    family: Annotated[
        str, typer.Option("--family", help="With --add: qwen_image_edit, flux_kontext or flux2.")
    ] = "qwen_image_edit",
    to: Annotated[Path | None, typer.Option("--to", help="With --add: the new project's folder.")] = None,
    paired: Annotated[bool, typer.Option("--paired", help="Also differences to the first base.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Compare bases, or create a project on another one."""
    from whichlora.errors import UserError

    if add is not None:
        if len(folders) != 1 or to is None:
            raise UserError("--add needs one project and --to.", fix="whichlora bases PROJECT --add BASE --to NEW")
        left = _sibling(folders[0], add, family, to)
        if json:
            emit_json("whichlora.bases/1", {"project": str(to), "base": add, "left_out": left})
            return
        answer_console.print(f"Created {to} on {add} with the same photographs, edits and seeds.", markup=False)
        if left:
            answer_console.print(f"Left out, as they were made for the other base: {', '.join(left)}.", markup=False)
        answer_console.print(f"Next:\n  whichlora evaluate {quoted(to)}"
                             f"\n  whichlora bases {quoted(folders[0])} {quoted(to)}", markup=False)
        return
    if len(folders) < 2:
        raise UserError("A comparison of bases needs two projects.", fix="Create one with --add BASE --to NEW.")
    from whichlora.analysis.bases import side_by_side

    table = side_by_side(_sides(folders), paired=paired)
    if json:
        emit_json("whichlora.bases/1", asdict(table))
    else:
        _print(table, paired)


def _sides(folders: list[Path]) -> list[Side]:
    """The stored verdicts of every project."""
    from whichlora.analysis.bases import Side
    from whichlora.cli._verdicts import verdicts
    from whichlora.cli.stages import stored_plan
    from whichlora.store import Store
    from whichlora.workspace import Workspace

    found: list[Side] = []
    for folder in folders:
        with Store(Workspace.open(folder).folder) as store:
            plan = stored_plan(store)
            taken = {side.name for side in found}
            name = plan.base.id if plan.base.id not in taken else f"{plan.base.id} ({folder.name})"
            found.append(Side(name, plan, verdicts(store, plan)))
    return found


def _sibling(folder: Path, base: str, family: str, to: Path) -> list[str]:
    """Create the project whole or not at all; returns the names of candidates that were left out."""
    import shutil

    import yaml

    from whichlora import registry
    from whichlora.export.folder import new_folder, write_text
    from whichlora.suite.loading import load_suite, parse_suite
    from whichlora.workspace import SUITE_NAME, Workspace

    workspace = Workspace.open(folder)
    suite = load_suite(workspace.suite_path)
    registry.load("families", family)
    data: dict[str, Any] = yaml.safe_load(workspace.suite_path.read_text(encoding="utf-8"))
    data["base"] = {"family": family, "location": base}
    data["candidates"] = []
    # sampler settings and their LoRAs belong to the other base
    data.pop("samplers", None)
    text = _HEADER + yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=110, default_flow_style=None)
    parse_suite(text, SUITE_NAME)
    with new_folder(to) as draft:
        write_text(draft / SUITE_NAME, text)
        (draft / "loras").mkdir()
        for source in (workspace.refs, workspace.impostors):
            if source.is_dir():
                shutil.copytree(source, draft / source.name)
    return [row.name for row in suite.candidates]


_HEADER = """\
# A sibling of another project on another base: the same photographs, edits and seeds. Add LoRAs made for this base.
"""


def _print(table: Table, paired: bool) -> None:
    from rich.table import Table as Shown
    from rich.text import Text

    answer_console.print(f"{table.cases} cases on {table.photos} photographs were asked of every base.")
    capabilities = sorted({name for row in table.rows for name in row.capabilities})
    names = max((len(row.row) for row in table.rows), default=0)
    for side in dict.fromkeys(row.side for row in table.rows):
        answer_console.print(Text(f"\n{side}", "bold"))
        shown = Shown(box=None, pad_edge=False, header_style="dim")
        for title in ("row", "passed", *capabilities, *(("against the first",) if paired else ())):
            shown.add_column(title, overflow="fold", min_width=min(names, 28) if title == "row" else None)
        for row in table.rows:
            if row.side == side:
                cells = ["{}/{}".format(*row.capabilities[name]) if name in row.capabilities else "–"
                         for name in capabilities]
                shown.add_row(*map(Text, (row.row, _rate(row), *cells, *((_difference(row),) if paired else ()))))
        answer_console.print(shown, soft_wrap=False)
    answer_console.print("\nPassed: share of a photograph's pictures, mean of the photographs, with its 95% interval "
                         "for new ones. The overall rate of a report weighs kinds of edit equally and may differ.")
    for note in table.notes:
        answer_console.print(f"  • {note}", markup=False)


def _rate(row: Row) -> str:
    if row.rate is None:
        return "not judged"
    text = f"{100 * row.rate.value:.0f}% ({100 * row.rate.low:.0f}–{100 * row.rate.high:.0f})"
    return text + (f", {row.unknown} not judged" if row.unknown else "")


def _difference(row: Row) -> str:
    if row.against is None:
        return "–"
    found = row.against
    return f"{100 * found.value:+.0f} points ({100 * found.low:+.0f} to {100 * found.high:+.0f})"
