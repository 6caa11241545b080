"""The Triton kernels without a GPU: interpreted against plain formulas, and compiled for cards that are not here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from whichlora.families._qwen import kernels, merge_kernel

pytestmark = pytest.mark.skipif(kernels.triton is None, reason="Triton comes with torch on Linux with CUDA libraries")


@pytest.fixture(scope="module")
def interpreted():
    program = Path(__file__).with_name("interpreted.py")
    answer = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=240, check=False,
                            env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert answer.returncode == 0, answer.stderr[-2000:]
    return json.loads(answer.stdout.splitlines()[-1])


def test_a_block_by_kernels_equals_the_plain_one(interpreted):
    """One forward and two with unlike texts, 2511's two rows of modulations, kept and captured references, the last
    block of which less is wanted."""
    found = {name: value for name, value in interpreted.items() if name.startswith(("block", "second"))}
    assert len(found) == 7
    assert max(found.values()) < 2e-6, found


def test_merging_by_the_kernel_gives_the_same_values_or_their_neighbours(interpreted):
    for name in ("one change", "two changes"):
        assert interpreted[f"merge: {name}, neighbours"] < 2e-3  # sums of fp32 in another order, rounded to fp16
        assert interpreted[f"merge: {name}, farthest"] < 2.0**-9
        assert interpreted[f"merge: {name}, sums"] < 1e-4
    assert interpreted["merge: infinite seen"] == 1.0


POINTERS = {"x", "y", "kept", "mod", "out", "qkv", "norm_q", "norm_k", "added_q", "added_k", "base"}
FLOATS = {"text_table", "image_table", "up", "down", "sums", "scales"}


@pytest.mark.parametrize("capability", [80, 89, 90])
def test_every_kernel_compiles_for_cards_that_are_not_here(capability):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    def build(kernel, **constants):
        kinds = {name: "*bf16" if name in POINTERS else "*fp32" if name in FLOATS else "i32"
                 for name in kernel.arg_names}
        if "eps" in kinds:
            kinds["eps"] = "fp32"
        if constants.get("QUANTISE"):
            kinds["out"] = "*fp8e4nv"
        signature = {name: "constexpr" if name in constants else kind for name, kind in kinds.items()}
        made = compile(ASTSource(fn=kernel, signature=signature, constexprs=constants),
                       target=GPUTarget("cuda", capability, 32), options={"num_warps": 8})
        assert made.metadata.shared <= 99 * 1024, "more shared memory than a consumer card gives a block"

    steps = [(False, True, False), (True, True, False), (True, False, False)]
    steps += [(False, True, True), (True, True, True), (False, False, True)] if capability >= 89 else []
    for residual, norm, quantise in steps:
        build(kernels._norm_kernel, RESIDUAL=residual, NORM=norm, QUANTISE=quantise, LIMIT=448.0, BLOCK=4096)
    build(kernels._rotate_kernel, HEADS=24, HEADS_UP=32, HEAD=128)
    for count in (False, True):
        build(merge_kernel._merge_kernel, COUNT=count, ROWS=64, COLUMNS=128, INNER=32)


def test_kernels_are_not_used_without_cuda_or_for_other_formats():
    assert not kernels.usable("cpu", torch.bfloat16, 128)
    assert not kernels.usable("cuda", torch.float32, 128)
    assert not kernels.usable("cuda", torch.bfloat16, 96)
