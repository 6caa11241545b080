# ruff: noqa: ANN001, ANN202
"""The load gate's weight oracle on a base of random weights: seconds a LoRA, and planted faults, per way of holding."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator

import torch

from enginelab.common import GIB, LINEARS, RANK, Bench
from whichlora.errors import RefusedError
from whichlora.families._qwen.weights import cap_memory
from whichlora.run import comparing, oracle, oracle_torch

HOLDS = ("resident", "streamed", "fp8")
CAP_GIB = 24
Row = tuple[str, float | str, str, bool]
"""Name, value, target, whether it holds."""


def weights(bench: Bench, holds=HOLDS, seconds: float = 10.0) -> Iterator[Row]:
    """Switch one LoRA of rank 32 on, on every linear layer of every block, and let the oracle look at all of it."""
    for hold in holds:
        os.environ.pop("WHICHLORA_VRAM_GIB", None)
        os.environ["WHICHLORA_HOLD"] = "streamed" if hold == "streamed" else "auto"
        if bench.device == "cuda":
            cap_memory("cuda", torch.cuda.get_device_properties(0).total_memory)
            if hold == "streamed":
                os.environ["WHICHLORA_VRAM_GIB"] = str(CAP_GIB)
        session = bench.session("exact" if hold != "fp8" else "fp8")
        yield from _one(bench, hold, session, seconds)
        session._parts.forget_transformer()
        del session
        gc.collect()
        bench.fresh()


def _one(bench: Bench, hold: str, session, seconds: float) -> Iterator[Row]:
    use = bench.lora("every-layer")
    row = bench.row(use)
    session.switch(row)
    bench.sync()
    started = time.perf_counter()
    session.switch(row)
    bench.sync()
    yield f"{hold}: switch, for comparison, s", time.perf_counter() - started, "", True
    bench.fresh()
    before = torch.cuda.memory_allocated() if bench.device == "cuda" else 0
    spent = []
    for _ in range(bench.repeats):
        started = time.perf_counter()
        found = oracle.check_weights(session, row)
        spent.append(time.perf_counter() - started)
    with session.load_adapter(use) as lora:
        values = sum(module.shape[0] * module.shape[1] for module in lora)
        yield f"{hold}: values compared, billion", values / 1e9, "", True
        # At toy size a time says nothing, and there is no target.
        best = min(spent)
        yield (f"{hold}: weight oracle, s a LoRA (rank {RANK}, every linear layer)", best,
               "" if bench.toy else f"<= {seconds:g}", bench.toy or best <= seconds)
        share = found.undecided / values
        yield f"{hold}: values undecided / compared", share, "<= 0.01", share <= 0.01
        if bench.device == "cuda":
            extra = (torch.cuda.max_memory_allocated() - before) / GIB
            yield f"{hold}: device memory of the oracle, GiB", extra, "<= 2.5", extra <= 2.5
        yield from _beside_numpy(session, use, lora, hold, values, best)
    yield from _faults(session, row, hold)


def _beside_numpy(session, use, lora, hold: str, values: int, best: float) -> Iterator[Row]:
    """One block in numpy on the processor: the same sums, and what all blocks would take there."""
    precision = session.weight_dtype()
    modules = [module for module in lora if module.name.startswith("transformer_blocks.1.")]
    differ, spent, counted = 0, 0.0, 0
    for module in modules:
        parts = [(use.weight, module)]
        there = oracle_torch.sums(session, module.name, parts, precision)()
        started = time.perf_counter()
        here = comparing.compare(session.pristine(module.name), session.weights(module.name), parts, precision)
        spent += time.perf_counter() - started
        counted += module.shape[0] * module.shape[1]
        close = all(abs(getattr(there, name) - getattr(here, name)) <= 1e-9 * getattr(here, name)
                    for name in ("lost", "wanted", "beyond"))
        differ += (there.undecided, there.wrong) != (here.undecided, here.wrong) or not close
    assert len(modules) == len(LINEARS)
    yield f"{hold}: modules whose sums differ from numpy's, of {len(modules)}", differ, "<= 0", differ == 0
    projected = spent * values / counted
    yield f"{hold}: numpy on the processor, s a LoRA, projected from one block", projected, "", True
    yield f"{hold}: numpy / here", projected / best, "", True


def _faults(session, row, hold: str) -> Iterator[Row]:
    """A wrong value, a module left out, one too many: each must be refused by its name."""
    label = "transformer_blocks.1.img_mlp.net.2"
    name = f"{label}.weight"
    store = session._machinery().store
    missed = []

    def refused(what: str) -> None:
        try:
            oracle.check_weights(session, row)
            missed.append(what)
        except RefusedError as error:
            if label not in str(error):
                missed.append(what)

    if hold == "resident":
        weight = session.tensors(label)[1]
        bits = weight.view(torch.int16 if weight.element_size() == 2 else torch.int32)
        flip = 1 if weight.element_size() == 2 else 1 << 24
        bits[7, 9] ^= flip
        refused("one wrong bit")
        bits[7, 9] ^= flip
        store.restore([name])
        refused("a module left out")
    else:
        patch = store._patches[1].pop("img_mlp.net.2.weight")
        if name in _at_home(store):
            store._on_device(1, "img_mlp.net.2.weight", store.base(name))
        refused("a module left out")
        patch[0].up[7] *= 1.5
        store.put(name, _merged(store.base(name), patch), patch)
        refused("one wrong row")
    session.switch(row)
    oracle.check_weights(session, row)
    known = oracle._expected

    def fewer(shown, uses, files):
        return {each: parts for each, parts in known(shown, uses, files).items() if each != label}

    oracle._expected = fewer
    try:
        refused("a module that no file names")
    finally:
        oracle._expected = known
    yield f"{hold}: planted faults that passed, of 3", len(missed), "<= 0", not missed


def _at_home(store) -> set[str]:
    return {f"transformer_blocks.{index}.img_mlp.net.2.weight" for index in getattr(store, "_home", {})}


def _merged(base, patch):
    from whichlora.families._qwen.patches import merge

    return merge(base, patch)
