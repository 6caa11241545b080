"""What `whichlora inspect A B --overlap` prints: where two LoRAs meet in weight space. An explanation, no verdict."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from whichlora.cli.output import answer_console, emit_json
from whichlora.lora.header import printable
from whichlora.lora.overlap import UNRELATED_CONFLICT, Overlap, overlap

SHOWN = 14
NOTE = (
    f"Unrelated LoRAs have a cosine near 0 and a sign conflict near {UNRELATED_CONFLICT:.1f}.",
    "This explains a stack or merge and does not judge it: only pictures tell whether they work together.",
)


def show(first: Path, second: Path, model: Path | None, *, json: bool) -> None:
    """Compare two files and print it.

    Raises:
        UserError: A file is missing.
        RefusedError: A file cannot be applied.
    """
    from whichlora.lora.keys import ModelShape

    found = overlap(first, second, ModelShape.from_folder(model) if model is not None else None)
    if json:
        emit_json("whichlora.overlap/1", document(found))
        return
    for line in lines(found):
        answer_console.print(line, markup=False)


def document(found: Overlap) -> dict[str, Any]:
    """Plain data of an overlap."""
    return {**asdict(found), "by_kind": [asdict(row) for row in found.by_kind()]}


def lines(found: Overlap) -> list[str]:
    """The overlap as text, at most 100 columns wide."""
    first, second = printable(found.first, 60), printable(found.second, 60)
    out = [f"A: {first}", f"B: {second}",
           f"Both change {len(found.shared)} weights; A alone {found.only_first}, B alone {found.only_second}."]
    if found.cosine is None or found.conflict is None:
        return [*out, "They share no weight, so they do not meet in weight space."]
    out += [f"Overall cosine {found.cosine:+.3f}, sign conflict {found.conflict:.2f}.", "",
            f"  {'layers':<44}{'count':>6}{'cosine':>9}{'conflict':>10}{'of A':>8}{'of B':>8}"]
    out += [
        f"  {printable(row.name, 42):<44}{row.modules:>6}{row.cosine:>+9.3f}{row.conflict:>10.2f}"
        f"{100 * row.share_first:>7.0f}%{100 * row.share_second:>7.0f}%" for row in found.by_kind()[:SHOWN]
    ]
    return [*out, "", *NOTE]
