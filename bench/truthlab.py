"""Grades the statistics and the decision in simulated projects whose truth is known.

    python bench/truthlab.py            every count at full length (minutes)
    python bench/truthlab.py --quick    the same questions with fewer repeats (under a minute on 2 cores)
    python bench/truthlab.py --json     one JSON document on stdout

Each figure carries its target. Where a figure is the worst of many simulated cells, `ok` allows for three standard
errors of the simulation; the figure itself is printed as it is. Exit status 1 if a figure misses its target.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from lab.command import Part, graded, parser
from lab.decisions import decisions
from lab.family import family_wise
from lab.flipping import flip_cards
from lab.intervals import coverage
from lab.planning import promises, purchases
from lab.prose import prose
from lab.screening import screening
from lab.speed import speed
from lab.votes import badge, labels
from lab.winners import winners

PARTS: dict[str, Part] = {
    "coverage": coverage, "family": family_wise, "decisions": decisions, "winners": winners, "promises": promises,
    "screening": screening, "flips": flip_cards, "badge": badge, "labels": labels, "prose": prose, "speed": speed,
    "purchases": purchases,
}


def main() -> int:
    return graded(PARTS, parser(__doc__, list(PARTS)).parse_args(), "simulated projects with known truth")


if __name__ == "__main__":
    raise SystemExit(main())
