"""Replays twenty recorded worlds through the real store, analysis and report, and compares verdicts with the truth.

    python bench/worlds.py              all worlds through `whichlora report`, HTML and Markdown included
    python bench/worlds.py --quick      the same, with the report for one world of each outcome
    python bench/worlds.py --json       one JSON document on stdout
    python bench/worlds.py --record     draw the matrices anew (they are in tests/data/worlds)

Exit status 1 if a verdict contradicts its world, or a goal is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from lab.figures import Figure, at_least, at_most
from lab.planted import FOLDER, record_all
from lab.recorded import load, restore

from whichlora.analysis.settings import Settings
from whichlora.analysis.stage import analyse_store
from whichlora.cli.main import main as main_of_whichlora
from whichlora.findings import Findings
from whichlora.metrics.stage import scoring_context
from whichlora.store import Store
from whichlora.suite.loading import load_suite

DEMO = ("existing", "LoRA")
"""The demo's answer: one LoRA."""


def answer_of(verdict: Mapping[str, Any]) -> tuple[str, str]:
    """Strategy and what it uses, told apart as outcomes: the base is not a LoRA."""
    if verdict["decision"] == "existing":
        return "existing", "base" if verdict["candidate"] == "base" else "LoRA"
    return str(verdict["decision"]), ""


def agrees(world: Mapping[str, Any], verdict: Mapping[str, Any]) -> bool:
    """Is the verdict the truth of its world?"""
    truth = world["truth"]
    named = not truth["candidates"] or verdict["candidate"] in truth["candidates"]
    return verdict["decision"] == truth["decision"] and named


def through_report(folder: Path) -> dict[str, Any]:
    """Verdict of `whichlora report`, read from what it wrote."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
            main_of_whichlora(["report", str(folder), "--json", "--markdown", str(folder / "results.md")])
    except SystemExit as left:
        if left.code:
            raise RuntimeError(f"report of {folder.name} left with {left.code}") from left
    document = json.loads(said.getvalue())
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    told = json.loads((folder / "report" / "findings.json").read_text(encoding="utf-8"))
    verdict = told["recommendation"]
    if verdict["sentence"] != document["verdict"]["sentence"] or verdict["sentence"][:30] not in page:
        raise RuntimeError(f"the outputs of {folder.name} disagree")
    return verdict


def through_analysis(folder: Path, world: Mapping[str, Any]) -> Findings:
    """Findings from the store alone, without writing a report."""
    from whichlora.cli.stages import stored_plan
    from whichlora.cli.wishes import analysis_settings

    with Store(folder) as store:
        plan = stored_plan(store)
        wishes = analysis_settings(load_suite(folder / "whichlora.yaml"))
        return analyse_store(store, plan, context=scoring_context(plan), manifest={},
                             settings={**wishes, "draws": Settings().draws})


def replay(paths: list[Path], quick: bool) -> list[tuple[dict[str, Any], dict[str, Any], bool]]:
    """World, verdict and whether a report was written, for every world."""
    found = []
    reported: set[str] = set()
    for path in paths:
        world = load(path)
        with tempfile.TemporaryDirectory(prefix="world-") as scratch:
            folder = Path(scratch) / world["name"]
            restore(world, folder)
            truth = world["truth"]
            outcome = truth["decision"] + ("-base" if truth["candidates"] == ["base"] else "")
            whole = not quick or outcome not in reported
            reported.add(outcome)
            verdict = through_report(folder) if whole else asdict(through_analysis(folder, world).recommendation)
        found.append((world, verdict, whole))
    return found


def graded(found: list[tuple[dict[str, Any], dict[str, Any], bool]]) -> list[Figure]:
    """Goals over all worlds."""
    right = sum(agrees(world, verdict) for world, verdict, _ in found)
    undecided = sum(verdict["decision"] == "undecided" for _, verdict, _ in found)
    wrong = sum(bool(verdict["firm"]) and not agrees(world, verdict) for world, verdict, _ in found)
    outcomes = {answer_of(verdict) for world, verdict, whole in found if whole and agrees(world, verdict)}
    other = sum(answer_of(verdict) != DEMO for world, verdict, _ in found if agrees(world, verdict))
    return [
        Figure("worlds", float(len(found)), "20", len(found) == 20),
        # An undecided world whose truth could be known is a miss of its own, but no contradiction.
        at_least("verdict and truth agree", right, len(found) - 4),
        at_most("verdicts that contradict the truth", wrong, 0),
        at_most("undecided", undecided, 4),
        at_least("outcomes reached through a whole report (of 6)", len(outcomes), 6),
        at_least("right answers that are not the demo's", other, 8),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a report for one world of each outcome")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--record", action="store_true", help="draw the matrices anew")
    given = parser.parse_args()
    if given.record:
        for path in record_all():
            print(path.name)
        return 0
    found = replay(sorted(FOLDER.glob("*.json")), given.quick)
    figures = graded(found)
    if given.json:
        rows = [{"world": w["name"], "truth": w["truth"]["decision"], "decision": v["decision"],
                 "candidate": v["candidate"], "firm": v["firm"], "agrees": agrees(w, v)} for w, v, _ in found]
        run = {"what": "recorded matrices with known truth", "quick": given.quick, "worlds": rows}
        print(json.dumps({"figures": [asdict(figure) for figure in figures], "run": run}, indent=1))
    else:
        print(f"{'world':<22}{'truth':<11}{'verdict':<11}{'uses':<28}agrees")
        for world, verdict, _ in found:
            uses = verdict["candidate"] + (f" (leaning {verdict['provisional']})" if verdict["provisional"] else "")
            print(f"{world['name']:<22}{world['truth']['decision']:<11}{verdict['decision']:<11}{uses:<28}"
                  f"{'yes' if agrees(world, verdict) else 'NO'}")
        for figure in figures:
            print(f"{'ok  ' if figure.ok else 'MISS'} {figure.name}: {figure.value:g} ({figure.target})")
    return 0 if all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
