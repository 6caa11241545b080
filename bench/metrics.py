"""Figures of the metrics: how fast they score, how exactly drift is recovered, which wrong pictures they catch.

    python bench/metrics.py            full counts
    python bench/metrics.py --quick    fewer repeats (under a minute on 2 quiet cores)
    python bench/metrics.py --json     one JSON document on stdout
    python bench/metrics.py --cost     only what scoring costs, by metric and kind of edit
    python bench/metrics.py --cost --against SRC   … compared in turns with the whichlora of another source folder
    python bench/metrics.py --beside   a small run of the tiny model, scored beside on the cores that make the pictures
    python bench/metrics.py --truth PROJECT   the truth table of a demo project: every gate against the exact truth

Photographs are the portraits of `tests/data`; figures are rendered. Exit status 1 if a figure misses its target.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT / "bench")]

from lab.scoring import measured_in  # noqa: E402

from metrics import photos  # noqa: E402
from whichlora import registry  # noqa: E402
from whichlora.metrics.scoring import measure_picture, prepare_all  # noqa: E402
from whichlora.vision.align import register, undrifted  # noqa: E402

NAMES = registry.names("metrics")
GPU_SECONDS = 17.0
"""The fastest 40-step picture of the 20 B model measured on one large GPU (17–31 s); scoring runs beside it."""
CORES = 2


@dataclass(frozen=True)
class Figure:
    """One figure with its target."""

    name: str
    value: float
    target: str
    ok: bool


def at_least(name: str, value: float, target: float) -> Figure:
    """A figure that must reach its target."""
    return Figure(name, round(float(value), 4), f">= {target:g}", bool(value >= target))


def at_most(name: str, value: float, target: float) -> Figure:
    """A figure that must not exceed its target."""
    return Figure(name, round(float(value), 4), f"<= {target:g}", bool(value <= target))


def cost(repeats: int, against: Path | None = None) -> tuple[list[Figure], list[dict[str, Any]]]:
    """What scoring costs, and the processor seconds of each metric; with another source folder, in turns with it."""
    ours, theirs = [], []
    for turn in range(2 if against else 1):  # ABBA: a machine that gets busier favours neither
        for src in (ROOT / "src", against) if turn == 0 else (against, ROOT / "src"):
            if src is not None:
                (theirs if src == against else ours).append(measured_in(src, repeats))
    found = ours[0]
    busy = float(np.mean(list(found["busy_s"].values())))
    figures = [
        at_least(f"photographs of 1 megapixel per second, all metrics, {CORES} cores", 1 / found["wall_s"], 0.5),
        at_most("processor seconds per photograph of 1 megapixel, mean of the kinds of edit", busy, 2.0),
        at_most(f"processor seconds of scoring per second of a 40-step picture on one GPU, in percent of {CORES} cores",
                100 * busy / CORES / GPU_SECONDS, 5.0),
        at_most("processor seconds that a photograph's first picture costs more", found["first_s"] - busy, 5.0),
        at_most("processor seconds to calibrate, per photograph", found["prepare_s"] / len(photos.person().references),
                2.0),
    ]
    figures += [at_most(f"processor seconds per picture, {family}", value, 2.0)
                for family, value in found["busy_s"].items()]
    if theirs:
        mean = [float(np.mean([list(item["busy_s"].values()) for item in side])) for side in (ours, theirs)]
        figures.append(at_most("processor seconds per picture, as a share of the other source folder's",
                               mean[0] / mean[1], 1.0))
    table = [{"metric": name, "processor_seconds": round(value, 4)}
             for name, value in sorted(found["by_metric_s"].items(), key=lambda item: -item[1])]
    return figures, table


def beside() -> list[Figure]:
    """What scoring beside takes from a run on a CPU, and whether it is done when the run is."""
    from lab.beside import run_beside

    found = run_beside()
    return [
        at_least(f"share of {found.pictures} pictures scored when the run is over", found.scored / found.pictures, 1.0),
        at_most("processor seconds of scoring per second of the workers, tiny model", found.scoring_s / found.making_s,
                1.0),
        at_most("processor seconds of scoring, per picture", found.scoring_s / found.pictures, 2.0),
        at_most("processor seconds of the workers, per picture", found.making_s / found.pictures, 60.0),
    ]


def figure_throughput(repeats: int) -> list[Figure]:
    """Milliseconds per 128² figure picture with every default metric."""
    try:
        from metrics import figures
    except ImportError:
        return []
    prepared = prepare_all(figures.figure_subject(), NAMES)
    source, truth = figures.sources()[0], figures.edited_to("camera", "right_45")[0]
    times = []
    for seed in range(repeats + 1):
        what = photos.view(source, photos.noisy(truth, 1.5, seed), "camera", ("identity", "background"), yaw_deg=45)
        start = time.perf_counter()
        measure_picture(what, prepared, NAMES)
        times.append(time.perf_counter() - start)
    return [at_most("milliseconds per 128 x 128 figure, all metrics", 1000 * float(np.median(times[1:])), 150.0)]


def drift() -> list[Figure]:
    """Zoom and shift planted into a real photograph, and what alignment gives back."""
    picture = photos.astronaut()
    scale_error = shift_error = loss = 0.0
    for scale, dx, dy in ((1.005, 0, 0), (1.01, 2, -1.5), (1.02, 6, -4), (1.05, 3, 3), (0.98, 0.3, 0.4)):
        output = photos.noisy(photos.warp(picture, scale, dx, dy), 4)
        found = register(picture, output)
        scale_error = max(scale_error, abs(found.scale - scale))
        shift_error = max(shift_error, abs(found.dx_px - dx), abs(found.dy_px - dy))
        moved, inside, _ = undrifted(picture, output)
        loss = max(loss, _db(picture, photos.noisy(picture, 4), inside) - _db(picture, moved, inside))
    return [
        at_most("largest error of a recovered zoom, percent", 100 * scale_error, 0.1),
        at_most("largest error of a recovered shift, px", shift_error, 0.2),
        at_most("background PSNR that alignment does not restore, dB", loss, 1.0),
    ]


def _db(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a[where].astype(float) - b[where]) ** 2)))


def controls() -> list[Figure]:
    """Control rows on portraits: nothing done, somebody else, real pairs."""
    prepared = prepare_all(photos.person(), NAMES)
    source = photos.portrait("president-smiling")
    asked = {"camera": {"yaw_deg": 30}, "lighting": {"light": "sunset"}, "background": {"background": "beach"},
             "expression": {"expression": "surprised"}}
    passed = 0
    for family, target in asked.items():
        for output in (source, photos.vae_like(source), photos.warp(source, 1.02, 2, 1)):
            result = measure_picture(photos.view(source, output, family, **target), prepared, NAMES)
            passed += result[f"following/{family}"].passed is not False
    strangers = [photos.portrait("vice-president"), photos.astronaut(),
                 photos.face_onto(source, photos.portrait("vice-president"))]
    accepted = sum(_identity(prepared, item) is not False for item in strangers)
    pairs = sum(_identity(prepared, photos.portrait(name)) is True for name in photos.OWN)
    return [
        at_most("do-nothing pictures that pass an edit", passed, 0),
        at_most("other people that pass identity", accepted, 0),
        at_least("real photographs that pass identity, of 3", pairs, 3),
    ]


def _identity(prepared: dict[str, Any], picture: np.ndarray) -> bool | None:
    what = photos.view(picture, picture, "camera", yaw_deg=30)
    return measure_picture(what, prepared, ["identity/face"])["identity/face"].passed


def truth_table(folder: Path) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Every gate of a scored demo project against the exact truth: AUC, precision, recall, Kendall's tau of rows."""
    from scipy.stats import kendalltau

    from whichlora.cli.stages import stored_plan
    from whichlora.metrics.stage import scoring_context
    from whichlora.store import Store

    with Store(folder) as store:
        plan = stored_plan(store)
        scores = store.scores(context=scoring_context(plan))
        truth = {item.cell: item.detail for item in store.scores() if item.metric == "truth/consistent"}
    rows = {cell.id: cell.candidate for cell in plan.cells}
    figures, table = [], []
    for name in sorted({item.metric for item in scores if item.gate in ("edit", "identity")}):
        key = "edit_done" if name.startswith("following/") else "identity_kept"
        items = [item for item in scores if item.metric == name and item.value is not None and item.cell in truth]
        if not items:
            continue
        right = np.array([bool(truth[item.cell][key]) for item in items])
        said = np.array([bool(item.passed) for item in items])
        value = np.array([item.value for item in items])
        better = registry.load("metrics", name).better
        rated = -value if better == "lower" else value
        names = sorted({rows[item.cell] for item in items})
        of_row = [np.array([rows[item.cell] == row for item in items]) for row in names]
        shares = [[float(flags[mask].mean()) for mask in of_row] for flags in (said, right)]
        tau = float(kendalltau(*shares).statistic) if len(names) > 2 else float("nan")
        entry = {
            "metric": name, "pictures": len(items), "truly_right": int(right.sum()), "auc": auc(rated, right),
            "precision": float(right[said].mean()) if said.any() else None,
            "recall": float(said[right].mean()) if right.any() else None, "kendall_tau_of_rows": tau,
        }
        table.append(entry)
        if entry["auc"] is not None:
            figures.append(at_least(f"AUC of {name} against the truth ({len(items)} pictures)", entry["auc"], 0.85))
    return figures, table


def auc(values: np.ndarray, right: np.ndarray) -> float | None:
    """Share of (right, wrong) pairs in which the right one has the larger value; None without both."""
    if right.all() or not right.any():
        return None
    good, bad = values[right][:, None], values[~right][None]
    return float((good > bad).mean() + 0.5 * (good == bad).mean())


def main() -> int:
    """Measure, print, and say whether every target is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--beside", action="store_true")
    parser.add_argument("--against", type=Path, metavar="SRC")
    parser.add_argument("--truth", type=Path, metavar="PROJECT")
    wanted = parser.parse_args()
    table: list[dict[str, Any]] = []
    if wanted.truth:
        results, table = truth_table(wanted.truth)
    elif wanted.beside:
        results = beside()
    else:
        repeats = 3 if wanted.quick else 15
        results, table = cost(repeats, wanted.against)
        if not wanted.cost:
            results += [*figure_throughput(4 * repeats), *drift(), *controls()]
    run = {"machine": platform.platform(), "python": platform.python_version(), "quick": wanted.quick,
           "photographs": "tests/data/portraits and scikit-image's astronaut"}
    if wanted.json:
        print(json.dumps({"figures": [asdict(item) for item in results], "table": table, "run": run}, indent=1))
    else:
        for item in results:
            print(f"{'ok  ' if item.ok else 'MISS'} {item.name}: {item.value:g} ({item.target})")
        for entry in table:
            print(entry)
    return 0 if all(item.ok for item in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
