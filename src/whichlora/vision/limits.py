"""What the recognisers are known to get wrong, as sentences for every report. Reads recorded counts; measures nothing.

The counts stand in `limits.json`, written by `python bench/blindspots.py --write` and `python bench/truth.py --write`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from whichlora.vision.packs import PACKS

WEAK_SHARE = 0.7
"""Below this share of one person's photographs recognised, a condition is named as a blind spot."""


@lru_cache(maxsize=1)
def recorded() -> Mapping[str, Any]:
    """The recorded counts: 'photograph' by condition, and 'figure'."""
    return dict(json.loads(files("whichlora.vision").joinpath("limits.json").read_text(encoding="utf-8")))


def sentences(kind: str, packs: Sequence[str] = ()) -> tuple[str, ...]:
    """Known limits of judging identity for a kind of subject.

    Args:
        kind: 'photograph', 'figure', 'drawn' or 'other'.
        packs: Identity packs in use; each is named with its licence.
    """
    said = {"photograph": _photograph, "figure": _figure}.get(kind, _other)(packs)
    used = [PACKS[name].licence_line() for name in packs if name in PACKS and kind in PACKS[name].subjects]
    return (*said, *(f"Identity is also judged by {line}." for line in used))


def _photograph(packs: Sequence[str]) -> list[str]:
    del packs
    found: Mapping[str, Mapping[str, Any]] = recorded()["photograph"]
    lost = [f"{name} ({row['recognised']} of {row['own']})" for name, row in found.items()
            if not row["another"] and row["recognised"] < WEAK_SHARE * row["own"]]
    fooled = [f"{name} ({row['recognised']} of {row['own']})" for name, row in found.items()
              if row["another"] and row["recognised"] > 0]
    clean = found["unchanged"]
    said = [
        f"The packaged face recogniser knew {clean['recognised']} of {clean['own']} pairs of photographs of one person "
        f"and took {clean['accepted']} of {clean['strangers']} strangers for that person, on the few portraits that "
        "may be shipped. It is known to be far worse on East Asian faces (in one small test it accepted 36 of 52 pairs "
        "of different people at its usual threshold); age, skin tone and gender could not be measured on so few.",
        "Faces turned beyond ±70° and views from behind are not judged by it.",
    ]
    if lost:
        said.append(f"It loses people it knows when they are shown with {', '.join(lost)}.")
    if fooled:
        said.append(f"It does not notice {', '.join(fooled)}: look at the pictures.")
    return said


def _figure(packs: Sequence[str]) -> list[str]:
    del packs
    row = recorded()["figure"]
    return [
        f"The figure reader does not see the colour of eyes: {row['eyes_passed']} of {row['eyes']} figures with other "
        "eyes passed. In views far from every picture of the character it only tells strangers apart.",
    ]


def _other(packs: Sequence[str]) -> list[str]:
    if any(name in packs for name in ("ccip", "dinov2")):
        return []
    return ["Nothing in this installation can tell whether a drawn character or a thing is the same one; identity was "
            "left open. 'whichlora packs' lists recognisers that can be added."]
