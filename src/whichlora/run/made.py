"""What a worker hands over: a finished picture before it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from whichlora.families.base import Picture


@dataclass(frozen=True)
class Made:
    """A finished picture that is not stored yet."""

    picture: Picture
    """The pixels."""
    parameters: str
    """Settings in A1111's text form."""
    facts: dict[str, Any]
    """As in `Generation.facts`."""
    seconds: dict[str, float]
    """Seconds by stage: 'denoise', 'decode' (control rows have none), 'total'; and 'gap', the seconds before it, within
    the same job, during which nothing was asked of the device. Of pictures made together each has its share."""
    peak_memory_bytes: int
    """As in `Generation`."""
