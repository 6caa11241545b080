"""What an artefact detector reports: how bad, and where a person should look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whichlora.metrics._common import told
from whichlora.types import Measurement


@dataclass(frozen=True)
class Finding:
    """One kind of fault in one picture."""

    kind: str
    """Name of the detector, such as 'grid'."""
    figure: float
    """The detector's figure, in its own unit."""
    mild_from: float
    """Figure from which on it can be seen."""
    severe_from: float
    """Figure from which on it spoils the picture."""
    regions: tuple[tuple[int, int, int, int], ...] = ()
    """[x, y, width, height] boxes, worst first."""
    words: str = ""
    """The fault in a few words."""

    @property
    def severity(self) -> str:
        """'none', 'mild' or 'severe'."""
        if self.figure >= self.severe_from:
            return "severe"
        return "mild" if self.figure >= self.mild_from else "none"

    def detail(self) -> dict[str, Any]:
        """Plain data."""
        shown = self.severity != "none"
        return {
            "kind": self.kind, "figure": self.figure, "severity": self.severity, "words": self.words if shown else "",
            "regions": [list(box) for box in self.regions] if shown else [],
        }

    def measurement(self) -> Measurement:
        """The figure with its severity, without a verdict."""
        return told(self.figure, self.detail())


def whole(shape: tuple[int, ...]) -> tuple[tuple[int, int, int, int], ...]:
    """The box around a whole picture."""
    return ((0, 0, int(shape[1]), int(shape[0])),)
