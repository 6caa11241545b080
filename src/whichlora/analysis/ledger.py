"""Numbers in sentences: every printed figure is stored first, with its unit and the sentence that uses it.

Does: format, store, and remember which figures a sentence is bound to. Does not: choose words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


def as_text(value: float, unit: str) -> str:
    """How a figure is printed.

    Args:
        value: Rates and differences on the 0–1 scale; other units as they are.
        unit: 'percent', 'floor' (a lower bound in percent), 'points' (signed), 'size' (of a change in points),
            'probability', 'count', 'factor', 'hours', 'seconds', 'gib', 'card' (memory of a card) or 'weight' (of an
            adapter).
    """
    # Halves go up, and only true ends are 0 and 100, as in the tables of the report: 42.5% may not be 42 in a sentence
    # and 43 in the matrix.
    if unit == "percent":
        whole = math.floor(100 * value + 0.5)  # a whole number has no '-0'
        return "under 1%" if whole == 0 and value > 0 else "over 99%" if whole == 100 and value < 1 else f"{whole}%"
    if unit == "floor":  # rounded up it would promise more than is shown
        return f"{math.floor(100 * value + 1e-9)}%"
    if unit == "points":
        whole = math.floor(100 * abs(value) + 0.5)
        return f"{whole if value >= 0 else -whole:+d} points"
    if unit == "size":
        return f"{100 * abs(value):.1f} points"
    if unit == "probability":
        whole = math.floor(100 * value + 0.5)  # counted over draws, so never certain
        return "over 99%" if whole >= 100 else "under 1%" if whole <= 0 else f"{whole}%"
    if unit == "factor":
        return f"{value:g}"
    if unit == "count":
        return f"{value:.0f}"
    if unit == "hours":
        return f"{value:.1f} h" if value >= 1 else f"{60 * value:.0f} min"
    if unit == "seconds":
        return f"{value:.1f} s"
    if unit == "gib":
        return f"{value:.1f} GiB"
    if unit == "weight":
        return f"{value:g}"
    if unit == "card":
        return f"{value:.0f} GiB"
    raise ValueError(f"unknown unit '{unit}'")


@dataclass
class Ledger:
    """Figures and the sentences bound to them. The only mutable object of the analysis."""

    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Figure id → {'value', 'unit'}."""
    sentences: list[dict[str, Any]] = field(default_factory=list)
    """{'text', 'figures', 'claims'} in order of writing."""
    _open: list[str] = field(default_factory=list)
    _claims: list[list[str]] = field(default_factory=list)

    def put(self, name: str, value: float, unit: str) -> str:
        """Store a figure and return its text for the sentence being written.

        Raises:
            ValueError: The id is taken by another value.
        """
        known = self.figures.get(name)
        entry = {"value": float(value), "unit": unit}
        if known is not None and known != entry:
            raise ValueError(f"figure '{name}' is already stored as {known}, not {entry}")
        self.figures[name] = entry
        self._open.append(name)
        return as_text(float(value), unit)

    def interval(self, name: str, low: float, high: float) -> str:
        """Two percentages as '[70, 91]'."""
        self.put(f"{name}.low", low, "percent")
        self.put(f"{name}.high", high, "percent")
        return f"[{math.floor(100 * low + 0.5)}, {math.floor(100 * high + 0.5)}]"

    def claim(self, kind: str, name: str, capabilities: Iterable[str]) -> None:
        """Note what the sentence being written claims, so that `lint` can check it against the facts.

        Args:
            kind: 'PASS', 'FAIL', 'better' or 'worse'.
            name: Set-up.
            capabilities: Capabilities of which it is claimed.
        """
        self._claims += [[kind, name, capability] for capability in capabilities]

    def say(self, text: str) -> str:
        """Finish a sentence: bind it to the figures put since the last one."""
        self.sentences.append({"text": text, "figures": sorted(set(self._open)), "claims": list(self._claims)})
        self._open.clear()
        self._claims.clear()
        return text
