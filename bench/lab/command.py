"""The command line that graded benchmarks share: choose parts, run them, print each figure beside its target."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from lab.figures import Figure

Part = Callable[[bool], list[Figure]]
"""quick → figures."""


def parser(doc: str | None, parts: Sequence[str]) -> argparse.ArgumentParser:
    """Options of every graded benchmark; the caller may add its own."""
    made = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    made.add_argument("--quick", action="store_true", help="fewer repeats")
    made.add_argument("--json", action="store_true", help="one JSON document on stdout")
    made.add_argument("--only", choices=sorted(parts), action="append", help="only this part (may be repeated)")
    return made


def graded(parts: Mapping[str, Part], given: argparse.Namespace, what: str) -> int:
    """Run the chosen parts and print their figures; 1 if one misses its target, else 0.

    Args:
        parts: By name, in the order in which they run.
        given: From `parser`.
        what: What is graded, for the JSON document.
    """
    figures: list[Figure] = []
    seconds: dict[str, float] = {}
    for name, part in parts.items():
        if given.only and name not in given.only:
            continue
        start = time.perf_counter()
        figures += part(given.quick)
        seconds[name] = round(time.perf_counter() - start, 1)
        print(f"{name}: {seconds[name]} s", file=sys.stderr)
    if given.json:
        facts = {"what": what, "quick": given.quick, "seconds": seconds}
        print(json.dumps({"figures": [asdict(figure) for figure in figures], "run": facts}, indent=1))
    else:
        for figure in figures:
            print(f"{'ok  ' if figure.ok else 'MISS'} {figure.name}: {figure.value} ({figure.target})")
    return 0 if all(figure.ok for figure in figures) else 1
