"""Break the store on purpose and count: kills, failing calls, power cuts, rot, races; then prove that it would show.

    python bench/chaos.py                  every fault, then every planted bug
    python bench/chaos.py --quick          the same, small (what continuous integration runs)
    python bench/chaos.py --kills 10000 --cuts 1000

Needs Linux and strace. Exit status 1 when anything was lost, corrupt, doubled, or a planted bug was not found.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from chaoslab import bugs, faults
from chaoslab.faults import Lab, Tally

PARTS = ("kills", "errors", "cuts", "rot", "races", "unreadable")
Fault = Callable[[Lab, Callable[[Tally], bool]], Tally]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small counts")
    parser.add_argument("--kills", type=int, default=None, help="least number of SIGKILLs (10,000; quick: 100)")
    parser.add_argument("--cuts", type=int, default=None, help="least number of power cuts (2,000; quick: 100)")
    parser.add_argument("--no-bugs", action="store_true", help="leave the planted bugs out")
    parser.add_argument("--only", choices=[*PARTS, "bugs"], help="one part")
    parser.add_argument("--save", type=Path, help="also write the counts as JSON")
    asked = parser.parse_args()
    memory = Path("/dev/shm")
    scratch = Path(tempfile.mkdtemp(prefix="whichlora-chaos-", dir=memory if memory.is_dir() else None))
    try:
        document, sound = run(scratch, asked)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if asked.save:
        asked.save.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    raise SystemExit(0 if sound else 1)


def run(scratch: Path, asked: argparse.Namespace) -> tuple[dict[str, object], bool]:
    """Every part that was asked for; the counts, and whether all is well."""
    quick = asked.quick
    wanted_kills = asked.kills or (100 if quick else 10_000)
    wanted_cuts = asked.cuts or (100 if quick else 2_000)
    parts: dict[str, Fault] = {
        "kills": lambda lab, stop: faults.kills(lab, wanted_kills // 2, stop, step=5 if quick else 1),
        "errors": lambda lab, stop: faults.errors(lab, stop, step=7 if quick else 1),
        "cuts": lambda lab, stop: faults.power_cuts(lab, wanted_cuts // 2, stop, step=7 if quick else 1),
        "rot": lambda lab, stop: faults.rot(lab, 20 if quick else 500, stop),
        "races": lambda lab, stop: faults.races(lab, 4 if quick else 50, stop),
        "unreadable": faults.unreadable,
    }
    document: dict[str, object] = {}
    sound = True
    modes = () if asked.only == "bugs" else ("wal", "journal")
    for mode in modes:
        for name, fault in parts.items():
            if asked.only not in (None, name):
                continue
            started = time.monotonic()
            with Lab(scratch, count=3 if quick else 5, mode=mode) as lab:
                tally = fault(lab, lambda _: False)
            sound &= not tally.problems
            document[f"{name} ({mode})"] = told(f"{name} ({mode})", tally, time.monotonic() - started)
    if asked.only in (None, "bugs") and not asked.no_bugs:
        caught = planted(scratch)
        document["bugs"] = caught
        sound &= all(caught.values())
    print("All is well." if sound else "SOMETHING IS WRONG: see above.")
    return document, sound


def told(name: str, tally: Tally, seconds: float) -> dict[str, object]:
    """Print one fault's counts and return them."""
    print(f"{name}: {tally.hurts} in {seconds:.0f} s, {len(tally.problems)} problems; "
          + ", ".join(f"{place} {times}" for place, times in sorted(tally.places.items()))
          + (f"; loser gone after {tally.seconds:.3f} s at most" if tally.seconds else ""), flush=True)
    for problem in tally.problems[:12]:
        print(f"   {problem}")
    return {"hurts": tally.hurts, "problems": len(tally.problems), "places": dict(tally.places)}


def planted(scratch: Path, names: Sequence[str] = tuple(bugs.BUGS)) -> dict[str, str]:
    """Plant each bug and look which fault finds it; '' when none does."""
    hunts: dict[str, Fault] = {
        "races": lambda lab, stop: faults.races(lab, 2, stop),
        "rot": lambda lab, stop: faults.rot(lab, 6, stop),
        "unreadable": faults.unreadable,
        "cuts": lambda lab, stop: faults.power_cuts(lab, 0, stop),
        "errors": lambda lab, stop: faults.errors(lab, stop),
        "kills": lambda lab, stop: faults.kills(lab, 0, stop),
    }
    caught: dict[str, str] = {}
    for bug in names:
        caught[bug] = ""
        for name, hunt in hunts.items():
            with Lab(scratch, count=3, bug=bug, mode="journal" if bug in bugs.JOURNAL_ONLY else "wal") as lab:
                tally = hunt(lab, lambda tally: bool(tally.problems))
            if tally.problems:
                caught[bug] = f"{name} (after {tally.hurts}): {tally.problems[0]}"
                break
        print(f"planted {bug}: {'found by ' + caught[bug] if caught[bug] else 'NOT FOUND'}", flush=True)
    print(f"{sum(map(bool, caught.values()))} of {len(caught)} planted bugs found")
    return caught


if __name__ == "__main__":
    main()
