"""A plan as plain data and back, for the store: what was resolved is what every later stage reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from whichlora.errors import ProjectError
from whichlora.findings import build
from whichlora.types import Plan


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Plain data of a plan."""
    return asdict(plan)


def plan_from_json(data: Mapping[str, Any]) -> Plan:
    """Rebuild a plan from `plan_to_json`'s output.

    Raises:
        ProjectError: It is damaged or of another version's form; or a photograph is said to lie outside the project: a
            project folder may come from a stranger, and what its plan names is read, shown and copied.
    """
    try:
        plan = build(Plan, data)
    except (TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise ProjectError("The stored plan cannot be read: it is damaged, or of another version of whichlora.",
                           fix="Store a new one with: whichlora run PROJECT") from error
    for item in (*plan.sources, *plan.calibration, *plan.impostors):
        if any(path.anchor or ".." in path.parts for path in (PurePosixPath(item.path), PureWindowsPath(item.path))):
            raise ProjectError(f"The stored plan names a photograph outside the project: '{item.path[:80]}'.",
                               fix="Run again: a new plan is made from the photographs in refs/.")
    return plan
