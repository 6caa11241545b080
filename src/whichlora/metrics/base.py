"""The contract of a metric.

A metric sees what a person would: source, references, instruction and output. It never sees which candidate made the
picture, and never a ground truth. To add one, write `metrics/<axis>/<name>.py` with a module-level `PLUGIN`; nothing
else is edited.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whichlora.types import EditCase, Gate, Generation, Measurement

Picture = NDArray[np.uint8]
"""RGB, height × width × 3, 0–255."""


@dataclass(frozen=True)
class Reference:
    """A photograph used for calibration: of the character, or of somebody else (an impostor)."""

    id: str
    """Short name."""
    picture: Picture
    """The photograph."""
    same: bool
    """True for the character, False for an impostor."""


@dataclass(frozen=True)
class Subject:
    """Who is measured: fixed for a whole project, so metrics may calibrate on it once (see `Metric.prepare`)."""

    kind: str
    """'photograph', 'figure', 'drawn' or 'other': decides which identity metric has a say."""
    references: tuple[Reference, ...]
    """The character's own photographs and impostors."""
    packs: tuple[str, ...] = ()
    """Identity packs that may be asked beside the packaged recognisers (see `vision/packs.py`)."""


@dataclass(frozen=True)
class View:
    """One picture to be measured, with what it was made from."""

    source: Picture
    """The source photograph, resized by the product to the output's size (same height and width as `output`)."""
    output: Picture
    """The generated picture."""
    case: EditCase
    """Instruction, family, target, what must stay."""
    generation: Generation
    """Cost facts."""


class Metric(Protocol):
    """Computes one figure of a picture."""

    name: str
    """'<axis>/<name>', equal to its path."""
    version: int
    """Raised when the same picture could get another figure; old scores are then computed anew."""
    gate: Gate | None
    """Condition of the consistency rate that it decides, or None when it only informs."""
    better: str
    """'higher', 'lower' or 'neither'."""
    unit: str
    """Unit or range in a few words, such as '0–1' or 'degrees'."""
    title: str
    """A few words for people."""

    def prepare(self, subject: Subject) -> Any:
        """Calibrate on the subject once per project; the result is handed to every `measure`."""
        ...

    def measure(self, view: View, prepared: Any) -> Measurement:
        """Measure one picture. Never raises for a bad picture: a missing figure is a reason."""
        ...
