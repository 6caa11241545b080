"""Turns of phrase that every text of the analysis shares: lists, and rates with their two ranges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from whichlora.analysis.ledger import Ledger
from whichlora.findings import Estimate


def listed(names: Iterable[str], joint: str = "and") -> str:
    """'a', 'a and b', 'a, b and c'."""
    items = list(names)
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + f" {joint} {items[-1]}" if items else "nothing"


def rate_told(key: str, rate: Estimate, ledger: Ledger, what: str = "of the pictures") -> str:
    """'92% of the pictures ([80, 97] on these photographs, [70, 98] on new ones)'."""
    value = ledger.put(f"{key}.value", rate.value or 0.0, "percent")
    here = ledger.interval(f"{key}.here", rate.low_here or 0.0, 1.0 if rate.high_here is None else rate.high_here)
    new = ledger.interval(f"{key}.new", rate.low or 0.0, 1.0 if rate.high is None else rate.high)
    return f"{value} {what} ({here} on these photographs, {new} on new ones)"


def routes_told(routes: Mapping[str, str]) -> str:
    """'angles for camera and background; relight for lighting', from must-have → set-up."""
    by_name: dict[str, list[str]] = {}
    for capability, name in routes.items():
        by_name.setdefault(name, []).append(capability)
    joint = "; " if any(len(capabilities) > 1 for capabilities in by_name.values()) else ", "
    return joint.join(f"{name} for {listed(capabilities)}" for name, capabilities in by_name.items())
