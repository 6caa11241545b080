"""Grades the statistics and the decision in simulated projects whose truth is known.

    python bench/truthlab.py            every count at full length (minutes)
    python bench/truthlab.py --quick    the same questions with fewer repeats (under a minute on 2 cores)
    python bench/truthlab.py --json     one JSON document on stdout

Each figure carries its target. Where a figure is the worst of many simulated cells, `ok` allows for three standard
errors of the simulation; the figure itself is printed as it is. Exit status 1 if a figure misses its target.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from lab.decisions import decisions
from lab.family import family_wise
from lab.figures import Figure
from lab.flipping import flip_cards
from lab.intervals import coverage
from lab.planning import promises, purchases
from lab.prose import prose
from lab.screening import screening
from lab.speed import speed
from lab.votes import badge, labels
from lab.winners import winners

PARTS: dict[str, Callable[[bool], list[Figure]]] = {
    "coverage": coverage, "family": family_wise, "decisions": decisions, "winners": winners, "promises": promises,
    "screening": screening, "flips": flip_cards, "badge": badge, "labels": labels, "prose": prose, "speed": speed,
    "purchases": purchases,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="only this part (may be repeated)")
    given = parser.parse_args()
    figures: list[Figure] = []
    seconds = {}
    for name, part in PARTS.items():
        if given.only and name not in given.only:
            continue
        start = time.perf_counter()
        figures += part(given.quick)
        seconds[name] = round(time.perf_counter() - start, 1)
        print(f"{name}: {seconds[name]} s", file=sys.stderr)
    if given.json:
        run_facts = {"what": "simulated projects with known truth", "quick": given.quick, "seconds": seconds}
        print(json.dumps({"figures": [asdict(figure) for figure in figures], "run": run_facts}, indent=1))
    else:
        for figure in figures:
            print(f"{'ok  ' if figure.ok else 'MISS'} {figure.name}: {figure.value} ({figure.target})")
    return 0 if all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
