"""What a run tells those who watch it. Plain facts; nothing here acts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One step of a run."""

    kind: Literal["encode", "switch", "cell", "failure"]
    """What happened."""
    done: int
    """Steps of this kind finished (cells for 'cell' and 'failure')."""
    total: int
    """Steps of this kind in all."""
    eta_s: float | None = None
    """Seconds left, from the mean of what was measured in this run; None before there is anything to go by."""
    candidate: str = ""
    """Candidate's name."""
    case: str = ""
    """Case id."""
    cell: str = ""
    """Cell id."""
    image: str | None = None
    """SHA-256 of the picture."""
    note: str = ""
    """A sentence for people."""
