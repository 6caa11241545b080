"""The comparison matrix as CSV and the findings as JSON, from the same object as the page."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

from whichlora.findings import CandidateFacts, Estimate, Findings, to_json
from whichlora.report.files import write_text
from whichlora.report.model import capabilities, finite_json
from whichlora.report.words import NOT_MEASURED, clean

_ENDS = ("low", "high", "low_here", "high_here")


def matrix_rows(findings: Findings) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the matrix. Rates are 0 to 1 in full precision; a missing figure is 'not measured'."""
    columns = capabilities(findings)
    truth = any(row.truth is not None for row in findings.candidates)
    head = ["candidate", "role", "overall", *(f"overall_{end}" for end in _ENDS)]
    for name in map(clean, columns):
        head += [name, *(f"{name}_{end}" for end in _ENDS), f"{name}_state", f"{name}_against_base", f"{name}_shown"]
    head += ["edit_done", "identity_kept", "seconds_per_image", "peak_memory_gib", "time_state",
             "memory_state", "rank_low", "rank_high", "planned", "done", "failed",
             "unscored", "licence"]
    head += ["truth_not_read_by_any_decision"] if truth else []
    return [_safe(cell) for cell in head], [_row(row, columns, truth) for row in findings.candidates]


def _row(row: CandidateFacts, columns: list[str], truth: bool) -> list[str]:
    cells = [_safe(row.name), row.role, *_estimate(row.ccr)]
    for name in columns:
        fact = row.capabilities.get(name)
        if fact is None:
            cells += [NOT_MEASURED] * (len(_ENDS) + 4)
            continue
        shown = "better" if fact.better_than_base else "worse" if fact.worse_than_base else "no difference shown"
        against = fact.against_base.value if fact.against_base else None
        cells += [*_estimate(fact.rate), fact.state, _number(against), shown if fact.against_base else ""]
    cells += [_number(value) for value in (row.p_edit, row.p_identity, row.seconds_per_image, row.peak_memory_gib)]
    cells += [row.budget.get(name, "no limit set") for name in ("time", "memory")]
    cells += [_number(None if rank is None else float(rank)) for rank in (row.rank_low, row.rank_high)]
    cells += [str(row.cells.get(key, NOT_MEASURED)) for key in ("planned", "done", "failed", "unscored")]
    cells.append(_safe(row.licence))
    return [*cells, _number(row.truth)] if truth else cells


def _estimate(value: Estimate) -> list[str]:
    return [_number(value.value), *(_number(getattr(value, end)) for end in _ENDS)]


def _number(value: float | None) -> str:
    return NOT_MEASURED if value is None or not math.isfinite(value) else repr(float(value))


def _safe(text: str) -> str:
    """Keep a spreadsheet from taking a hostile name for a formula."""
    text = clean(text)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\n"} else text


def write_matrix(findings: Findings, path: Path) -> Path:
    """Write the matrix as CSV (UTF-8 with a mark, so that spreadsheets read names right)."""
    head, rows = matrix_rows(findings)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *rows])
    write_text(path, "\ufeff" + out.getvalue())
    return path


def write_findings(findings: Findings, path: Path) -> Path:
    """Write the findings as JSON; figures that are not finite become null."""
    plain = finite_json(to_json(findings))
    write_text(path, json.dumps(plain, ensure_ascii=False, indent=1, allow_nan=False, default=str) + "\n")
    return path
