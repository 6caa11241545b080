"""`--fail-under`: a rate below which a verb ends with status 1, for CI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whichlora.cli.output import progress_console

if TYPE_CHECKING:
    from whichlora.findings import Findings

_ROUNDING = 1e-9
"""A rate is a mean of means: 7 of 10 may come out as 0.6999999999999999, and is not below 0.7."""


def best_rate(findings: Findings) -> float:
    """Highest overall rate among rows that are no controls, the base included; 0 without a measured row."""
    rates = [row.ccr.value for row in findings.candidates if row.role != "control"]
    return max((rate for rate in rates if rate is not None), default=0.0)


def is_below(findings: Findings, floor: float | None) -> bool:
    """Whether the best rate is below a floor (0 to 1); says so on stderr. False without a floor."""
    best = best_rate(findings)
    if floor is None or best >= floor - _ROUNDING:
        return False
    progress_console.print(f"The best rate is {100 * best:.4g}%, below --fail-under {100 * floor:.4g}%.",
                           markup=False)
    return True
