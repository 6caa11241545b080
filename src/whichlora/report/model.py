"""What a report is made from and what it leaves behind. No rendering here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whichlora.findings import Findings, findings_from_json, to_json
from whichlora.types import Generation, Plan, Score


@dataclass(frozen=True)
class ReportInput:
    """Everything a report reads. Every number in it was stored before."""

    findings: Findings
    """What was concluded."""
    plan: Plan
    """What was compared on what."""
    generations: Mapping[str, Generation]
    """Cell id → what became of it; a cell without an entry was not made."""
    scores: Mapping[str, tuple[Score, ...]]
    """Cell id → its scores, human votes included."""
    image_path: Callable[[str], Path]
    """Content hash of a generated picture → its PNG file."""
    source_path: Callable[[str], Path]
    """Id of a source photograph → its file."""
    people: Mapping[str, Any] = field(default_factory=dict)
    """What people's votes say, as the review stage stored it; empty while nobody has voted."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Stored results of further rounds by name ('sweeps', 'combinations', 'chains', 'routing', 'masks', 'judge')."""


@dataclass(frozen=True)
class ReportPaths:
    """The files that one call of `write_report` wrote."""

    folder: Path
    """The folder that can be zipped, moved or hosted as it is."""
    index: Path
    """The page to open."""
    data: Path
    """Pictures and scores for the page's script."""
    matrix_csv: Path
    """The comparison matrix as a table."""
    findings_json: Path
    """The findings as stored."""
    plots: tuple[Path, ...]
    """Every plot, as SVG and PNG."""
    missing_pictures: tuple[str, ...]
    """One sentence per picture that could not be read; the page shows a placeholder for each."""


def capabilities(findings: Findings) -> list[str]:
    """Columns of the matrix: must-haves first, in the user's order and also when nothing measured them."""
    found = [name for row in findings.candidates for name in row.capabilities]
    return list(dict.fromkeys([*findings.must_have, *found]))


def finite(findings: Findings) -> Findings:
    """The findings with every figure that is not finite turned into a missing one."""
    return findings_from_json(finite_json(to_json(findings)))


def finite_json(value: Any) -> Any:
    """Plain data in which NaN and infinities are null."""
    if isinstance(value, dict):
        return {str(key): finite_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
