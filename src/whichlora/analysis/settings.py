"""What a user may set about the analysis. Nothing here changes a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from whichlora.errors import UserError


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of an analysis; the defaults are those of the report."""

    draws: int = 10_000
    """Joint draws behind the probability of being best and the weights' robustness."""
    seed: int = 20_250_101
    """Seed of those draws: the same rows give the same report."""
    margin: float = 0.05
    """Loss of consistency that does not matter, for 'not worse than' (0 to 1)."""
    max_seconds: float | None = None
    """Longest acceptable seconds per picture; None leaves time out of the decision."""
    max_memory_gib: float | None = None
    """Largest acceptable peak memory in GiB; None leaves memory out of the decision."""
    control_limit: float = 0.05
    """Pass rate that a control row which must fail may at most be shown to exceed."""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    """Further entries for the findings' manifest, such as versions and the command that repeats the run."""

    @classmethod
    def of(cls, given: Settings | Mapping[str, Any] | None) -> Settings:
        """Settings from a mapping with the same names, checked.

        Raises:
            UserError: A name is unknown.
        """
        if given is None:
            return cls()
        if isinstance(given, Settings):
            return given
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(given) - known)
        if unknown:
            raise UserError(
                f"Unknown analysis setting '{unknown[0]}'.", fix=f"Known settings: {', '.join(sorted(known))}."
            )
        return cls(**given)
