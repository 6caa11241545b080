"""The truth table's rows: what is true of an edit, what every metric said of it, and the file that keeps both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from truthset import EDITS, FAMILY, Item, asked_for, own_pictures, subject_of

from whichlora.metrics.base import View
from whichlora.metrics.scoring import measure_picture, prepare_all
from whichlora.types import Generation

FOLLOWING = {family: f"following/{family}" for family in ("camera", "lighting", "background", "expression")}
INFORMING = (
    "following/unchanged", "following/copy", "preservation/ssim", "preservation/lpips", "preservation/psnr",
    "drift/zoom", "drift/colour", "artifacts/grid", "artifacts/tiling", "artifacts/banding", "artifacts/clipping",
    "artifacts/people", "identity/attributes",
)
STRANGE = ("stranger",)
"""Rendered kinds that weak identity attributes should notice."""
DECIDING = ("artifacts/valid", "edit", "identity/figure", "artifacts/severe")
"""Columns of the record that decide; 'edit' is the verifier of the edit's family."""
MEASURED = (*FOLLOWING.values(), "artifacts/valid", "identity/figure", "artifacts/severe", *INFORMING)


@dataclass(frozen=True)
class Row:
    """One edit: what is true of it, and what every metric said."""

    key: str
    """See `truthset.Item`."""
    truth: dict[str, bool | None]
    """'edit', 'identity', 'usable', 'clean'."""
    said: dict[str, tuple[float | None, bool | None]]
    """Metric → (value, verdict); absent where it has no say."""

    @property
    def edit(self) -> str:
        """Name of the edit."""
        return self.key.split("/")[2]

    @property
    def family(self) -> str:
        """The product's family of the edit."""
        world = EDITS[self.edit][0]
        return FAMILY.get(world, world)

    @property
    def how(self) -> str:
        """'generated:<row>' or 'rendered:<kind>'."""
        return self.key.split("/")[3]

    @property
    def kind(self) -> str:
        """Kind of a rendered edit, 'generated' otherwise."""
        origin, _, kind = self.how.partition(":")
        return kind if origin == "rendered" else "generated"


def truth_for(row: Row, metric: str) -> bool | None:
    """Whether a metric should find an edit right; None when it is not asked about this one."""
    if metric.startswith("following/") and metric not in INFORMING:
        return row.truth["edit"]
    if metric == "identity/figure":
        return row.truth["identity"]
    if metric == "artifacts/valid":
        return row.truth["usable"]
    if metric == "artifacts/severe":
        return row.truth["clean"] if row.truth["usable"] else None
    if row.kind == "generated" or not row.truth["usable"]:
        return None
    perfect = row.kind in ("perfect", "perfect-codec")
    planted = {
        "following/unchanged": ("unedited", "unedited-codec"),
        "following/copy": ("unedited", "unedited-codec", "mirrored"),
        "drift/zoom": ("zoomed",), "drift/colour": ("hue",), "identity/attributes": STRANGE,
        "preservation/ssim": ("elsewhere",), "preservation/lpips": ("elsewhere",),
        "preservation/psnr": ("elsewhere",),
        "artifacts/grid": ("grid",), "artifacts/tiling": ("tiling",), "artifacts/banding": ("banding",),
        "artifacts/clipping": ("clipping",), "artifacts/people": ("people",),
    }[metric]
    return True if perfect else (False if row.kind in planted else None)


# ---------------------------------------------------------------------------------------------------------- measuring


def measured_rows(items: Iterable[Item], watch: Callable[[int], None] = lambda _: None) -> Iterator[Row]:
    """Measure items with every metric that has a say about figures."""
    prepared: dict[str, dict[str, Any]] = {}
    for done, item in enumerate(items, start=1):
        name, number, edit, _ = item.key.split("/")
        if name not in prepared:
            prepared[name] = prepare_all(subject_of(name), MEASURED)
        case = asked_for(edit)[2]
        view = View(own_pictures(name)[int(number)], item.output, case, Generation("cell", "done", None, {}, 0))
        found = measure_picture(view, prepared[name], MEASURED)
        said = {
            metric: (_rounded(answer.value), answer.passed) for metric, answer in found.items()
            if not answer.reason.startswith("not applicable")
        }
        truth = {"edit": item.edit_done, "identity": item.identity_kept, "usable": item.usable,
                 "clean": item.usable and not item.spoilt if item.how.startswith("rendered") else None}
        yield Row(item.key, truth, said)
        watch(done)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")


# ---------------------------------------------------------------------------------------------------------- recording


def write_record(rows: list[Row], path: Path) -> None:
    """One line an edit: key, truth as a word, then value and verdict ('+' passed, '-' failed, '?' neither)."""
    lines = [",".join(("key", "truth", *DECIDING, *INFORMING))]
    for row in rows:
        cells = [_cell(row, FOLLOWING[row.family] if name == "edit" else name) for name in DECIDING]
        # Only what is judged is kept, which keeps the file small.
        cells += ["" if truth_for(row, name) is None else _cell(row, name) for name in INFORMING]
        lines.append(",".join((row.key, "".join(_LETTER[value] for value in row.truth.values()), *cells)).rstrip(","))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


_LETTER = {True: "y", False: "n", None: "-"}
_VERDICT = {True: "+", False: "-", None: "?"}


def _cell(row: Row, metric: str) -> str:
    if metric not in row.said:
        return ""
    value, passed = row.said[metric]
    return ("" if value is None else f"{value:g}") + _VERDICT[passed]


def read_record(path: Path) -> list[Row]:
    """What `write_record` wrote."""
    lines = path.read_text(encoding="utf-8").splitlines()
    columns = lines[0].split(",")[2:]
    back = {"y": True, "n": False, "-": None}
    verdicts = {"+": True, "-": False, "?": None}
    rows: list[Row] = []
    for line in lines[1:]:
        key, truth, *cells = line.split(",")
        row = Row(key, dict(zip(("edit", "identity", "usable", "clean"), map(back.get, truth), strict=True)), {})
        for column, cell in zip(columns, cells, strict=False):
            if cell:
                name = FOLLOWING[row.family] if column == "edit" else column
                row.said[name] = (float(cell[:-1]) if len(cell) > 1 else None, verdicts[cell[-1]])
        rows.append(row)
    return rows
