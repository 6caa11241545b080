"""One copy of the blocks in host memory for every worker of a machine: the same bits, whoever dies while writing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from families.engines import answers, budget, calls, model  # noqa: E402
from whichlora.company import SHARED_NAME, SHARED_VARIABLE, WORKERS_VARIABLE, company  # noqa: E402
from whichlora.errors import MachineError  # noqa: E402
from whichlora.families._qwen import shared  # noqa: E402
from whichlora.families._qwen.engine import FastEngine  # noqa: E402
from whichlora.families._qwen.files import shape_of  # noqa: E402
from whichlora.families._qwen.loading import Parts  # noqa: E402
from whichlora.families._qwen.opening import check_host_room, open_machine  # noqa: E402
from whichlora.families._qwen.places import find_places  # noqa: E402
from whichlora.families._qwen.profiles import Settings, from_environment, transformer_bytes  # noqa: E402
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


def test_random_weights_are_drawn_once_for_all_workers(file):
    drawn = []

    def fill(name, out):
        drawn.append(name)
        out.fill_(0.25)

    for _ in range(2):
        made = model(layers=2)
        StreamedStore(made, "cpu", budget(made, 2), share=(file, "m"), fill=fill)
        assert (made.get_parameter("transformer_blocks.1.attn.to_v.weight") == 0.25).all()
    assert len(drawn) == len(set(drawn)) == len(list(made.transformer_blocks.parameters()))


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


# ------------------------------------------------------------------------ page-locking


class Runtime:
    """Stands in for CUDA's runtime: answers as it is told, and keeps what it was asked."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def cudaHostRegister(self, address, length, flags):  # noqa: N802 - CUDA's own name
        self.asked.append((address, length, flags))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(("answer", "words"), [
    (0, ""), (2, "CUDA's error 2"), (801, "CUDA's error 801"), (RuntimeError("no driver\nat all"), "no driver at all"),
])
def test_where_pages_cannot_be_locked_a_sentence_says_so_and_the_bits_are_the_same(file, monkeypatch, answer, words):
    wanted = answers(FastEngine(first := model(layers=4), StreamedStore(first, "cpu", budget(first, 3)),
                                compiled=False), calls(2))
    runtime = Runtime(answer)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)
    monkeypatch.setattr(shared, "_LOCKED", [])
    made = model(layers=4)
    store = StreamedStore(made, "cpu", budget(made, 3), share=(file, "m"))
    store._pin = True
    store._lock_pages()
    mapping = store._shared._map
    # The whole file, from the start of a page: not a block too few, nothing beyond it.
    (address, length, flags), = runtime.asked
    assert (address % 4096, length, flags) == (0, os.fstat(file).st_size, 0)
    begins, ends = min(flat.data_ptr() for host in store._host for flat in host), address + length
    assert address <= begins
    assert max(flat.data_ptr() + flat.nbytes for host in store._host for flat in host) <= ends
    assert [words in note for note in store.notes] == ([True] if words else [])
    assert all(note.count(".") == 1 and "\n" not in note for note in store.notes)
    # What CUDA takes for locked must never be given back; what it refused may.
    assert ([] if words else [mapping]) == shared._LOCKED
    found = answers(FastEngine(made, store, compiled=False), calls(2))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_a_maker_killed_before_it_said_what_the_file_holds_does_not_part_the_workers(file):
    os.ftruncate(file, 10_000_000)
    shared = SharedBlocks(file, "m", 3, (5000, 20), torch.float32)
    with shared.turn(0) as empty:
        assert empty
        shared.flats(0)[0].fill_(3)
    again = SharedBlocks(file, "m", 3, (5000, 20), torch.float32)
    with again.turn(0) as empty:
        assert not empty
    assert (again.flats(0)[0] == 3).all()


# ------------------------------------------------------------------------ room in host memory


def opened(folder, monkeypatch, ram_gib, **settings):
    """A streamed tiny base, with so much host memory to count on."""
    monkeypatch.setenv("WHICHLORA_RAM_GIB", str(ram_gib))
    parts = Parts(find_places(str(folder)), "cpu", torch.float32)
    return open_machine(parts, from_environment({}, dict(os.environ) | settings))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    from families import tiny

    return tiny.build(tmp_path_factory.mktemp("base"), layers=4)


def test_a_worker_that_has_no_room_for_its_copy_is_refused(file, base, monkeypatch):
    streamed = {"WHICHLORA_HOLD": "streamed"}
    inside = transformer_bytes(shape_of(str(base)), 4)[0]
    half, enough = inside / 2 / GIB, inside * 1.1 / GIB
    with pytest.raises(MachineError, match="do not fit into"):
        opened(base, monkeypatch, half, **streamed)
    assert opened(base, monkeypatch, enough, **streamed).store.facts()["host_bytes"] > 0
    # What another worker has laid out already needs no room.
    monkeypatch.setenv(SHARED_VARIABLE, str(file))
    monkeypatch.setenv(WORKERS_VARIABLE, f"2:{8 * GIB}")
    with pytest.raises(MachineError, match=r"for 2 workers together"):
        opened(base, monkeypatch, half, **streamed)
    opened(base, monkeypatch, enough, **streamed)
    assert bytes_there(file) > inside * 0.9
    assert opened(base, monkeypatch, half, **streamed).store._shared is not None
    # A file that holds another model cannot be shared: then its own copy must fit into its own part.
    os.pwrite(file, b"another model", 0)
    with pytest.raises(MachineError, match=r"for each of 2 workers, every one with its own copy"):
        opened(base, monkeypatch, enough, **streamed)
    store = opened(base, monkeypatch, 2 * enough, **streamed).store
    assert "its own copy of the weights" in store.notes[0]


@pytest.mark.parametrize(("share", "copied"), [(1.2, False), (1.5, True)])
def test_a_rounded_profile_keeps_a_copy_only_where_there_is_room(tmp_path, monkeypatch, share, copied):
    from families import tiny

    monkeypatch.setattr(tiny, "WIDTH", 64)
    base = tiny.build(tmp_path / "wide", layers=2)
    inside = transformer_bytes(shape_of(str(base)), 4)[0]
    monkeypatch.setenv("WHICHLORA_RAM_GIB", str(inside * share / GIB))
    parts = Parts(find_places(str(base)), "cpu", torch.float32)
    store = open_machine(parts, from_environment({"profile": "nf4"}, dict(os.environ))).store
    assert (store.facts()["host_bytes"] > 0) is copied


# ------------------------------------------------------------------------ actors, which are nobody's children


MEET = """
import os, sys
from whichlora.run.one_host import meet
file = meet(sys.argv[1])
print(os.fstat(file).st_ino, flush=True)
sys.stdin.readline()
"""


def test_processes_without_a_common_parent_find_the_same_file_until_the_last_one_ends():
    from whichlora.run.one_host import _found, meet

    def come(token):
        return subprocess.Popen([sys.executable, "-c", MEET, token], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                text=True)

    first, second, other = come("here"), come("here"), come("there")
    inodes = [int(process.stdout.readline()) for process in (first, second, other)]
    assert inodes[0] == inodes[1] != inodes[2]
    for process in (first, other):  # whoever made it: the other one still has it
        process.kill()
        process.communicate()
    mine = meet("here")
    assert os.fstat(mine).st_ino == inodes[1]
    assert offered({SHARED_VARIABLE: str(mine)}) == mine
    os.write(mine, b"weights")
    second.kill()
    second.communicate()
    late = come("here")
    assert int(late.stdout.readline()) == inodes[1]
    os.close(mine)
    late.kill()
    late.communicate()
    assert _found(f"{SHARED_NAME}-here") is None
    assert _found(f"{SHARED_NAME}-there") is None


def test_an_actor_shares_only_where_its_machine_has_room_for_another(monkeypatch):
    pytest.importorskip("ray")
    from whichlora.run.ray_executor import Company

    monkeypatch.setenv(SHARED_VARIABLE, "7")
    monkeypatch.setenv(WORKERS_VARIABLE, "9:9")
    Company(4, "one", {"a": 1, "b": 3}).join("a")
    assert (company(), offered()) == ((1, 0), None)
    Company(4, "two", {"a": 1, "b": 3}).join("b")
    assert company()[0] == 3
    assert company()[1] > GIB
    made = offered()
    assert made is not None
    os.close(made)
    Company(2, "three", {"b": 3}).join("c")  # a node that came later
    assert company()[0] == 2
    os.close(offered())


def test_another_transformer_file_of_the_same_base_is_another_model(file, base, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    monkeypatch.setenv(SHARED_VARIABLE, str(file))
    monkeypatch.setenv("WHICHLORA_HOLD", "streamed")
    opened(base, monkeypatch, 8)
    state = load_file(str(base / "transformer" / "diffusion_pytorch_model.safetensors"))
    other = tmp_path / "tuned.safetensors"
    save_file({name: weight * 2 for name, weight in state.items()}, str(other))
    parts = Parts(find_places(str(base), str(other)), "cpu", torch.float32)
    store = open_machine(parts, from_environment({}, dict(os.environ))).store
    name = "transformer_blocks.0.attn.to_v.weight"
    assert torch.equal(store.base(name), state[name] * 2)
