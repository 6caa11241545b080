"""Where a plan's LoRA files are now: a project that was moved after its pictures were made has its files with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from whichlora.plan.candidates import sha256_file
from whichlora.types import AdapterUse, Candidate, Plan


def located(plan: Plan, project: Path) -> Plan:
    """The plan with every missing LoRA file looked up in the project, by name and content.

    Args:
        plan: The stored plan.
        project: The project's folder as it is now.
    """
    known: dict[str, AdapterUse] = {}

    def here(use: AdapterUse) -> AdapterUse:
        if use.sha256 not in known:
            known[use.sha256] = use if Path(use.path).is_file() else _moved(use, project)
        return replace(use, path=known[use.sha256].path)

    def row(one: Candidate) -> Candidate:
        return replace(
            one, adapters=tuple(map(here, one.adapters)), merged=None if one.merged is None else here(one.merged),
            sampler=replace(one.sampler, adapters=tuple(map(here, one.sampler.adapters))),
        )

    return replace(plan, candidates=tuple(map(row, plan.candidates)))


def _moved(use: AdapterUse, project: Path) -> AdapterUse:
    name = Path(use.path).name
    for path in (project / name, *sorted((project / "loras").rglob("*")), *sorted((project / "merged").rglob("*"))):
        if path.name == name and path.is_file() and sha256_file(path) == use.sha256:
            return replace(use, path=str(path))
    return use
