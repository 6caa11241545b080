"""Figures of the engine: what a picture costs at the true size, against plain diffusers in the same run.

    python bench/engine.py --quick                       toy size on any machine, all phases, then the table
    python bench/engine.py --phases floor exact --out D  true size on one CUDA GPU; each phase saves D/<phase>.json
    python bench/engine.py --table D                     the table from saved phases, and the exit status

Weights are random (they cost what real ones cost; pictures mean nothing). Each phase runs in a process of its own, so
that one which runs out of memory takes no other with it. Toy figures test this script; they say nothing of the model.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT / "bench")]
PHASES = ("kernels", "floor", "exact", "streamed", "offload", "fp8", "cached", "nf4",
          "attempts", "peer", "project")


@dataclass(frozen=True)
class Figure:
    """One graded figure."""

    name: str
    value: object
    target: str
    ok: bool


def run_phase(name: str, *, toy: bool, out: Path) -> None:
    """Measure one phase here and save what it found, also when it fails half-way."""
    import torch

    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    from enginelab.common import Bench
    from enginelab.phases import PHASES as MEASURED

    with tempfile.TemporaryDirectory(prefix="whichlora-engine-") as folder:
        bench = Bench(toy=toy, folder=Path(folder), repeats=2 if toy else 3)
        bench.logs = out
        started, run = time.perf_counter(), conditions(toy)
        bench.save = lambda: (out / f"{name}.json").write_text(
            json.dumps({"figures": bench.found, "run": run}, default=str, indent=1), encoding="utf-8")
        try:
            MEASURED[name](bench)
        except Exception as error:
            import traceback

            traceback.print_exc()
            bench.log(failure=f"{type(error).__name__}: {str(error)[:300]}")
        finally:
            bench.log(phase_seconds=time.perf_counter() - started)


def conditions(toy: bool) -> dict[str, object]:
    """What was measured on what."""
    from importlib.metadata import version

    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {
        "size": "toy" if toy else "true", "gpu": gpu, "cpu": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "diffusers", "transformers", "peft")},
    }


def saved(out: Path) -> tuple[dict[str, object], list[Figure]]:
    """What the phases measured, and which of them failed."""
    measured: dict[str, object] = {}
    failures: list[Figure] = []
    for name in PHASES:
        path = out / f"{name}.json"
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))["figures"]
            if "failure" in found:
                failures.append(Figure(f"{name}: failed", found["failure"], "no failure", ok=False))
            measured.update({key: value for key, value in found.items() if key not in ("failure", "phase_seconds")})
    return measured, failures


def table(out: Path) -> Iterator[Figure]:
    """The figures that the targets are held against, from what was saved."""
    f, failures = saved(out)
    yield from failures

    def ratio(name: str, over: str, under: str, target: float, *, least: bool = True) -> Iterator[Figure]:
        a, b = f.get(over), f.get(under)
        if isinstance(a, int | float) and isinstance(b, int | float) and b:
            value = a / b
            yield Figure(name, round(value, 3), f"{'>=' if least else '<='} {target:g}",
                         value >= target if least else value <= target)

    def true(name: str, key: str) -> Iterator[Figure]:
        if key in f:
            yield Figure(name, f[key], "true", f[key] is True)

    def at_most(name: str, key: str, target: float) -> Iterator[Figure]:
        value = f.get(key)
        if isinstance(value, int | float):
            yield Figure(name, round(float(value), 4), f"<= {target:g}", value <= target)

    if isinstance(f.get("kernel_errors"), dict):
        for name, value in f["kernel_errors"].items():
            target = 0.04 if "fp8" in name else 0.004
            yield Figure(f"kernel, {name}: relative error against fp64", round(value, 5), f"<= {target:g}",
                         value <= target)
        yield from at_most("kernel, rotation: relative error against fp64", "rotation_error", 0.004)
        yield from true("kernel, rotation leaves values alone", "values_untouched")
        yield from at_most("kernel, merge: values that are not round(W + change)", "merge_wrong_values", 0)
    yield from ratio("exact: image, plain loop with a LoRA / ours", "plain_image_40_s", "our_image_40_s", 1.6)
    yield from ratio("exact: CFG pair, plain with a LoRA / ours", "plain_pair_lora_s", "fast_pair_s", 1.6)
    yield from ratio("exact: CFG pair, compiled diffusers with a LoRA / ours", "compiled_pair_lora_s",
                     "fast_pair_beside_compiled_s", 1.2)
    if isinstance(f.get("floor_forward_s"), float):
        f["floor_pair_s"] = 2 * f["floor_forward_s"]
    yield from ratio("exact: CFG pair / floor of the best kernels", "fast_pair_s", "floor_pair_s", 1.15, least=False)
    yield from ratio("exact: error against fp32 / that of eager bf16", "error_fast", "error_plain_bf16", 2.0,
                     least=False)
    yield from true("exact: base restored bit for bit", "base_restored")
    yield from true("exact: a candidate switched on again has the same bits", "candidate_repeats")
    yield from at_most("exact: switch of a rank-32 LoRA on every layer, read ahead, s", "switch_ahead_s", 1.0)
    yield from at_most("24 GiB: switch of the same, read ahead, s", "stream_switch_ahead_s", 1.0)
    for case, target in (("pair", 1.05), ("single", 1.2), ("two_cells", 1.2)):
        for row in ("base", "a"):
            yield from at_most(f"24 GiB: {case} / resident, {'LoRA' if row == 'a' else 'no LoRA'}",
                               f"stream_{row}_{case}_ratio", target)
            yield from true(f"24 GiB: {case} bit-identical, {'LoRA' if row == 'a' else 'no LoRA'}",
                            f"stream_{row}_{case}_same_bits")
    yield from ratio("24 GiB: diffusers' group offload / ours, pair", "offload_pair_s", "stream_base_pair_s", 2.5)
    yield from at_most("24 GiB: peak with VAE, GiB", "stream_peak_with_vae_gib", 22)
    yield from at_most("24 GiB: host memory, GiB", "host_rss_gib", 56)
    yield from ratio("fp8: CFG pair, plain with a LoRA / ours", "plain_pair_lora_s", "fp8_pair_s", 2.5)
    yield from ratio("near-lossless: image, plain with a LoRA / fp8 with the stated schedule", "plain_image_40_s",
                     "fp8, guidance to 60 %, middle blocks every 3rd step: image_s", 5.0)
    yield from ratio("near-lossless: image, cache-dit's defaults on the stock pipeline / fp8 with the stated schedule",
                     "peer_cached_image_40_s", "fp8, guidance to 60 %, middle blocks every 3rd step: image_s", 1.0)
    if isinstance(f.get("peer_note"), str):
        yield Figure("peer", f["peer_note"], "printed", ok=True)
    for name in ("resident", "capped"):
        cells = f.get(f"project {name}: cells")
        if isinstance(cells, dict):
            whole = cells.get("done") == cells.get("planned") and not cells.get("failed")
            yield Figure(f"command line, {name}: cells stored after kill and resume", cells, "all", whole)
            yield Figure(f"command line, {name}: report written", f.get(f"project {name}: report"), "a page",
                         bool(f.get(f"project {name}: report")))
            yield from at_most(f"command line, {name}: share of the time the GPU waits between pictures, projected "
                               "from 4 to 40 steps", f"project {name}: waiting share, 40 steps", 0.02)
    if not f and not failures:
        yield Figure("phases found", 0, ">= 1", ok=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=list(PHASES))
    parser.add_argument("--toy", "--quick", action="store_true", dest="toy", help="toy size, for testing this script")
    parser.add_argument("--out", type=Path, default=None, help="where phases are saved")
    parser.add_argument("--table", type=Path, default=None, help="print the table of saved phases, measure nothing")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, default=540, help="seconds after which no further phase begins")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args()
    out = arguments.table or arguments.out or Path(tempfile.mkdtemp(prefix="whichlora-engine-"))
    out.mkdir(parents=True, exist_ok=True)
    if arguments.here:
        run_phase(arguments.phases[0], toy=arguments.toy, out=out)
        return
    if arguments.table is None:
        started = time.perf_counter()
        for name in arguments.phases:
            left = arguments.limit - (time.perf_counter() - started)
            if left < 20:
                print(f"no time left for {name}", file=sys.stderr)
                continue
            command = [sys.executable, __file__, "--here", "--phases", name, "--out", str(out)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"} if arguments.toy else dict(os.environ)
            try:
                size = ["--toy"] if arguments.toy else []
                subprocess.run([*command, *size], check=False, timeout=left, env=environment)
            except subprocess.TimeoutExpired:
                print(f"{name} was stopped: no time left", file=sys.stderr)
    toy = arguments.toy or any('"size": "toy"' in path.read_text(encoding="utf-8") for path in out.glob("*.json"))
    figures = list(table(out))
    if arguments.json:
        run = next((json.loads(path.read_text(encoding="utf-8"))["run"] for path in sorted(out.glob("*.json"))), {})
        print(json.dumps({"figures": [asdict(figure) for figure in figures], "run": {**run, "saved": str(out)}},
                         ensure_ascii=False, indent=1, default=str))
    else:
        for figure in figures:
            mark = "ok " if figure.ok else ("toy" if toy else "NO ")
            print(f"{mark} {figure.name}: {figure.value} (target {figure.target})")
        print(f"saved in {out}" + ("; toy size: speeds say nothing of the 20 B model" if toy else ""))
    broken = [figure for figure in figures if not figure.ok]
    if toy:  # at toy size only what is not a speed must hold
        broken = [figure for figure in broken if figure.target in ("true", "all", "a page", "no failure", ">= 1")]
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
