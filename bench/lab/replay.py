"""Screening replayed on a recorded matrix, and the recording of one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lab.figures import Figure, at_least, at_most
from whichlora.stats.screening import cost, schedule, standing, survivors

RECORDED = Path(__file__).resolve().parent.parent / "recorded" / "matrix.json"
COUNT = 12
SHARE = 0.35


def replayed(quick: bool) -> list[Figure]:
    """12 candidates × 20 photographs × 4 instructions, like a measured matrix: photographs and rivals drawn anew."""
    record = json.loads(RECORDED.read_text(encoding="utf-8"))
    repeats = 100 if quick else 600
    slack = 3 * np.sqrt(0.05 * 0.95 / repeats)
    result = []
    for what, edits in (
        ("must-haves", [e for e, family in record["families"].items() if family in record["must_have"]]),
        ("all instructions", list(record["families"])),
    ):
        names = sorted(record["passed"], key=lambda name, e=edits: -_rate(record, name, e))
        lead = _rate(record, names[0], edits) - _rate(record, names[1], edits)
        kept, same, whole, share = _replay(record, names, edits, SHARE, repeats)
        result += [
            Figure(f"recorded matrix, {what}: the best leads the second by, points", round(100 * lead, 1), "printed",
                   True),
            at_least(f"recorded matrix, {what}: the true best is picked", kept, 0.95, slack),
            Figure("  the full matrix picks it", round(whole, 3), "printed", True),
            at_least("  the same pick as the full matrix", same, 0.95, slack),
            at_most("  share of the matrix spent", share, SHARE),
            Figure("  pictures made of 960", float(round(960 * share)), "printed", True),
        ]
        enough = SHARE
        for smaller in (0.3, 0.25, 0.2, 0.15, 0.1, 0.07):
            if _replay(record, names, edits, smaller, repeats)[0] < 0.95:
                break
            enough = smaller
        result.append(Figure(f"  least share that still picks it 19 times of 20, {what}", enough, "printed", True))
    return result


def _replay(
    record: dict[str, object], names: Sequence[str], edits: Sequence[str], share: float, repeats: int,
) -> tuple[float, float, float, float]:
    """Shares of repeats in which the best is picked, the full matrix's pick is, the full matrix finds it; cells."""
    rng = np.random.default_rng(2)
    kept = same = whole = 0
    spent = 0.0
    for _ in range(repeats):
        y, kind = _like(rng, record, names, list(record["families"]))  # type: ignore[call-overload]
        order = rng.permutation(COUNT)  # equals are kept in the plan's order, which must not know the best
        y, best = y[order], int(np.flatnonzero(order == 0)[0])
        needed = [i for i, e in enumerate(kind) if e in edits]
        rounds = schedule(COUNT, y.shape[1], share)
        alive = list(range(COUNT))
        for stage in rounds[:-1]:
            columns = [i for i in needed if i < stage.steps]
            stay = survivors(y[alive][:, columns], [kind[i] for i in columns], stage.keep)
            alive = [alive[i] for i in stay]
        last = [i for i in needed if i < rounds[-1].steps]
        mine = standing(y[:, last], [kind[i] for i in last])[0]
        overall = standing(y[:, needed], [kind[i] for i in needed])[0]
        pick = max(alive, key=lambda i: mine[i])
        kept += pick == best
        same += bool(overall[pick] >= overall.max() - 1e-12)
        whole += int(overall.argmax()) == best
        spent += cost(COUNT, rounds) / y.size
    return kept / repeats, same / repeats, whole / repeats, spent / repeats


def _rate(record: dict[str, object], name: str, edits: Sequence[str]) -> float:
    cells = record["passed"][name]  # type: ignore[index]
    return float(np.mean([np.mean([row[e] for row in cells.values() if e in row]) for e in edits]))


def _like(
    rng: np.random.Generator, record: dict[str, object], names: Sequence[str], edits: Sequence[str],
) -> tuple[np.ndarray, list[str]]:
    """The best and eleven draws from the rest, on twenty photographs drawn with replacement.

    A cell passes as recorded three times in five, else by its candidate's rate at the instruction, so that copies of
    one candidate are rivals and not twins.
    """
    passed = record["passed"]
    photos = list(next(iter(passed.values())))  # type: ignore[union-attr,attr-defined]
    chosen = [photos[i] for i in rng.integers(0, len(photos), 20)]
    rows = [names[0], *(names[1 + i] for i in rng.integers(0, len(names) - 1, COUNT - 1))]
    steps = [(photo, edits[(number + turn) % len(edits)]) for turn in range(len(edits))
             for number, photo in enumerate(chosen)]
    means = {name: {e: np.mean([row[e] for row in passed[name].values() if e in row]) for e in edits}  # type: ignore[index]
             for name in set(rows)}
    table = np.array([
        [0.6 * passed[name][photo].get(e, means[name][e]) + 0.4 * means[name][e] for photo, e in steps]  # type: ignore[index]
        for name in rows
    ])
    return (rng.random(table.shape) < table).astype(float), [e for _, e in steps]


def record(folder: Path) -> None:
    """Write the passes of a measured project, controls left out."""
    from whichlora.cli._screened import answers
    from whichlora.plan.codec import plan_from_json
    from whichlora.store import Store

    with Store(folder) as store:
        plan = plan_from_json(store.document("plan") or {})
        told = answers(plan, store, [cell.id for cell in plan.cells])
    cases = {case.id: case for case in plan.cases}
    passed: dict[str, dict[str, dict[str, int]]] = {}
    for cell in plan.cells:
        row = next(c for c in plan.candidates if c.name == cell.candidate)
        answer = told.get(cell.id)
        if row.role == "candidate" and answer is not None:
            case = cases[cell.case]
            passed.setdefault(row.name, {}).setdefault(case.source, {})[case.edit] = int(answer)
    families = {case.edit: case.family for case in plan.cases}
    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_text(json.dumps(
        {"families": families, "must_have": list(plan.must_have), "passed": passed}, indent=1) + "\n", encoding="utf-8")
    print(f"{sum(len(row) for rows in passed.values() for row in rows.values())} cells written to {RECORDED}")
