"""Messages survive whole or not at all; the canary tells a damaged device from another one."""

import io
import struct
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from whichlora.errors import MachineError
from whichlora.run.canary import choose_canary, compare
from whichlora.run.cellwork import CellWork
from whichlora.run.digests import digest
from whichlora.run.wire import read_message, write_message
from whichlora.types import AdapterUse, BaseModel, Candidate, Cell, EditCase, Plan, SamplerProfile, SourceImage


def test_messages_come_back_as_they_were_sent():
    stream = io.BytesIO()
    write_message(stream, {"is": "made", "text": "镜头\n"}, b"\x00\xff" * 1000)
    write_message(stream, {"is": "ready"})
    stream.seek(0)
    assert read_message(stream) == ({"is": "made", "text": "镜头\n"}, b"\x00\xff" * 1000)
    assert read_message(stream) == ({"is": "ready"}, b"")
    assert read_message(stream) is None


def test_half_a_message_is_none_at_all():
    stream = io.BytesIO()
    write_message(stream, {"is": "made"}, b"picture")
    whole = stream.getvalue()
    for length in range(len(whole)):
        assert read_message(io.BytesIO(whole[:length])) is None


@pytest.mark.parametrize("data", [b"Downloading shards: 100%\n", struct.pack(">II", 3, 0) + b"abc",
                                  struct.pack(">II", 2, 0) + b"[]"])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(MachineError, match="no message"):
        read_message(io.BytesIO(data))


def plan():
    sampler = SamplerProfile("default", 40, 4.0)
    base = Candidate("base", sampler=replace(sampler, adapters=(AdapterUse("s", "s", "0" * 64),)), role="base")
    photo = SourceImage("p", "refs/p.png", "1" * 64, 8, 8)
    case = EditCase("p/e", "p", "e", "camera", "turn", {})
    cells = (Cell("x", "a", case.id, 1), Cell("y", "base", case.id, 1))
    return Plan("t", BaseModel("m", "painter", "", "f"), (base, Candidate("a", sampler=sampler)), (photo,), (), (),
                (case,), cells, (), "other", (), 0.7, {"torch": "2"})


def test_the_canary_is_the_base_without_any_adapter_in_a_few_steps():
    canary = choose_canary(plan())
    assert canary.candidate.sampler.num_inference_steps == 4
    assert not canary.candidate.sampler.adapters
    assert canary.cell.case == "p/e"
    other = replace(plan(), libraries={"torch": "3"})
    assert choose_canary(other).cell.id != canary.cell.id
    more_rows = replace(plan(), candidates=(*plan().candidates, Candidate("b")))
    assert choose_canary(more_rows).cell.id == canary.cell.id
    assert choose_canary(replace(plan(), cells=())) is None


HERE, THERE = {"device": "H100", "driver": "12"}, {"device": "H100", "driver": "13"}


def test_the_same_device_must_agree_and_another_is_said():
    document, note = compare(None, "k", HERE, "aa")
    assert (len(document["entries"]), note) == (1, "")
    assert compare(document, "k", HERE, "aa") == (document, "")
    with pytest.raises(MachineError, match="came out differently on H100"):
        compare(document, "k", HERE, "bb")
    same, note = compare(document, "k", THERE, "aa")
    assert "driver 12 → 13" in note
    assert "same here" in note
    assert compare(same, "k", THERE, "aa") == (same, "")
    different, note = compare(document, "k", THERE, "bb")
    assert "differently here" in note
    # What another device made says nothing against this one.
    assert compare(different, "k", HERE, "aa")[1] == ""
    with pytest.raises(MachineError):
        compare(different, "k", THERE, "aa")
    assert compare(document, "other inputs", HERE, "bb")[1] == ""


def test_the_stage_that_came_out_differently_is_named():
    known = {"instruction": "i", "photograph": "p"}
    document, _ = compare(None, "k", HERE, "aa", known)
    for now, words in (
        ({**known, "instruction": "j"}, "encoded instruction differs already"),
        ({"instruction": "j", "photograph": "q"}, "instruction and photograph differ already"),
        (known, "denoising or decoding differs"), (None, "not known"),
    ):
        with pytest.raises(MachineError, match=words):
            compare(document, "k", HERE, "bb", now)


def test_what_is_computed_in_another_way_is_named():
    known = {"instruction": "i", "photograph": "p", "forward": "kernels", "text encoder": "cuda"}
    document, _ = compare(None, "k", HERE, "aa", known)
    with pytest.raises(MachineError, match=r"or decoding differs\. .*\(forward: kernels then, compiled now\)"):
        compare(document, "k", HERE, "bb", {**known, "forward": "compiled"})
    with pytest.raises(MachineError) as caught:
        compare(document, "k", HERE, "bb", {**known, "instruction": "j"})
    assert "another way" not in str(caught.value)
    # Another way that makes the same picture is no difference.
    assert compare(document, "k", HERE, "aa", {**known, "forward": "compiled"})[1] == ""


def test_a_digest_sees_every_bit_shape_and_order():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    photo = SourceImage("p", "refs/p.png", "1" * 64, 8, 8)
    found = {digest(values), digest(values.T), digest(np.nextafter(values, 9)), digest(values, None), digest([values]),
             digest(values.astype(np.float64)), digest(photo), digest(replace(photo, id="q")), digest("p")}
    assert len(found) == 9
    assert digest(values[::-1][::-1]) == digest(values)
    torch = pytest.importorskip("torch")
    half = torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    assert digest(half) == digest(half.clone()) != digest(half.half())
    assert digest(half) != digest(-half)
    # Where bits alone would not tell: formats and shapes of zeros, and where one list ends.
    zeros = [torch.zeros(shape, dtype=dtype) for shape in ((2, 3), (3, 2), (6,))
             for dtype in (torch.bfloat16, torch.float16, torch.float32)]
    assert len({digest(each) for each in zeros}) == len(zeros)
    assert len({digest([1], [2]), digest([1, 2]), digest([[1], 2]), digest([], [1, 2])}) == 4


def test_the_canary_tells_its_stages_apart():
    """What differs in the instruction, the negative prompt or the photograph is named as that and as nothing else."""

    class Session:
        def switch(self, candidate):
            pass

        def denoise(self, prompt, negative, images, sampler, seed):
            return images[0]

        def decode(self, latents):
            return np.asarray(latents, dtype=np.uint8)

        def ways(self):
            return {"forward": "kernels"}

    canary, case = choose_canary(plan()), plan().cases[0]
    photo = np.ones((2, 2, 3))

    def made(prompt="p", negative="n", image=photo):
        work = CellWork(Session())
        work._cases = {case.id: case, "other": replace(case, id="other")}
        work._encoded = SimpleNamespace(
            inputs=lambda _, which: (prompt, negative, [image]) if which == case else ("x", "x", ["x"]))
        return work.canary_pixels(canary)[1]

    first = made()
    assert first["forward"] == "kernels"
    for other, stage in ((made(prompt="q"), "instruction"), (made(negative="m"), "instruction"),
                         (made(image=photo + 1), "photograph")):
        assert [name for name in first if first[name] != other[name]] == [stage]
    assert made() == first
