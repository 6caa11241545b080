"""Everything the wording needs, gathered once. Plain data; no behaviour beyond look-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from whichlora.analysis.decide import Contender, Row
from whichlora.analysis.flip import Flip
from whichlora.analysis.purchase import Purchase
from whichlora.findings import CandidateFacts
from whichlora.plan.screening import Screening
from whichlora.types import Plan


@dataclass(frozen=True)
class Outcome:
    """What was found, before it is put into words."""

    plan: Plan
    """What was compared."""
    target: float
    """Consistency rate that is good enough."""
    must: tuple[str, ...]
    """Must-haves."""
    row: Row
    """The decision."""
    contenders: Sequence[Contender]
    """What may be recommended."""
    facts: Mapping[str, CandidateFacts]
    """By name, all rows."""
    flips: Sequence[Flip]
    """The flip card."""
    purchase: Purchase | None
    """The next purchase, when undecided."""
    acceptability: Mapping[str, Mapping[str, object]]
    """SMAA by name."""
    corrected: Mapping[str, float]
    """Rate over the must-haves after removing the winner's curse, by name."""
    second_opinion: str
    """TOPSIS's first."""
    distrust: tuple[str, ...]
    """Why the measurement itself cannot carry a decision; empty normally."""
    thresholds: Mapping[str, float]
    """Rate that is good enough, by capability."""
    information: Mapping[str, float]
    """Value of knowing a capability exactly, per hour of generation; empty where nothing was timed."""
    screening: Screening = field(default_factory=Screening)
    """Who was dropped on the way."""
    hangs_on_dropped: bool = False
    """The decision would be firm if those that were dropped had never been there."""
    unmeasured: tuple[str, ...] = ()
    """Rows of which nothing is known."""
    hangs_on_unmeasured: bool = False
    """The decision would be firm if those of which nothing is known were not among the candidates."""
    idle_weights: tuple[str, ...] = ()
    """Capabilities with a weight that are no must-haves: it has no effect."""

    @property
    def photos(self) -> int:
        """Photographs with any answer."""
        return max((facts.ccr.photos for facts in self.facts.values()), default=0)

    @property
    def base(self) -> CandidateFacts | None:
        """The first base row."""
        return next((facts for facts in self.facts.values() if facts.role == "base"), None)

    def contender(self, name: str) -> Contender | None:
        """A contender by name."""
        return next((c for c in self.contenders if c.name == name), None)

    def chosen(self) -> CandidateFacts | None:
        """Facts of the one recommended set-up; None for custom or several side by side."""
        return self.facts.get(self.row.candidate)

    def beyond(self) -> tuple[str, ...]:
        """Rows over a limit of time or memory."""
        return tuple(c.name for c in self.contenders if c.barred)

    def leader(self) -> str:
        """The row with the best guess over the must-haves of those within the limits, '' without any."""
        able = [c for c in self.contenders if not c.barred and not c.out]
        best = max(able, key=lambda c: (c.score(), c.name), default=None)
        return best.name if best else ""
