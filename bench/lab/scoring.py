"""What scoring costs: processor seconds of every default metric on photographs of 1024 x 1024, in a process of its own.

    python bench/lab/scoring.py SRC REPEATS    one JSON document, measured with the whichlora of that source folder

Another revision's folder can be named, so that two are compared in one run (`bench/metrics.py --against`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
SIDE_PX = 1024
EDITS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "camera": ({"yaw_deg": 30}, ("identity", "clothes")),
    "lighting": ({"light": "sunset"}, ("identity", "clothes", "pose", "background")),
    "background": ({"background": "beach"}, ("identity", "clothes", "pose")),
    "expression": ({"expression": "smile"}, ("identity", "clothes", "pose", "background", "lighting")),
}
"""Edits as the presets ask for them, and what must stay."""


def measured_in(src: Path, repeats: int) -> dict[str, Any]:
    """The document of a fresh process that uses the whichlora of `src`."""
    words = [sys.executable, str(Path(__file__).resolve()), str(src.resolve()), str(repeats)]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8",
                          env={**os.environ, "PYTHONPATH": str(src.resolve())})
    if done.returncode:
        raise SystemExit(f"{src}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def main(src: Path, repeats: int) -> int:
    """Measure and print; every output is new, the photograph and the subject stay."""
    sys.path[:0] = [str(src), str(ROOT / "tests")]
    import numpy as np

    import whichlora
    from metrics import photos
    from whichlora import registry
    from whichlora.metrics.scoring import measure_picture, prepare_all
    from whichlora.vision import picture as pictures

    assert Path(whichlora.__file__).is_relative_to(src), whichlora.__file__
    names = registry.names("metrics")
    # A revision without lasting pictures has nothing to declare.
    lasting = getattr(pictures, "lasting", pictures.frozen)
    started = time.process_time()
    prepared = prepare_all(photos.person(), names)
    prepare = time.process_time() - started
    source = lasting(pictures.resized(photos.portrait("president-smiling"), SIDE_PX, SIDE_PX))
    walls: list[float] = []
    busy: dict[str, list[float]] = {family: [] for family in EDITS}
    by_metric = dict.fromkeys(names, 0.0)
    first = 0.0
    for seed in range(repeats + 1):
        for number, (family, (target, keep)) in enumerate(EDITS.items()):
            output = pictures.frozen(photos.noisy(photos.warp(source, 1.01, 2, 1), 4, 100 * number + seed))
            view = photos.view(source, output, family, keep, **target)
            wall, work = time.perf_counter(), time.process_time()
            for name in names:
                before = time.process_time()
                measure_picture(view, prepared, [name])
                by_metric[name] += (time.process_time() - before) if seed else 0.0
            work = time.process_time() - work
            if seed:
                walls.append(time.perf_counter() - wall)
                busy[family].append(work)
            elif not number:
                first = work
    print(json.dumps({
        "prepare_s": prepare, "first_s": first, "wall_s": float(np.median(walls)),
        "busy_s": {family: float(np.median(values)) for family, values in busy.items()},
        "by_metric_s": {name: value / (repeats * len(EDITS)) for name, value in by_metric.items()},
    }))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), int(sys.argv[2])))
