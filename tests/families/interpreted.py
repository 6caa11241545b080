"""Run by a test in a process of its own: the kernels in Triton's interpreter, against plain formulas; prints JSON.

The interpreter is chosen when Triton is imported, so it cannot be switched on inside the test's process.
"""

import json
import os

os.environ["TRITON_INTERPRET"] = "1"

import torch
import torch.nn.functional as functional

from whichlora.families._qwen import fused, kernels, merge_kernel
from whichlora.families._qwen.changes import Change
from whichlora.families._qwen.fast import BlockWeights, Extra, Kept, block_forward
from whichlora.families._qwen.linear import Dense
from whichlora.families._qwen.patches import Tally, merge

HEADS, HEAD = 3, 16
WIDTH = HEADS * HEAD
NOISY, REFERENCES = 6, 5


def main() -> None:
    torch.manual_seed(5)
    print(json.dumps({**blocks(), **merges()}))


def dense(rows: int, columns: int) -> Dense:
    return Dense(torch.randn(rows, columns) * columns**-0.5, torch.randn(rows) * 0.1)


def weights() -> BlockWeights:
    shapes = {"qkv": (3 * WIDTH, WIDTH), "out": (WIDTH, WIDTH), "up": (4 * WIDTH, WIDTH), "down": (WIDTH, 4 * WIDTH)}
    linears = {f"{stream}_{name}": dense(*shape) for name, shape in shapes.items() for stream in ("img", "txt")}
    norms = {name: 1 + 0.1 * torch.randn(HEAD) for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k")}
    return BlockWeights(**linears, **norms)


def stream(text: int, extra: Extra, *, image: int = NOISY + REFERENCES) -> fused.Stream:
    tables = (torch.randn(2, text, HEAD // 2), torch.randn(2, image, HEAD // 2))
    return fused.Stream(torch.randn(1, image, WIDTH), torch.randn(1, text, WIDTH), tables, extra)


def blocks() -> dict[str, float]:
    """Largest relative difference between the kernels' block and the plain one, by case."""
    kept = Kept(*(torch.randn(1, REFERENCES, HEADS, HEAD) for _ in range(2)))
    cases = {
        "one": ([stream(4, Extra(HEADS, noisy=NOISY))], 1),
        "pair of unlike texts": ([stream(4, Extra(HEADS, noisy=NOISY)), stream(7, Extra(HEADS, noisy=NOISY))], 1),
        "references without noise": ([stream(4, Extra(HEADS, noisy=NOISY)), stream(3, Extra(HEADS, noisy=NOISY))], 2),
        "capture": ([stream(4, Extra(HEADS, REFERENCES, noisy=NOISY))], 1),
        "kept": ([stream(4, Extra(HEADS, 0, kept, NOISY), image=NOISY)], 1),
        "last block": ([stream(4, Extra(HEADS, noisy=NOISY, only=NOISY)),
                        stream(5, Extra(HEADS, noisy=NOISY, only=NOISY))], 2),
    }
    found = {}
    for name, (streams, rows) in cases.items():
        block = weights()
        modulation = (torch.randn(rows, 6 * WIDTH), torch.randn(1, 6 * WIDTH))
        worst = 0.0
        answers = fused.fused_block(streams, modulation, block)
        for each, (img, txt, captured) in zip(streams, answers, strict=True):
            later = None if rows == 1 else (torch.arange(each.img.shape[1]) >= NOISY).unsqueeze(-1)
            wanted = block_forward(each.img, each.txt, modulation, (*each.tables, later), block, each.extra)
            pairs = [(img, wanted[0]), (txt, wanted[1])]
            if captured is not None and wanted[2] is not None:
                pairs += list(zip(captured, wanted[2], strict=True))
            worst = max(worst, *(float((a - b).norm() / b.norm()) for a, b in pairs))
        found[f"block: {name}"] = worst
    x = torch.randn(1, 9, WIDTH)
    plain = functional.layer_norm(x, (WIDTH,), eps=1e-6)
    mod = torch.randn(1, 6 * WIDTH)
    half = plain * (1 + mod[:, 4 * WIDTH: 5 * WIDTH]) + mod[:, 3 * WIDTH: 4 * WIDTH]
    found["second half's norm"] = float((kernels.norm_modulate(x, mod, 1, 0) - half).norm() / half.norm())
    return found


def merges() -> dict[str, float]:
    """Share of values that differ from `patches.merge`, and largest difference of the sums."""
    base = torch.randn(70, 150).half()
    first, second = (Change(strength, torch.randn(70, rank) * 0.1, torch.randn(rank, 150), 0.5)
                     for strength, rank in ((0.7, 33), (1.2, 8)))
    found = {}
    for name, patch in (("one change", (first,)), ("two changes", (first, second))):
        by_pieces, by_kernel = Tally(), Tally()
        wanted = merge(base, patch, count=(by_pieces, "w"))
        out = torch.empty_like(base)
        sums = merge_kernel.merge(base, patch, out, count=True)
        assert sums is not None
        by_kernel.add_sums("w", patch, sums)
        found[f"merge: {name}, neighbours"] = float((out != wanted).float().mean())
        found[f"merge: {name}, farthest"] = float(((out - wanted).abs() / wanted.abs().clamp_min(0.1)).max())
        same = [(by_kernel.rounding["w"], by_pieces.rounding["w"]),
                *((by_kernel.changes[key], by_pieces.changes[key]) for key in by_pieces.changes)]
        found[f"merge: {name}, sums"] = max(float((a / b - 1).abs().max()) for a, b in same)
    broken = base.clone()
    broken[3, 4] = float("inf")
    tally = Tally()
    tally.add_sums("w", (first,), merge_kernel.merge(broken, (first,), torch.empty_like(base), count=True))  # type: ignore[arg-type]
    found["merge: infinite seen"] = float(tally.finite["w"] == 0)
    return found


main()
