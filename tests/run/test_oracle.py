"""The weight oracle: where the weights lie and in numpy the same sums, and one wrong bit is seen by both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from families import tiny
from families.tiny import candidate, open_session, use
from whichlora.errors import RefusedError
from whichlora.families._qwen.quantised import QuantisedStore
from whichlora.families._qwen.streaming import StreamedStore
from whichlora.run import comparing, oracle_torch
from whichlora.run.oracle import check_weights

DTYPES = ["float32", "bfloat16", "float16"]
MODULE = "transformer_blocks.1.attn.to_q"


class Factored:
    """A change with factors, or the whole one, as a file would give it."""

    needs_weight = False

    def __init__(self, up, down, scale=1.0, *, whole=False):
        self.up, self.down, self.scale, self.whole = up, down, scale, whole

    def factors(self):
        return None if self.whole else (self.up, self.down, self.scale)

    def delta(self, _weight):
        return (self.scale * (self.up @ self.down)).astype(np.float32)


class Shows:
    """A session that shows two tensors."""

    def __init__(self, pristine, found):
        self.pair = pristine, found

    def tensors(self, _label):
        return self.pair

    def pristine(self, _label):
        return self.pair[0].float().numpy()

    def weights(self, _label):
        return self.pair[1].float().numpy()


class OnlyArrays:
    """A session as families without tensors show it."""

    def __init__(self, session):
        self._session = session

    def __getattr__(self, name):
        if name in ("tensors", "touched_beyond"):
            raise AttributeError(name)
        return getattr(self._session, name)


def both_ways(pristine, found, parts, precision):
    there = oracle_torch.sums(Shows(pristine, found), "m", parts, precision)()
    here = comparing.compare(pristine.float().numpy(), found.float().numpy(), parts, precision)
    assert (there.undecided, there.wrong) == (here.undecided, here.wrong)
    for name in ("wanted", "lost", "beyond"):
        assert getattr(there, name) == pytest.approx(getattr(here, name), rel=1e-9, nan_ok=True), name
    assert there.error == pytest.approx(here.error, rel=1e-9)
    return there


@pytest.mark.parametrize("blocks", [1 << 20, 640])
@pytest.mark.parametrize("precision", DTYPES)
def test_both_count_the_same_and_see_one_wrong_bit(precision, blocks, monkeypatch):
    """Changes from far below a rounding step to far above it, cancelled weights, ties and their neighbours."""
    monkeypatch.setitem(oracle_torch._BLOCK, "cpu", blocks)
    monkeypatch.setattr(comparing, "_BLOCK", blocks)
    dtype = getattr(torch, precision)
    rng = np.random.default_rng(4)
    for case, (size, whole) in enumerate([(1e-4, False), (0.05, False), (3.0, True), (1.0, False)]):
        pristine = torch.from_numpy(rng.standard_normal((41, 64)).astype(np.float32)).to(dtype)
        ups = [(rng.standard_normal((41, 5)) * size).astype(np.float32) for _ in range(2)]
        downs = [rng.standard_normal((5, 64)).astype(np.float32) for _ in range(2)]
        if case == 3:  # the change takes the weight to half a step beside a representable value, and to nothing
            downs = [np.eye(64, dtype=np.float32), np.zeros((64, 64), np.float32)]
            step = 2.0 ** (-9 if precision == "bfloat16" else -12)
            ups = [(pristine.float().numpy() * step * rng.integers(-2, 3, (41, 64))).astype(np.float32)] * 2
            ups[0][:, :9] = -pristine.float().numpy()[:, :9]
        parts = [(0.7, Factored(ups[0], downs[0], 0.5, whole=whole)), (-1.3, Factored(ups[1], downs[1]))]
        change = sum(weight * part.scale * (part.up.astype(np.float64) @ part.down) for weight, part in parts)
        found = (pristine.double() + torch.from_numpy(change)).float().to(dtype)
        right = both_ways(pristine, found, parts, precision)
        assert right.wrong == 0
        assert right.error <= 1e-6
        if precision == "float32":
            bent = found.clone()
            bent[30, 7] *= 1.5
            assert both_ways(pristine, bent, parts, precision).error > 1e-3 * (size < 1)
            continue
        bits = found.clone().view(torch.int16)
        places = [(2, 13), (40, 63)]
        for row, column in places:
            bits[row, column] += 1
        wrong = both_ways(pristine, bits.view(dtype), parts, precision).wrong
        assert 0 < wrong <= len(places) if case == 3 else wrong == len(places)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("precision", DTYPES)
def test_what_is_not_finite_is_never_right(precision, bad):
    pristine = torch.ones(8, 8, dtype=getattr(torch, precision))
    found = pristine.clone()
    found[3, 3] = bad
    parts = [(1.0, Factored(np.zeros((8, 1), np.float32), np.zeros((1, 8), np.float32)))]
    result = both_ways(pristine, found, parts, precision)
    assert result.wrong == 1 or not result.error <= 1e-2


class OfTheWeight(Factored):
    """A change that depends on the weight, as DoRA's does."""

    needs_weight = True

    def delta(self, weight):
        assert weight.dtype == np.float32
        return (0.25 * weight * np.arange(1, weight.shape[1] + 1)).astype(np.float32)


@pytest.mark.parametrize("precision", DTYPES)
def test_a_change_that_depends_on_the_weight_gets_the_bases_own(precision):
    pristine = torch.randn(16, 8, generator=torch.Generator().manual_seed(1)).to(getattr(torch, precision))
    part = OfTheWeight(None, None, whole=True)
    change = 0.7 * torch.from_numpy(part.delta(pristine.float().numpy())).double()
    found = (pristine.double() + change).float().to(pristine.dtype)
    result = both_ways(pristine, found, [(0.7, part)], precision)
    assert (result.wrong, result.error <= 1e-6) == (0, True)


@pytest.mark.parametrize("trouble", ["out of memory", "no float64"])
def test_where_the_device_cannot_the_processor_compares(trouble, monkeypatch):
    """A full card, and Apple's GPU: the same sums, and a wrong bit is seen there too."""
    pristine = torch.randn(16, 8, generator=torch.Generator().manual_seed(1)).bfloat16()
    up, down = np.ones((16, 1), np.float32), np.ones((1, 8), np.float32)
    found = (pristine.float() + 1).bfloat16()
    found.view(torch.int16)[3, 3] += 1
    emptied = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(1))

    class There(Shows):
        def tensors(self, label):
            if trouble == "out of memory":
                raise torch.OutOfMemoryError("planted")
            return type("Metal", (), {"device": torch.device("mps")})(), None

    there = oracle_torch.sums(There(pristine, found), "m", [(1.0, Factored(up, down))], "bfloat16")()
    assert there == oracle.compare(pristine.float().numpy(), found.float().numpy(), [(1.0, Factored(up, down))],
                                   "bfloat16")
    assert there.wrong == 1
    assert bool(emptied) == (trouble == "out of memory")


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)])
def test_roundings_agree_on_every_kind_of_number(precision, dtype):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(50000) * 10.0 ** rng.integers(-42, 40, 50000)
    ties = torch.randn(5000).to(dtype).double().numpy()
    values = np.concatenate([values, ties, np.nextafter(ties, 9), ties * (1 + 2.0**-9), ties * (1 + 2.0**-12), [0.0]])
    with np.errstate(over="ignore"):
        wanted = comparing.rounded(values, precision)
    found = oracle_torch._rounded(torch.from_numpy(values), precision).double().numpy()
    np.testing.assert_array_equal(found, wanted)


# ------------------------------------------------------------------------ whole sessions


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.build(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def lora(tmp_path_factory):
    return tiny.save_lora(tmp_path_factory.mktemp("loras") / "a.safetensors",
                          tiny.lora_tensors(0, modules=("attn.to_q", "img_mlp.net.2", "img_mod.1")))


def opened(folder, how, monkeypatch):
    """A session that holds the model in one of the ways."""
    monkeypatch.setenv("WHICHLORA_ENGINE", "plain" if how == "plain" else "fast")
    if how == "streamed":
        monkeypatch.setenv("WHICHLORA_HOLD", "streamed")
    session = open_session(folder, "bfloat16" if how in ("fp8", "half") else "float32")
    if how == "fp8":
        from whichlora.families._qwen.engine import FastEngine
        from whichlora.families._qwen.opening import Machine

        model = session._parts.transformer
        store = QuantisedStore(model, torch.device("cpu"), "fp8")
        session._machine = Machine(store, FastEngine(model, store, compiled=False))
    return session


WAYS = ["plain", "half", "streamed", "fp8"]


@pytest.mark.parametrize("how", WAYS)
def test_every_way_to_hold_the_model_gives_both_the_same_answer(folder, lora, how, monkeypatch):
    session = opened(folder, how, monkeypatch)
    row = candidate(use(lora, 0.8))
    session.switch(row)
    there, here = check_weights(session, row), check_weights(OnlyArrays(session), row)
    assert there.undecided == here.undecided
    assert there.worst_error == pytest.approx(here.worst_error, rel=1e-9)
    assert there.rounding_loss == pytest.approx(here.rounding_loss, rel=1e-9)
    assert there.precision == here.precision


def faults(session, label):
    """One wrong bit, or none, of a working weight, where its forward reads it."""
    store = session._machinery().store
    if isinstance(store, StreamedStore):
        with torch.inference_mode():
            store._bring_home()
        return store.working(f"{label}.weight")
    return store._parameters[f"{label}.weight"].data


@pytest.mark.parametrize("how", ["plain", "half", "streamed"])
def test_both_refuse_what_is_wrong_in_the_weights(folder, lora, how, monkeypatch):
    session = opened(folder, how, monkeypatch)
    if how == "streamed":
        store = session._machinery().store
        store.resident, store._away = 2, ()
    row = candidate(use(lora))
    for damage in ("bit", "missing"):
        session.switch(candidate())
        session.switch(row)
        weight = faults(session, MODULE)
        if damage == "missing":
            weight.copy_(session._machinery().store.base(f"{MODULE}.weight"))
        else:
            flat = weight.view(torch.int16 if how == "half" else torch.int32)
            flat[5, 5] ^= 1 if how == "half" else 1 << 23
        for shown in (session, OnlyArrays(session)):
            with pytest.raises(RefusedError, match=MODULE):
                check_weights(shown, row)
    session.switch(candidate())
    session.switch(row)
    small = tiny.lora_tensors(0, modules=("attn.to_q", "img_mlp.net.2"))
    short = tiny.save_lora(lora.parent / "short.safetensors", small)
    for shown in (session, OnlyArrays(session)):
        with pytest.raises(RefusedError, match=r"img_mod.1' changed although no file"):
            check_weights(shown, replace(row, adapters=(use(short),)))
