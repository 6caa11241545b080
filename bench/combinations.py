"""Grades merges, weight sweeps, stacks, routes and chains where the truth is planted.

    python bench/combinations.py                the simulated questions at full length (minutes)
    python bench/combinations.py --quick        the same with fewer repeats (under a minute on 2 cores)
    python bench/combinations.py --tinyworld    also on the embedded model, pictures included (tens of minutes)
    python bench/combinations.py --json         one JSON document on stdout

In the embedded world an over-trained LoRA is planted: the shipped 'Multiple-Angles' with its change made 1.6 times as
large, so that its best weight is near 1 / 1.6. Exit status 1 if a figure misses its target.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from lab.command import Part, graded, parser
from pairs.simulated import merges, routes, stacks, sweeps

PARTS: dict[str, Part] = {
    "merges": merges, "sweeps": sweeps, "stacks": stacks, "routes": routes,
}


def main() -> int:
    options = parser(__doc__, [*PARTS, "tinyworld"])
    options.add_argument("--tinyworld", type=Path, nargs="?", const=Path("combinations-project"), metavar="FOLDER",
                         help="also make pictures with the embedded model, in this folder; goes on where it stopped")
    given = options.parse_args()
    if given.tinyworld is None:
        if "tinyworld" in (given.only or ()):
            options.error("--only tinyworld needs --tinyworld as well")
        return graded(PARTS, given, "planted truths")
    from pairs.pictured import pictured

    pictures: Part = lambda quick: pictured(given.tinyworld, quick)  # noqa: E731
    return graded({**PARTS, "tinyworld": pictures}, given, "planted truths and the embedded model")


if __name__ == "__main__":
    raise SystemExit(main())
