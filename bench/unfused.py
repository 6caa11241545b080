"""Scores of LoRAs added to bf16 weights against the same LoRAs as PEFT branches beside them, on the embedded model.

    python bench/unfused.py            8 photographs, weights 1.0 and 0.1
    python bench/unfused.py --quick    2 photographs, weight 0.1: tests the script, its intervals are wide

Adding a LoRA to bf16 weights rounds once, and of a small change rounding eats a part; diffusers' unfused way keeps the
change in branches of its own. The same cells are made both ways in bf16 by the same forward, and once in fp32 with the
LoRA added, which loses nothing. Differences are merged − unfused, by photograph, with 95 % intervals for new ones.
Exit status 1 if the interval of the consistency rate leaves ± 5 points by its estimate, that is if scores shift.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import numpy as np
from lab.command import graded, parser
from lab.figures import Figure

if TYPE_CHECKING:
    from whichlora.analysis.cells import Verdict
    from whichlora.types import Candidate, Plan

ROW = "Multiple-Angles"
MARGIN = 0.05
ARMS = {"merged": "bfloat16", "unfused": "bfloat16", "fp32": "float32"}


@dataclass(frozen=True)
class Arm:
    """One way of making the cells."""

    verdicts: Mapping[tuple[str, str, int], Verdict]
    """(row, case, seed) → verdict."""
    values: Mapping[str, Mapping[tuple[str, str, int], float]]
    """Metric → (row, case, seed) → figure, of metrics that decide a condition."""
    pictures: Mapping[tuple[str, str, int], Any]
    """(row, case, seed) → pixels."""
    lost: Mapping[str, float]
    """Row → size of the rounding error relative to the change, as the switch reports it."""


def main() -> None:
    given = parser(__doc__, ["scores"]).parse_args()
    sys.exit(graded({"scores": lambda quick: list(scores(quick))}, given, "the embedded model, on a processor"))


def scores(quick: bool) -> Iterator[Figure]:
    """What the way of applying a LoRA does to scores and pixels."""
    from whichlora.cli.demo import set_up
    from whichlora.cli.project import open_project

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "project"
        set_up(folder, photos=2 if quick else 8)
        project = open_project(folder)
        weights = (0.1,) if quick else (1.0, 0.1)
        arms = {name: made(project, Path(scratch) / name, name, weights) for name in ARMS}
    for weight in weights:
        row = f"{ROW} at {weight:g}"
        merged, unfused, exact = (arms[name] for name in ARMS)
        keys = [key for key in merged.pictures if key[0] == row and key in unfused.pictures and key in exact.pictures]
        yield Figure(f"{row}: pairs of pictures", len(keys), "≥ 2", len(keys) >= 2)
        yield Figure(f"{row}: rounding error of the merged change, relative to it", round(merged.lost[row], 4),
                     "printed", True)
        for name, one, other in (("merged, unfused", merged, unfused), ("merged, fp32", merged, exact),
                                 ("unfused, fp32", unfused, exact)):
            decibels = [psnr(one.pictures[key], other.pictures[key]) for key in keys]
            yield Figure(f"{row}: median PSNR of {name}, dB", round(float(np.median(decibels)), 1), "printed", True)
        yield rate_change(row, keys, merged, unfused)
        for metric in sorted(merged.values):
            yield from figure_change(row, metric, keys, merged.values[metric], unfused.values.get(metric, {}))


def made(project: Any, place: Path, arm: str, weights: tuple[float, ...]) -> Arm:
    """Make and score one LoRA at several weights."""
    from whichlora.cli._tuning import verdicts
    from whichlora.cli.project import draft_rows, identify_base, library_versions, make_plan
    from whichlora.cli.stages import score
    from whichlora.metrics.stage import scoring_context
    from whichlora.run.pictures import photograph_reader
    from whichlora.run.runner import run_plan
    from whichlora.store import Store
    from whichlora.suite.photos import open_picture

    spec = project.suite.base
    spec = spec.model_copy(update={"options": {**spec.options, "dtype": ARMS[arm]}})
    project = replace(project, suite=project.suite.model_copy(update={"base": spec}))
    family, base = identify_base(project, "cpu")
    drafted, refused = draft_rows(project, family, base)
    stock = next(row for row in drafted if row.name == ROW)
    rows = [next(row for row in drafted if row.role == "base"), *(at_weight(stock, weight) for weight in weights)]
    session = family.load(base, "cpu")
    if arm == "unfused":
        session.switch = Unfused(session).switch
    plan: Plan = make_plan(project, base, rows, refused, library_versions(base.family))
    wanted = {cell.id for cell in plan.cells if cell.candidate != "base"}
    with Store(place, create=True) as store:
        run_plan(plan, store, session, photograph_reader(plan, project.workspace.folder), only=wanted)
        score(project, store, plan)
        judged, generations = verdicts(plan, store)
        names = {cell.id: (cell.candidate, cell.case, cell.seed) for cell in plan.cells if cell.id in wanted}
        values: dict[str, dict[tuple[str, str, int], float]] = defaultdict(dict)
        for each in store.scores(context=scoring_context(plan)):
            if each.cell in names and each.gate is not None and each.value is not None:
                values[each.metric][names[each.cell]] = each.value
        pictures = {names[cell]: open_picture(store.images.path(row.image)) for cell, row in generations.items()
                    if cell in names and row.image}
    lost = {row.name: float(session.switch(row).facts.get("rounding_loss", 0.0)) for row in rows[1:]}
    return Arm({(v.cell.candidate, v.cell.case, v.cell.seed): v for v in judged}, dict(values), pictures, lost)


def at_weight(row: Candidate, weight: float) -> Candidate:
    """The row with its adapters at another weight."""
    uses = tuple(replace(use, weight=weight) for use in row.adapters)
    return replace(row, name=f"{row.name} at {weight:g}", adapters=uses)


class Unfused:
    """Switches a session's LoRAs as diffusers does without fusing: PEFT's branches beside untouched weights."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._plain = session.switch

    def switch(self, candidate: Candidate) -> Any:
        """See `families.base.Session`; the weights themselves stay the base's."""
        from whichlora.families.base import SwitchReport
        from whichlora.lora.delta import canonical_state_dict

        report = self._plain(replace(candidate, adapters=()))
        model = self._session._parts.transformer
        if getattr(model, "peft_config", None):
            model.unload_lora()
        for place, use in enumerate(candidate.applied):
            import torch

            state = {name: torch.from_numpy(value) for name, value in canonical_state_dict(use.path).items()}
            model.load_lora_adapter(state, prefix="transformer", adapter_name=f"a{place}")
        if candidate.applied:
            model.set_adapters([f"a{place}" for place in range(len(candidate.applied))],
                               [use.weight for use in candidate.applied])
            changed = sum(1 for name, _ in model.named_modules() if name.endswith(".lora_A"))
            return SwitchReport(candidate.name, changed, changed, report.seconds)
        return report


def psnr(one: Any, other: Any) -> float:
    """Peak signal-to-noise ratio of two pictures, dB; 99 when they are equal."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


def rate_change(row: str, keys: list[tuple[str, str, int]], merged: Arm, unfused: Arm) -> Figure:
    """Paired change of the consistency rate, in points."""
    pairs: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for key in keys:
        one, other = merged.verdicts[key], unfused.verdicts[key]
        if one.passed is not None and other.passed is not None:
            pairs[one.case.source].append((one.passed, other.passed))
    name = f"{row}: change of the consistency rate in points, and its interval"
    if len(pairs) < 2:
        return Figure(name, [], "two photographs with an answer", False)  # type: ignore[arg-type]
    from whichlora.stats.paired import paired_difference

    rates = [[float(np.mean([each[side] for each in found])) for found in pairs.values()] for side in (0, 1)]
    cells = sum(map(len, pairs.values()))
    found = paired_difference(rates[0], rates[1], cells / len(pairs))
    flips = sum(one != other for rows in pairs.values() for one, other in rows)
    points = [round(100 * each, 1) for each in (found.value, found.low, found.high)]
    return Figure(f"{name} ({flips} of {cells} verdicts differ)", points, "inside ±5: the estimate",  # type: ignore[arg-type]
                  abs(found.value) <= MARGIN)


def figure_change(
    row: str, metric: str, keys: list[tuple[str, str, int]], merged: Mapping[Any, float], unfused: Mapping[Any, float]
) -> Iterator[Figure]:
    """Paired change of a metric's figure with a t interval over photographs."""
    from whichlora.stats.rates import t_quantile

    found: dict[str, list[float]] = defaultdict(list)
    for key in keys:
        if key in merged and key in unfused:
            found[key[1].partition("/")[0]].append(merged[key] - unfused[key])
    means = [float(np.mean(each)) for each in found.values()]
    if len(means) >= 2:
        half = float(t_quantile(0.975, len(means) - 1)) * float(np.std(means, ddof=1)) / len(means) ** 0.5
        middle = float(np.mean(means))
        yield Figure(f"{row}: {metric}, change and its interval", [round(each, 4) for each in (
            middle, middle - half, middle + half)], "printed", True)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
