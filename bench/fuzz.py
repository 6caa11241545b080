"""Fuzz the reader of safetensors files: damaged, hostile and half-sensible headers by the million.

    python bench/fuzz.py                   1,000,000 headers (about ten minutes on one core)
    python bench/fuzz.py --quick           10,000
    python bench/fuzz.py --count 50000 --seed 7

Each header is parsed; one that is accepted is also described as a LoRA, and every tenth of these goes through the
static gate as a file. Allowed are a result and the documented refusal (RefusedError with a sentence). Anything else is
a crash: printed with the seed that makes it again. Also counted: the slowest input and the peak memory of this process.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from whichlora.errors import RefusedError
from whichlora.lora.header import header_length, parse_header
from whichlora.lora.inspect import inspect_header
from whichlora.lora.static import check_static

BATCH = 1000
SLOW_S = 1.0
MEMORY_BYTES = 256 * 1024**2
NAMES = (
    "transformer.transformer_blocks.{n}.attn.to_q.lora_A.weight", "transformer_blocks.{n}.attn.to_k.lora_B.weight",
    "lora_unet_transformer_blocks_{n}_attn_to_v.lora_down.weight", "lora_unet_transformer_blocks_{n}_attn_to_v.alpha",
    "diffusion_model.transformer_blocks.{n}.img_mlp.net.2.lora_up.weight", "img_in.diff", "bias.diff_b", "{n}",
    "transformer_blocks.{n}.attn.to_q.dora_scale", "transformer_blocks.{n}.attn.to_q.lokr_w1", "unet.{n}",
    "transformer_blocks.{n}.attn.to_q.lokr_w2_a", "transformer_blocks.{n}.attn.add_q_proj.hada_w1_a",
    "base_model.model.x.{n}.lora_A.default.weight",
)
WORDS = (
    "../../etc/passwd", "CON", "a\0b", "\u202etxt", "\U0001f600" * 9, "\u00e9", "e\u0301", "__metadata__", "",
    "." * 600, "\ud800", "NaN",
)
SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}
ODD = (0, 1, -1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**30, 1.5, True, None, "8", [], {}, 1e308)


@dataclass
class Outcome:
    """What came of the inputs so far."""

    inputs: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slow: int = 0


def sound(rng: random.Random, most: int = 12) -> tuple[dict[str, Any], bytes]:
    """A header that is right, and its data."""
    entries: dict[str, Any] = {}
    position = 0
    if rng.random() < 0.4:
        entries["__metadata__"] = {"ss_base_model_version": "qwen-image-edit", "format": "pt", "n": str(rng.random())}
    for _ in range(rng.randint(0, most)):
        kind = rng.choice(list(SIZES))
        shape = [rng.choice((0, 1, 2, 3, 4, 8)) for _ in range(rng.choice((0, 1, 2, 2, 2, 3, 4)))]
        size = SIZES[kind]
        for side in shape:
            size *= side
        name = rng.choice(NAMES).format(n=rng.randint(0, 60))
        if name not in entries:
            entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [position, position + size]}
            position += size
    return entries, rng.randbytes(position)


def pack(header: bytes, data: bytes) -> bytes:
    """The bytes of a file."""
    return struct.pack("<Q", len(header)) + header + data


def dumped(entries: Any) -> bytes:
    """JSON of a header, lone surrogates included."""
    return json.dumps(entries).encode()


# --------------------------------------------------------------------------- ways to break a file


def whole(rng: random.Random) -> bytes:
    """Nothing is wrong with it."""
    entries, data = sound(rng)
    return pack(dumped(entries), data)


def flipped(rng: random.Random) -> bytes:
    """Some bytes are others."""
    raw = bytearray(whole(rng))
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw)


def spliced(rng: random.Random) -> bytes:
    """A piece is gone, doubled, or from elsewhere."""
    raw = whole(rng)
    start, end = sorted((rng.randrange(len(raw) + 1), rng.randrange(len(raw) + 1)))
    other = whole(rng)
    noise = rng.randbytes(rng.randint(0, 40))
    piece = rng.choice((b"", raw[start:end] * 2, other[start:end], noise, b'"' * 3, b"{[" * 9))
    return raw[:start] + piece + raw[end:]


def cut(rng: random.Random) -> bytes:
    """It ends too early, or goes on too long."""
    raw = whole(rng)
    return raw[: rng.randrange(len(raw) + 1)] if rng.random() < 0.7 else raw + rng.randbytes(rng.randint(1, 50))


def wrong_length(rng: random.Random) -> bytes:
    """The first eight bytes lie."""
    raw = whole(rng)
    length = rng.choice((0, 1, 2, len(raw), len(raw) - 8, 2**20, 4 * 2**20, 4 * 2**20 + 1, 2**32, 2**63, 2**64 - 1,
                         rng.getrandbits(64), rng.randint(0, 400)))
    return struct.pack("<Q", length) + raw[8:]


def odd_values(rng: random.Random) -> bytes:
    """Right JSON, wrong values."""
    entries, data = sound(rng)
    for _ in range(rng.randint(1, 3)):
        names = list(entries)
        if not names:
            break
        name, kind = rng.choice(names), rng.randrange(8)
        entry = entries[name]
        if kind == 0 or not isinstance(entry, dict) or "shape" not in entry:
            entries[rng.choice(WORDS) if rng.random() < 0.5 else name] = rng.choice(ODD)
        elif kind == 1:
            entry["shape"] = [rng.choice(ODD) for _ in range(rng.randint(0, 9))]
        elif kind == 2:
            entry["data_offsets"] = [rng.choice(ODD) for _ in range(rng.choice((0, 1, 2, 2, 2, 3)))]
        elif kind == 3:
            entry["dtype"] = rng.choice(("F4", "f32", "", 7, None, "F32\0", *SIZES))
        elif kind == 4:
            entry.pop(rng.choice(list(entry)))
        elif kind == 5:
            entries[rng.choice(WORDS)] = entries.pop(name)
        elif kind == 6:
            entries["__metadata__"] = rng.choice(({"a": 1}, [], "x", {"a": None}, {"a" * 999: "b" * 9999}, {"é": "\0"}))
        else:
            entry["data_offsets"] = [rng.randint(0, 50), rng.randint(0, 50)]
    return pack(dumped(entries), data)


def empty_giants(rng: random.Random) -> bytes:
    """Tensors without bytes whose shape asks for terabytes."""
    entries, data = sound(rng, 3)
    for number in range(rng.randint(1, 5)):
        shape = [0, rng.choice((2**27, 2**40, 2**62))]
        rng.shuffle(shape)
        end = len(data)
        entries[f"transformer_blocks.{number}.attn.to_q.lora_A.weight"] = {
            "dtype": "BF16", "shape": shape, "data_offsets": [end, end]}
    return pack(dumped(entries), data)


def odd_text(rng: random.Random) -> bytes:
    """JSON that is hard to read: deep, doubled keys, broken text, numbers without end."""
    deep = rng.choice((10, 1000, 100_000))
    text = rng.choice((
        b"[" * deep, b'{"a":' * deep, b'{"a":' + b"[" * deep + b"]" * deep + b"}", b'{"a":1,"a":2}', b"{" + b" " * 500,
        b'{"a":' + b"9" * rng.choice((10, 4000, 5000, 100_000)) + b"}", b'{"a":NaN}', b'{"a":-Infinity}', b"null",
        b"[]", b'"x"', b"{}", b'{"\\ud800":1}', b'{"a":"' + rng.randbytes(20) + b'"}', b"\xff\xfe{}", b"{}\0\0\0\0",
        b"{'a':1}", b'{"a":1e999999}', b'{"__metadata__":{"a":"' + b"x" * rng.choice((10, 100_000)) + b'"}}',
        rng.randbytes(60),
    ))
    return pack(text, b"")


def crowd(rng: random.Random) -> bytes:
    """Very many tensors, or one very long name."""
    count = rng.choice((2000, 20_000, 20_001, 30_000))
    entries = {f"blocks.{number}.lora_A.weight": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
               for number in range(count)}
    return pack(dumped(entries), b"")


def disguised(rng: random.Random) -> bytes:
    """Something else altogether."""
    start = rng.choice((
        b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1", b"PK\3\4", b"\x80\4cos\nsystem\n", b"GGUF",
        b"\x89PNG\r\n", b"\x1f\x8b", b'{"error":"x"}', b"", b"\xef\xbb\xbf<html>",
    ))
    return start + rng.randbytes(rng.randint(0, 200))


WAYS: tuple[tuple[Callable[[random.Random], bytes], int], ...] = (
    (whole, 300), (flipped, 500), (spliced, 500), (cut, 300), (wrong_length, 300), (odd_values, 900),
    (empty_giants, 100), (odd_text, 100), (crowd, 1), (disguised, 200),
)
"""Ways to make an input, with how often each is taken."""


def one(rng: random.Random) -> bytes:
    """The next input."""
    ways, weights = zip(*WAYS, strict=True)
    return rng.choices(ways, weights)[0](rng)


# --------------------------------------------------------------------------- the run


def judge(raw: bytes, outcome: Outcome, scratch: Path, *, as_file: bool) -> str:
    """Feed one input; 'accepted', a refusal's first words, or 'CRASH …'.

    One that took long is fed again and its shorter time counts: what is slow is slow twice, a busy machine is not.
    """
    said, spent = feed(raw, scratch, as_file=as_file)
    if spent > SLOW_S:
        said, again = feed(raw, scratch, as_file=as_file)
        spent = min(spent, again)
    outcome.slowest_s = max(outcome.slowest_s, spent)
    outcome.slow += spent > SLOW_S
    return said


def feed(raw: bytes, scratch: Path, *, as_file: bool) -> tuple[str, float]:
    """What becomes of one input, and the processor seconds that reading and describing it took."""
    spent = 0.0
    started = time.process_time()
    try:
        # A reader sees the length first and then reads no more than it allows.
        needed = header_length(raw[:512])
        header = parse_header(raw[:needed], len(raw))
        inspect_header(header, "fuzzed.safetensors")
        spent = time.process_time() - started
        if as_file:
            path = scratch / "fuzzed.safetensors"
            path.write_bytes(raw)
            check_static(None, path)
        said = "accepted"
    except RefusedError as error:
        spent = spent or time.process_time() - started
        said = _kind(error.reason) or "CRASH: a refusal without a reason"
    except BaseException as error:
        said = f"CRASH {type(error).__name__}: {str(error)[:120]}"
    return said, spent


def _kind(reason: str) -> str:
    """A reason without the names and numbers of the file."""
    return re.sub(r"'.*'|[\d,]+", "…", reason, flags=re.DOTALL)[:60].strip()


def run(count: int, seed: int = 1, tell: Callable[[int], None] = lambda _: None) -> Outcome:
    """Fuzz with so many inputs; equal counts and seeds give equal inputs."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as name:
        for batch in range((count + BATCH - 1) // BATCH):
            rng = random.Random(f"{seed}/{batch}")
            for index in range(min(BATCH, count - batch * BATCH)):
                raw = one(rng)
                said = judge(raw, outcome, Path(name), as_file=index % 10 == 0)
                outcome.inputs += 1
                if said == "accepted":
                    outcome.accepted += 1
                elif said.startswith("CRASH"):
                    outcome.crashes.append(f"seed {seed}, batch {batch}, input {index}: {said}: {raw[:80]!r}")
                else:
                    outcome.refused[said] += 1
            tell(outcome.inputs)
    return outcome


def peak_bytes() -> int:
    """Most memory that this process has held; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10,000 inputs")
    parser.add_argument("--count", type=int, default=None, help="number of inputs (1,000,000)")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    started = time.monotonic()

    def tell(done: int) -> None:
        if done % 100_000 == 0:
            print(f"  {done:,} after {time.monotonic() - started:.0f} s", flush=True)

    outcome = run(asked.count or (10_000 if asked.quick else 1_000_000), asked.seed, tell)
    peak = peak_bytes()
    print(f"{outcome.inputs:,} headers in {time.monotonic() - started:.0f} s: {outcome.accepted:,} accepted, "
          f"{sum(outcome.refused.values()):,} refused for {len(outcome.refused)} reasons, {len(outcome.crashes)} "
          f"crashes, {outcome.slow} over {SLOW_S:g} s of processor time (slowest {outcome.slowest_s:.2f} s), "
          f"peak memory {peak / 2**20:.0f} MiB")
    for crash in outcome.crashes[:20]:
        print("  " + crash)
    raise SystemExit(1 if outcome.crashes or outcome.slow or peak > MEMORY_BYTES or not outcome.accepted else 0)


if __name__ == "__main__":
    main()
