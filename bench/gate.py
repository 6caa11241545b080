"""Figures of the static load gate: speed, bytes read, refusals, memory, and the exactness of every layout.

    python bench/gate.py            full counts (some minutes)
    python bench/gate.py --quick    fewer repeats (under a minute on 2 cores)
    python bench/gate.py --json     one JSON document on stdout
    python bench/gate.py --weights true    the weight oracle on 20 billion random weights (one CUDA GPU, minutes)
    python bench/gate.py --weights toy     the same at toy size, on any machine

Files are synthesised: headers of the 20 B model's true proportions, sabotaged files from the tests, random damage.
Needs no torch without --weights. Exit status 1 if a figure misses its target.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT / "bench")]

from lora import factory, sabotage  # noqa: E402
from whichlora.errors import RefusedError, WhichloraError  # noqa: E402
from whichlora.lora import keys  # noqa: E402
from whichlora.lora.delta import load_canonical  # noqa: E402
from whichlora.lora.header import read_header  # noqa: E402
from whichlora.lora.inspect import inspect_lora  # noqa: E402
from whichlora.lora.static import check_static  # noqa: E402

TINY = keys.ModelShape.from_config(factory.TINY)
TRUE_SIZE = ("FLUX.1 that could be Qwen", "a LoRA of the true size, all zero")


@dataclass(frozen=True)
class Figure:
    """One graded figure."""

    name: str
    value: float
    target: str
    ok: bool


def at_least(name: str, value: float, target: float) -> Figure:
    return Figure(name, round(float(value), 6), f">= {target:g}", bool(value >= target))


def at_most(name: str, value: float, target: float) -> Figure:
    return Figure(name, float(f"{value:.4g}"), f"<= {target:g}", bool(value <= target))


def headers(folder: Path, repeats: int) -> Iterator[Figure]:
    """Inspection of files of true size: how fast, and how little of them is read."""
    cases = {
        "r16 on 840 layers (294.9 MB)": ("diffusers", 16), "r64 with alpha (1.18 GB)": ("kohya", 64),
        "r16, DiffSynth": ("diffsynth", 16),
    }
    worst_share, rates = 0.0, []
    facts = None
    for place, (spelling, rank) in enumerate(cases.values()):
        path = factory.sparse(
            folder / f"true{place}.safetensors", factory.SPELLINGS[spelling], factory.full_targets(), rank,
        )
        best = float("inf")
        for _ in range(repeats):
            start = time.process_time()
            facts = inspect_lora(path)
            best = min(best, time.process_time() - start)
        # The best of the repeats: what the code needs, not what other programs on the machine took.
        rates.append(1 / best)
        assert facts is not None
        assert len(facts.modules) == 840
        alphas = sum(2 for name in read_header(path).entries if name.endswith("alpha"))
        worst_share = max(worst_share, (read_header(path).header_bytes + alphas) / path.stat().st_size)
    yield at_least("headers inspected per second of CPU (840 modules, slowest layout)", min(rates), 2)
    yield at_most("bytes read by an inspection / bytes of the file, worst of 3 true-sized files", worst_share, 0.01)


def refusals(folder: Path) -> Iterator[Figure]:
    """Sabotaged files: all refused with a fitting reason, quickly and in little memory."""
    import re

    right, crashes, slowest, peak, slow_name = 0, 0, 0.0, 0, ""
    check_static(None, factory.write(folder / "warm.safetensors", sabotage.sound()), TINY)
    for place, (name, (word, build)) in enumerate(sabotage.CASES.items()):
        home = folder / str(place)
        home.mkdir()
        path = build(home)
        shape = None if name in TRUE_SIZE else TINY
        for measure_memory in (False, True):
            if measure_memory:
                tracemalloc.start()
            start = time.perf_counter()
            try:
                check_static(None, path, shape)
            except RefusedError as error:
                right += measure_memory and re.search(word, error.reason) is not None
            except WhichloraError:
                pass
            except Exception:
                crashes += 1
            seconds = time.perf_counter() - start
            if measure_memory:
                peak = max(peak, tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
            elif seconds > slowest:
                slowest, slow_name = seconds, name
        path.unlink()
    yield at_least("sabotaged files", len(sabotage.CASES), 60)
    yield at_most("sabotaged files that were not refused with the fitting reason", len(sabotage.CASES) - right, 0)
    yield at_most("crashes on sabotaged files", crashes, 0)
    yield at_most(f"slowest refusal, s ({slow_name})", slowest, 1.0)
    yield at_most("largest memory of a refusal, MiB", peak / 2**20, 256)


def exactness(folder: Path) -> Iterator[Figure]:
    """Every layout × (rank, alpha): the worst relative error of any module's change against the drawn matrices."""
    worst, count, missing = 0.0, 0, 0
    for spelling in factory.SPELLINGS.values():
        for rank, alpha in ((1, 1.0), (4, 2.0), (8, 16.0), (3, None)):
            drawn = factory.plain(spelling, {**factory.MODULES, **factory.TOP}, rank, alpha, rank, factory.gauss)
            path = factory.write(folder / "exact.safetensors", drawn.tensors)
            with load_canonical(path, TINY) as lora:
                missing += len(drawn.expected.keys() ^ {module.name for module in lora})
                for module in lora:
                    want = drawn.expected[module.name]
                    worst = max(worst, float(np.linalg.norm(module.delta() - want) / np.linalg.norm(want)))
                    count += 1
    yield at_least("modules compared over all layouts, ranks and alphas", count, 1000)
    yield at_most("modules missing or invented", missing, 0)
    yield at_most("worst relative error of a change", worst, 1e-3)


def damage(folder: Path, count: int) -> Iterator[Figure]:
    """Random damage to a sound file: refused in words or still sound, never an exception of another kind."""
    rng = np.random.default_rng(1)
    drawn = factory.plain(factory.SPELLINGS["kohya"], {"transformer_blocks.0.attn.to_q": (24, 24)}, 2, 1.0)
    path = factory.write(folder / "fuzz.safetensors", drawn.tensors)
    sound = path.read_bytes()
    crashes, slowest = 0, 0.0
    for _ in range(count):
        data = bytearray(sound)
        for _ in range(int(rng.integers(1, 6))):
            kind, place = rng.integers(0, 4), int(rng.integers(0, max(1, min(len(data), 500))))
            if kind == 0:
                data[place : place + 1] = bytes([int(rng.integers(0, 256))])
            elif kind == 1:
                del data[place : place + int(rng.integers(1, 9))]
            elif kind == 2:
                data[place:place] = data[place : place + int(rng.integers(1, 40))]
            else:
                data = data[: int(rng.integers(0, len(data) + 1))]
        path.write_bytes(bytes(data))
        start = time.perf_counter()
        try:
            check_static(None, path)
        except WhichloraError:
            pass
        except Exception:
            crashes += 1
        slowest = max(slowest, time.perf_counter() - start)
    yield at_least("randomly damaged files", count, 1)
    yield at_most("crashes on damaged files", crashes, 0)
    yield at_most("slowest damaged file, s", slowest, 1.0)


def throughput(folder: Path, blocks: int) -> Iterator[Figure]:
    """The whole static check (every value, every norm) on matrices of true width."""
    rng = np.random.default_rng(2)
    path = factory.sparse(
        folder / "values.safetensors", factory.SPELLINGS["diffusers"], factory.full_targets(blocks), 16,
        {"modelspec.architecture": "Qwen-Image-Edit-Plus/lora"},
    )
    header = read_header(path).header_bytes
    size = path.stat().st_size - header
    # Random bfloat16 bits of moderate size: sign and mantissa free, exponent near 1.
    bits = (rng.integers(0, 2**16, size // 2, dtype=np.uint16) & 0x80FF) | 0x3C00
    with path.open("r+b") as stream:
        stream.seek(header)
        stream.write(bits.astype("<u2").tobytes())
    start = time.perf_counter()
    report = check_static(None, path)
    seconds = time.perf_counter() - start
    assert report.modules == 14 * blocks
    yield at_least("static check of every value, MB per second", size / 1e6 / seconds, 20)


def weights(folder: Path, size: str, holds: list[str]) -> Iterator[Figure]:
    """The weight oracle, for every way to hold the model; see `enginelab/gate.py`."""
    from enginelab.common import Bench
    from enginelab.gate import weights as measured

    for row in measured(Bench(toy=size == "toy", folder=folder, repeats=3), holds):
        print(row, file=sys.stderr, flush=True)
        yield Figure(row[0], float(f"{row[1]:.4g}"), row[2], row[3])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--weights", choices=("toy", "true"), help="only the weight oracle, at this size")
    parser.add_argument("--holds", nargs="+", default=["resident", "streamed", "fp8"], metavar="HOLD",
                        help="with --weights: resident, streamed, fp8")
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = list(weights(folder, options.weights, options.holds)) if options.weights else [
            *headers(folder, 10 if options.quick else 50), *refusals(folder), *exactness(folder),
            *damage(folder, 3000 if options.quick else 100_000), *throughput(folder, 6 if options.quick else 60),
        ]
    what = f"weight oracle, {options.weights} size" if options.weights else "static load gate on synthesised files"
    run = {
        "what": what, "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}", "numpy": np.__version__, "quick": options.quick,
        "seconds": round(time.perf_counter() - start, 1),
    }
    if options.json:
        print(json.dumps({"figures": [asdict(figure) for figure in figures], "run": run}, indent=1))
    else:
        for figure in figures:
            target = f" (target {figure.target})" if figure.target else ""
            print(f"{'ok  ' if figure.ok else 'MISS'} {figure.name}: {figure.value:g}{target}")
        print(f"{run}")
    return 0 if all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
