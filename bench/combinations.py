"""Grades merges, weight sweeps, stacks, routes and chains where the truth is planted.

    python bench/combinations.py                the simulated questions at full length (minutes)
    python bench/combinations.py --quick        the same with fewer repeats (under a minute on 2 cores)
    python bench/combinations.py --tinyworld    also on the embedded model, pictures included (tens of minutes)
    python bench/combinations.py --json         one JSON document on stdout

In the embedded world an over-trained LoRA is planted: the shipped 'Multiple-Angles' with its change made 1.6 times as
large, so that its best weight is near 1 / 1.6. Exit status 1 if a figure misses its target.
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

from lab.figures import Figure
from pairs.simulated import merges, routes, stacks, sweeps

PARTS: dict[str, Callable[[bool], list[Figure]]] = {
    "merges": merges, "sweeps": sweeps, "stacks": stacks, "routes": routes,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--tinyworld", type=Path, nargs="?", const=Path("combinations-project"), metavar="FOLDER",
                        help="also make pictures with the embedded model, in this folder; goes on where it stopped")
    parser.add_argument("--only", choices=sorted([*PARTS, "tinyworld"]), action="append", help="only this part")
    given = parser.parse_args()
    parts = dict(PARTS)
    if given.tinyworld is not None:
        from pairs.pictured import pictured

        parts["tinyworld"] = lambda quick: pictured(given.tinyworld, quick)
    figures: list[Figure] = []
    seconds = {}
    for name, part in parts.items():
        if given.only and name not in given.only:
            continue
        start = time.perf_counter()
        figures += part(given.quick)
        seconds[name] = round(time.perf_counter() - start, 1)
        print(f"{name}: {seconds[name]} s", file=sys.stderr)
    if given.json:
        run_facts = {"what": "planted truths" + (" and the embedded model" if given.tinyworld else ""),
                     "quick": given.quick, "seconds": seconds}
        print(json.dumps({"figures": [asdict(figure) for figure in figures], "run": run_facts}, indent=1))
    else:
        for figure in figures:
            print(f"{'ok  ' if figure.ok else 'MISS'} {figure.name}: {figure.value} ({figure.target})")
    return 0 if all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
