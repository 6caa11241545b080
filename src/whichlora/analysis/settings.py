"""What a user may set about the analysis. Nothing here changes a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from whichlora.errors import UserError
from whichlora.plan.screening import Screening


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
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Capability → rate that is good enough, where it is another than the plan's target (0 to 1)."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Must-have → weight in the choice among set-ups that pass; 1 where none is given. Must-haves stay conditions."""
    control_limit: float = 0.05
    """Pass rate that a control row which must fail may at most be shown to exceed."""
    screening: Screening = field(default_factory=Screening)
    """What a screened run dropped; written by the run, not by the user."""
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

    def threshold(self, capability: str, target: float) -> float:
        """Rate that is good enough for a capability."""
        return self.thresholds.get(capability, target)

    def shares(self, must: Sequence[str]) -> tuple[float, ...]:
        """Weights of must-haves, summing to 1."""
        given = [self.weights.get(name, 1.0) for name in must]
        total = sum(given)
        return tuple(value / total for value in given) if total > 0 else tuple(1 / len(given) for _ in given)

    def checked(self, capabilities: Sequence[str], must: Sequence[str] = ()) -> Settings:
        """Itself, if every threshold and weight is about a capability that exists and has a possible value.

        Some must-have must keep a weight above 0: with none, no set-up would be better than another.

        Raises:
            UserError: Names the first that is not.
        """
        for what, entries in (("threshold", self.thresholds), ("weight", self.weights)):
            for name, value in entries.items():
                if name not in capabilities:
                    raise UserError(f"The {what} of '{name}' is about a capability that was not tested.",
                                    fix=f"Tested: {', '.join(capabilities)}.")
                if not (0 < value < 1 if what == "threshold" else 0 <= value < float("inf")):
                    raise UserError(f"The {what} {value:g} of '{name}' is not possible.",
                                    fix="A threshold lies between 0 and 1; a weight is 0 or more.")
        if must and all(self.weights.get(name, 1.0) == 0 for name in must):
            raise UserError(f"Every must-have ({', '.join(must)}) has weight 0.", fix="Leave at least one above 0.")
        for what, value in (("max_seconds", self.max_seconds), ("max_memory_gib", self.max_memory_gib)):
            if value is not None and not 0 < value < float("inf"):
                raise UserError(f"{what} is {value:g}.", fix="Give a number above 0, or leave it out.")
        return self
