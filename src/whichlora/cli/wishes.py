"""What a user sets about the decision, from the suite and from flags, as settings of the analysis.

A flag replaces the suite's entry. Nothing here changes a picture or a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whichlora.errors import UserError
from whichlora.suite.schema import Suite


def analysis_settings(
    suite: Suite, *, thresholds: Sequence[str] = (), weights: Sequence[str] = (), max_seconds: float | None = None,
    max_vram: float | None = None,
) -> dict[str, Any]:
    """Settings for `analyse_store`.

    Args:
        suite: The project's suite.
        thresholds: 'capability=rate' each, such as 'identity=0.9'.
        weights: 'capability=weight' each, such as 'camera=2'.
        max_seconds: Longest acceptable seconds per picture.
        max_vram: Largest acceptable peak memory in GiB.

    Raises:
        UserError: An entry is not of that form.
    """
    return {
        "thresholds": {**suite.thresholds, **pairs(thresholds, "--threshold", "identity=0.9")},
        "weights": {**suite.weights, **pairs(weights, "--weight", "camera=2")},
        "max_seconds": suite.max_seconds if max_seconds is None else max_seconds,
        "max_memory_gib": suite.max_vram_gib if max_vram is None else max_vram,
    }


def pairs(entries: Sequence[str], flag: str, example: str) -> dict[str, float]:
    """'name=number' entries as a mapping.

    Raises:
        UserError: An entry is not of that form.
    """
    found: dict[str, float] = {}
    for entry in entries:
        name, sign, value = entry.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            sign = ""
        if not sign or not name.strip():
            raise UserError(f"{flag} '{entry}' is not of the form name=number.", fix=f"Write it like: {flag} {example}")
    return found
