"""The fast forward makes diffusers' numbers; streaming and resident make the same bits; one program serves all."""

from __future__ import annotations

import itertools

import pytest
import torch

from families.engines import LEVELS, answers, budget, calls, model, relative
from whichlora.families._qwen.calls import PlainEngine
from whichlora.families._qwen.engine import FastEngine
from whichlora.families._qwen.layout import forward_layout, modulation_layout
from whichlora.families._qwen.streaming import StreamedStore, split, streamed_blocks
from whichlora.families._qwen.weights import ResidentStore


@pytest.mark.parametrize("zero_cond_t", [False, True])
@pytest.mark.parametrize(("references", "guidance"), [(1, True), (1, False), (2, True), (3, True)])
def test_fast_forward_is_diffusers_own(references, guidance, zero_cond_t):
    made = model(zero_cond_t)
    wanted = answers(PlainEngine(made), calls(references, guidance=guidance))
    engine = FastEngine(made, ResidentStore(made, "cpu", fuse=True), compiled=False)
    assert relative(answers(engine, calls(references, guidance=guidance)), wanted) <= 1e-5
    # the modules still work on the same memory
    assert relative(answers(PlainEngine(made), calls(references, guidance=guidance)), wanted) == 0.0


@pytest.mark.parametrize("zero_cond_t", [False, True])
def test_error_in_bf16_is_at_most_twice_that_of_diffusers(zero_cond_t):
    exact = answers(PlainEngine(model(zero_cond_t)), calls(2))
    half = model(zero_cond_t, dtype=torch.bfloat16)
    plain = answers(PlainEngine(half), calls(2, torch.bfloat16), torch.bfloat16)
    engine = FastEngine(half, ResidentStore(half, "cpu", fuse=True), compiled=False)
    fast = answers(engine, calls(2, torch.bfloat16), torch.bfloat16)
    reference = relative(plain, exact)
    assert 1e-3 < reference < 0.2
    assert relative(fast, exact) <= 2 * reference


def test_queries_keys_and_values_are_the_switchers_memory():
    """A change written through the module's own parameter reaches the stacked matrix of the forward."""
    made = model()
    engine = FastEngine(made, ResidentStore(made, "cpu", fuse=True), compiled=False)
    before = answers(engine, calls(1))
    with torch.no_grad():
        dict(made.named_parameters())["transformer_blocks.1.attn.to_k.weight"].mul_(4)
    after = answers(engine, calls(1))
    assert relative(after, before) > 1e-3
    assert relative(after, answers(PlainEngine(made), calls(1))) <= 1e-5


# --------------------------------------------------------------------------- streaming


@pytest.mark.parametrize("resident", [0, 1, 3])
def test_streamed_blocks_make_the_same_bits_in_order_with_one_copy_in_host_memory(resident):
    wanted = answers(FastEngine(resident_model := model(layers=6), ResidentStore(resident_model, "cpu", fuse=True),
                                compiled=False), calls(2))
    made = model(layers=6)
    store = StreamedStore(made, "cpu", budget(made, resident + 2))
    store.copies = []
    visited = []
    found = answers(FastEngine(made, store, compiled=False), calls(2))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    store.visit(lambda index, weights: visited.append(index))
    assert visited == list(range(6))
    facts = store.facts()
    assert (facts["resident_blocks"], facts["streamed_blocks"]) == (resident, 6 - resident)
    away = list(streamed_blocks(6, resident))
    # both passes of a step share a visit: as many arrivals as streamed blocks and visits, and the next ones under way
    arrivals = [index for index, _ in store.copies]
    visits = 1 + len(LEVELS)
    assert arrivals[: visits * len(away)] == away * visits
    assert len(arrivals) == visits * len(away) + store.slots
    assert all(a[1] != b[1] for a, b in zip(store.copies, store.copies[1:], strict=False)), "buffers take turns"
    block = forward_layout(made.transformer_blocks[0]).bytes
    modulations = modulation_layout(made.transformer_blocks[0]).bytes
    assert facts["host_bytes"] == 6 * (block + modulations)
    on_device = sum(each.numel() * each.element_size() for each in store._home.values())
    on_device += sum(flat.numel() * flat.element_size() for flat, _ in store._slots)
    assert on_device <= budget(made, resident + 2)
    assert facts["device_bytes"] == on_device + store.top_bytes()
    # the module's parameters are views of that one copy
    storages = {each.untyped_storage().data_ptr() for each in made.transformer_blocks.parameters()}
    assert len(storages) == 2 * 6


@pytest.mark.parametrize(("blocks", "room", "resident"), [
    (60, 60, 60), (60, 59, 57), (60, 24, 22), (60, 2, 0), (60, 1, -1), (3, 2.9, 0), (60, 61.5, 60),
])
def test_the_budget_decides_how_many_blocks_stay(blocks, room, resident):
    assert split(blocks, 1000, int(room * 1000)) == resident


def test_streamed_blocks_are_spread_evenly():
    for resident in range(0, 60, 7):
        away = streamed_blocks(60, resident)
        assert len(away) == 60 - resident
        gaps = [b - a for a, b in itertools.pairwise(away)]
        assert max(gaps) - min(gaps) <= 1
    with pytest.raises(MemoryError):
        StreamedStore(made := model(), "cpu", budget(made, 1))


def test_a_visit_that_fails_leaves_no_wrong_block_behind():
    made = model(layers=6)
    store = StreamedStore(made, "cpu", budget(made, 3))
    engine = FastEngine(made, store, compiled=False)
    wanted = answers(engine, calls(1))

    def fail(index, _):
        if index == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.visit(fail)
    assert all(torch.equal(a, b) for a, b in zip(answers(engine, calls(1)), wanted, strict=True))
    store.park(1)
    assert store.facts()["device_bytes"] == store.top_bytes()
    assert all(torch.equal(a, b) for a, b in zip(answers(engine, calls(1)), wanted, strict=True))
    fewer = store.resident - 1
    store.hold(fewer)
    assert all(torch.equal(a, b) for a, b in zip(answers(engine, calls(1)), wanted, strict=True))
    assert store.facts()["resident_blocks"] == fewer
    assert store.facts()["streamed_blocks"] == store.blocks - fewer
