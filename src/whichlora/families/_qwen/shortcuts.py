"""Near-lossless speed-ups: all off by default, each part of the base's options when on, because pictures change.

- `cfg_interval`: guidance on part of the schedule only; outside it the second forward is saved.
- `block_cache`: on some steps the middle blocks are not computed; what they added at the last whole step is added
  again.
- `reference_cache`: keys and values of the reference pictures are kept over some steps. Not exact: reference tokens
  attend to the noisy picture, so theirs change with every step.
- `attention_8bit`: queries and keys rounded to 8 bits.

The schedule is fixed and stated, never decided from the data: the same options skip the same steps for every candidate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whichlora.errors import UserError

NAMES = ("cfg_interval", "block_cache", "reference_cache", "attention_8bit")
"""Options of the base that switch one on."""
FIRST_STEPS = 3
"""Steps at the beginning, where the picture's layout is decided, that are always whole."""
EDGE_BLOCKS = 2
"""Blocks at either end that are always computed."""


@dataclass(frozen=True, slots=True)
class Shortcuts:
    """Which speed-ups are on."""

    cfg_from: float = 0.0
    """Share of the steps before which guidance is off, 0 to 1."""
    cfg_to: float = 1.0
    """Share of the steps after which guidance is off, 0 to 1."""
    block_every: int = 1
    """Every how manieth step is whole; 1 means all."""
    reference_every: int = 1
    """Every how manieth step computes the references anew; 1 means all."""
    attention_8bit: bool = False
    """Whether queries and keys are rounded to 8 bits."""

    def guided(self, step: int, steps: int) -> bool:
        """Whether a step (from 0) has guidance."""
        return self.cfg_from <= (step + 0.5) / steps <= self.cfg_to

    def cached_blocks(self, blocks: int) -> range:
        """Blocks whose contribution is cached; empty when the cache is off or the model too small."""
        if self.block_every <= 1 or blocks <= 2 * EDGE_BLOCKS:
            return range(0)
        return range(EDGE_BLOCKS, blocks - EDGE_BLOCKS)

    def skipped_blocks(self, blocks: int, step: int, steps: int) -> range:
        """Blocks that a step (from 0) does not compute."""
        if step < FIRST_STEPS or step == steps - 1 or (step - FIRST_STEPS) % self.block_every == 0:
            return range(0)
        return self.cached_blocks(blocks)

    def computes_references(self, step: int, steps: int) -> bool:
        """Whether a step (from 0) computes the references."""
        return step < 1 or step % self.reference_every == 0 or step == steps - 1

    def needs_engine(self) -> bool:
        """Whether something is on that only the fast forward can do."""
        return self.block_every > 1 or self.reference_every > 1 or self.attention_8bit

    def text(self) -> str:
        """What is on, in words."""
        parts: list[str] = []
        if (self.cfg_from, self.cfg_to) != (0.0, 1.0):
            parts.append(f"guidance from {self.cfg_from:.0%} to {self.cfg_to:.0%} of the steps")
        if self.block_every > 1:
            parts.append(f"middle blocks at every {_nth(self.block_every)} step")
        if self.reference_every > 1:
            parts.append(f"references at every {_nth(self.reference_every)} step")
        if self.attention_8bit:
            parts.append("8-bit attention")
        return ", ".join(parts) or "none"


NONE = Shortcuts()
"""Everything exact."""


def from_options(options: Mapping[str, Any]) -> Shortcuts:
    """Read the base's options.

    Raises:
        UserError: An option has a value that it cannot have.
    """
    interval = options.get("cfg_interval", (0.0, 1.0))
    if not (isinstance(interval, list | tuple) and len(interval) == 2
            and all(isinstance(end, int | float) and not isinstance(end, bool) for end in interval)
            and 0 <= interval[0] < interval[1] <= 1):
        raise UserError(f"The base's option cfg_interval is {interval!r}.",
                        fix="Give two shares of the steps, such as [0.0, 0.6].")
    return Shortcuts(
        float(interval[0]), float(interval[1]), _every(options, "block_cache"), _every(options, "reference_cache"),
        _flag(options, "attention_8bit"),
    )


def to_options(shortcuts: Shortcuts) -> dict[str, Any]:
    """The base's options that switch these on; what is off is left out, so that plans without them keep their cells."""
    found: dict[str, Any] = {}
    if (shortcuts.cfg_from, shortcuts.cfg_to) != (0.0, 1.0):
        found["cfg_interval"] = [shortcuts.cfg_from, shortcuts.cfg_to]
    if shortcuts.block_every > 1:
        found["block_cache"] = shortcuts.block_every
    if shortcuts.reference_every > 1:
        found["reference_cache"] = shortcuts.reference_every
    if shortcuts.attention_8bit:
        found["attention_8bit"] = True
    return found


def _every(options: Mapping[str, Any], name: str) -> int:
    value = options.get(name, 1)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 8:
        raise UserError(f"The base's option {name} is {value!r}.",
                        fix="Give a whole number from 1 (off) to 8: every how manieth step is computed whole.")
    return value


def _flag(options: Mapping[str, Any], name: str) -> bool:
    value = options.get(name, False)
    if not isinstance(value, bool):
        raise UserError(f"The base's option {name} is {value!r}.", fix="Use true or false.")
    return value


def _nth(count: int) -> str:
    return {2: "second", 3: "third"}.get(count, f"{count}th")
