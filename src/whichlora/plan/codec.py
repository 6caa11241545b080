"""A plan as plain data and back, for the store: what was resolved is what every later stage reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from whichlora.findings import build
from whichlora.types import Plan


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Plain data of a plan."""
    return asdict(plan)


def plan_from_json(data: Mapping[str, Any]) -> Plan:
    """Rebuild a plan from `plan_to_json`'s output."""
    return build(Plan, data)
