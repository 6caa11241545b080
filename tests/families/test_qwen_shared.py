"""One copy of the blocks in host memory for every worker of a machine: the same bits, whoever dies while writing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from families.test_qwen_engine import answers, budget, calls, model  # noqa: E402
from whichlora.company import SHARED_NAME, SHARED_VARIABLE, WORKERS_VARIABLE, company  # noqa: E402
from whichlora.errors import MachineError  # noqa: E402
from whichlora.families._qwen.engine import FastEngine  # noqa: E402
from whichlora.families._qwen.opening import check_host_room  # noqa: E402
from whichlora.families._qwen.profiles import Settings  # noqa: E402
from whichlora.families._qwen.quantised import QuantisedStore  # noqa: E402
from whichlora.families._qwen.shared import SharedBlocks, bytes_there, offered  # noqa: E402
from whichlora.families._qwen.streaming import StreamedStore  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files in memory are Linux's")
GIB = 2**30


@pytest.fixture
def file():
    made = os.memfd_create(SHARED_NAME)
    yield made
    os.close(made)


def emptied(made):
    """A model whose own blocks are wrong, so that right answers can only come from the shared file."""
    for each in made.transformer_blocks.parameters():
        each.data.fill_(7.0)
    return made


def test_the_second_worker_takes_the_blocks_of_the_first_and_adds_no_memory(file):
    wanted = answers(FastEngine(first := model(layers=4), StreamedStore(first, "cpu", budget(first, 3)),
                                compiled=False), calls(2))
    made = model(layers=4)
    StreamedStore(made, "cpu", budget(made, 3), share=(file, "m"))
    held = bytes_there(file)
    other = emptied(model(layers=4))
    store = StreamedStore(other, "cpu", budget(other, 3), share=(file, "m"))
    assert held == bytes_there(file) > 0
    found = answers(FastEngine(other, store, compiled=False), calls(2))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    # The very same memory, and nothing of its own: what one writes there the other reads.
    name = "transformer_blocks.1.attn.to_v.weight"
    assert torch.equal(made.get_parameter(name), other.get_parameter(name))
    with torch.no_grad():
        made.get_parameter(name)[0, 0] = 123.0
    assert other.get_parameter(name)[0, 0] == 123.0


def test_a_quantised_profile_shares_too(file):
    from families.test_qwen_profiles import wide_model

    QuantisedStore(made := wide_model(), "cpu", "fp8", share=(file, "m"))
    store = QuantisedStore(emptied(other := wide_model()), "cpu", "fp8", share=(file, "m"))
    name = "transformer_blocks.0.attn.to_v.weight"
    assert torch.equal(store.base(name), wide_model().get_parameter(name))
    assert made.get_parameter(name).data_ptr() != other.get_parameter(name).data_ptr()


@pytest.mark.parametrize(("key", "layers"), [("another base", 4), ("m", 3)])
def test_workers_that_hold_something_else_share_nothing(file, key, layers):
    made = model(layers=4)
    StreamedStore(made, "cpu", budget(made, 3), share=(file, "m"))
    held = bytes_there(file)
    other = model(layers=layers)
    with torch.no_grad():
        other.transformer_blocks[0].attn.to_v.weight.fill_(0.5)
    store = StreamedStore(other, "cpu", budget(other, 3), share=(file, key))
    assert store._shared is None
    assert (store.base("transformer_blocks.0.attn.to_v.weight") == 0.5).all()
    assert bytes_there(file) == held


WRITER = """
import os, signal, sys, torch
from whichlora.families._qwen.shared import SharedBlocks
shared = SharedBlocks(int(sys.argv[1]), "m", 3, (5000, 20), torch.float32)
for index in (0, 1):
    with shared.turn(index) as empty:
        assert empty
        for flat in shared.flats(index):
            flat[:7] = index + 1
            if index == 1:
                print("half", flush=True)
                sys.stdin.readline()
            flat[7:] = index + 1
"""


def test_a_block_waits_for_its_writer_and_is_written_again_when_that_one_is_killed(file):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(file)], pass_fds=[file], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "half\n"
    shared = SharedBlocks(file, "m", 3, (5000, 20), torch.float32)
    turns = []

    def take():
        for index in range(3):
            with shared.turn(index) as empty:
                turns.append(empty)

    waiting = threading.Thread(target=take)
    waiting.start()
    waiting.join(0.3)
    # Block 0 is whole; block 1 is in the writer's hands, and nobody reads it half-written.
    assert waiting.is_alive()
    assert turns == [False]
    process.kill()
    process.communicate()
    waiting.join(60)
    assert turns == [False, True, True]
    assert all((flat == 1).all() for flat in shared.flats(0))


def test_a_writer_that_fails_leaves_the_block_to_the_next(file):
    shared = SharedBlocks(file, "m", 1, (5000, 20), torch.float32)
    with pytest.raises(KeyError), shared.turn(0):
        raise KeyError
    turns = []
    for _ in range(2):
        with shared.turn(0) as empty:
            turns.append(empty)
    assert turns == [True, False]


def test_only_the_parents_own_file_is_taken(file, tmp_path):
    assert offered({SHARED_VARIABLE: str(file)}) == file
    with (tmp_path / "other").open("w+b") as other:
        assert offered({SHARED_VARIABLE: str(other.fileno())}) is None
    for text in ("", "-1", "x", "99999"):
        assert offered({SHARED_VARIABLE: text}) is None


def test_host_memory_is_divided_unless_it_is_shared(monkeypatch):
    assert company({WORKERS_VARIABLE: "4:100"}) == (4, 100)
    for text in ("", "1:5", "x:5", "4:"):
        assert company({WORKERS_VARIABLE: text}) == (1, 0)
    settings = Settings(ram_bytes=100 * GIB)
    check_host_room(settings, 100 * GIB, shared=False)
    with pytest.raises(MachineError, match=r"100\.0 GiB of weights do not fit into 99\.0 GiB of host memory\."):
        check_host_room(Settings(ram_bytes=99 * GIB), 100 * GIB, shared=False)
    monkeypatch.setenv(WORKERS_VARIABLE, f"4:{400 * GIB}")
    check_host_room(settings, 41 * GIB, shared=True)
    with pytest.raises(MachineError, match=r"41\.0 GiB .* 25\.0 GiB of host memory for each of 4 workers.*fewer"):
        check_host_room(settings, 41 * GIB, shared=False)
    # What was available before the first worker began is what they divide, whatever the first ones took since.
    monkeypatch.setenv(WORKERS_VARIABLE, f"4:{4 * GIB}")
    with pytest.raises(MachineError, match=r"1\.5 GiB .* 1\.0 GiB"):
        check_host_room(Settings(), 3 * GIB // 2, shared=False)
