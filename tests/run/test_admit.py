"""The load gate, steps 2 and 3: whole LoRAs pass, half-applied, leaking and inert ones do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from families import tiny
from families.tiny import candidate, open_session, use
from whichlora.errors import MachineError, RefusedError
from whichlora.families._qwen import adapters
from whichlora.families._qwen.changes import Change
from whichlora.run.admit import admit, admit_all, noise_floor
from whichlora.run.comparing import rounded
from whichlora.types import Candidate

DTYPES = ["float32", "bfloat16", "float16"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.build(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    root = tmp_path_factory.mktemp("loras")
    return [tiny.save_lora(root / f"{i}.safetensors", tiny.lora_tensors(i, modules=("attn.to_q", "img_mlp.net.2")))
            for i in range(2)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_loras_pass_alone_and_stacked(folder, good, dtype):
    session = open_session(folder, dtype)
    for row in (candidate(use(good[0])), candidate(use(good[0], 0.7), use(good[1], -0.4)),
                candidate(use(good[0]), sampler=replace(tiny.SAMPLER, adapters=(use(good[1]),)))):
        report = admit(session, row)
        assert report.modules == 4 * (len(row.adapters) + len(row.sampler.adapters))
        assert report.precision == dtype
        assert report.worst_error <= 1e-3
        assert report.effect > 0.01 > report.noise_floor
        assert len(report.effects) == (2 if len(row.adapters) == 2 else 0)
        assert (report.rounding_loss > 1e-4) == (dtype != "float32")
        assert report.undecided_values < 0.01 * 4 * 4 * tiny.WIDTH**2


def sabotage(monkeypatch, damage):
    """Let `damage` change one module's ΔW inside the product, as a faulty loader would."""
    stock = adapters._change

    def faulty(strength, module, ahead, base):
        change = stock(strength, module, ahead, base)
        if module.name != "transformer_blocks.1.attn.to_q":
            return change
        return Change(1.0, full=damage(change.rows(0, base.shape[0])))

    monkeypatch.setattr(adapters, "_change", faulty)


def first_rows_only(delta):
    out = delta.clone()
    out[len(out) // 2:] = 0
    return out


DAMAGE = {
    "dropped": torch.zeros_like,
    "half of its rows": first_rows_only,
    "half strength": lambda delta: delta * 0.5,
    "strength off by 1 %": lambda delta: delta * 1.01,
    "transposed": lambda delta: delta.T.contiguous(),
    "one value": lambda delta: delta + torch.eye(*delta.shape)[3] * 0.05,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_half_applied_lora_is_refused(folder, good, monkeypatch, kind, dtype):
    session = open_session(folder, dtype)
    sabotage(monkeypatch, DAMAGE[kind])
    with pytest.raises(RefusedError) as caught:
        admit(session, candidate(use(good[0])))
    assert "transformer_blocks.1.attn.to_q" in str(caught.value) or "3 of its 4" in str(caught.value)


def test_a_change_that_no_file_names_is_refused(folder, good, monkeypatch):
    """A switch that forgets to restore leaves the last candidate's modules behind."""
    session = open_session(folder)
    other = tiny.save_lora(good[0].parent / "other.safetensors", tiny.lora_tensors(9, modules=("attn.to_out.0",)))
    admit(session, candidate(use(good[0])))
    monkeypatch.setattr(adapters.Switcher, "_restore", lambda self, names: None)
    with pytest.raises(RefusedError, match="no file of"):
        admit(session, candidate(use(other)))
    with pytest.raises((RefusedError, MachineError), match=r"differs from it|no file of"):
        admit_all(session, [candidate(use(other))])


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_inert_lora_is_refused_and_a_faint_one_is_not(folder, tmp_path, dtype):
    session = open_session(folder, dtype)
    inert = tiny.save_lora(tmp_path / "inert.safetensors", tiny.lora_tensors(1, size=1e-12))
    floor = noise_floor(session, candidate())
    with pytest.raises(RefusedError, match="inert"):
        admit(session, candidate(use(inert)))
    with pytest.raises(RefusedError, match="inert"):
        admit(session, candidate(use(tiny.save_lora(tmp_path / "real.safetensors", tiny.lora_tensors(2)), 0.0)))
    faint = tiny.save_lora(tmp_path / "faint.safetensors", tiny.lora_tensors(1, size=0.02))
    assert admit(session, candidate(use(faint))).effect > floor


def test_an_inert_lora_does_not_hide_in_a_stack_or_behind_a_sampler(folder, good, tmp_path):
    session = open_session(folder)
    inert = use(tiny.save_lora(tmp_path / "inert.safetensors", tiny.lora_tensors(1, size=1e-12)))
    with pytest.raises(RefusedError, match="'inert' in the stack is inert"):
        admit(session, candidate(use(good[0]), inert))
    with pytest.raises(RefusedError, match="inert"):
        admit(session, candidate(inert, sampler=replace(tiny.SAMPLER, adapters=(use(good[0]),))))


def test_a_lora_that_makes_nan_is_refused(folder, tmp_path):
    session = open_session(folder, "float16")
    tensors = {module: (up * 300, down * 50) for module, (up, down) in tiny.lora_tensors(1).items()}
    loud = tiny.save_lora(tmp_path / "loud.safetensors", tensors)
    with pytest.raises(RefusedError, match=r"NaN|finite"):
        admit(session, candidate(use(loud)))


def test_admit_all_sorts_rows_and_restores_the_base(folder, good, tmp_path):
    session = open_session(folder)
    pristine = session.weights_hash()
    inert = tiny.save_lora(tmp_path / "inert.safetensors", tiny.lora_tensors(1, size=1e-12))
    page = tmp_path / "page.safetensors"
    page.write_bytes(b"<!DOCTYPE html><html>not found</html>")
    rows = [
        Candidate("base", sampler=tiny.SAMPLER, role="base"), candidate(use(good[0]), name="good"),
        candidate(use(inert), name="inert"), candidate(use(page), name="page"),
        Candidate("do-nothing", sampler=tiny.SAMPLER, role="control", control="do-nothing"),
    ]
    seen = []
    admitted, refused = admit_all(session, rows, seen.append)
    assert [row.name for row in admitted] == ["base", "good", "do-nothing"]
    assert [row["name"] for row in refused] == ["inert", "page"]
    assert all(row["reason"] for row in refused)
    assert [report.candidate for report in seen] == ["good"]
    assert session.weights_hash() == pristine
    distilled = replace(tiny.SAMPLER, adapters=(use(page),))
    with pytest.raises(RefusedError):
        admit_all(session, [Candidate("base", sampler=distilled, role="base")])


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)])
def test_rounding_agrees_with_torch(precision, dtype):
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.standard_normal(20000) * 10.0 ** rng.integers(-6, 5, 20000), [0.0, -0.0]])
    values = values.astype(np.float32)
    ties = torch.randn(5000).to(dtype).float().numpy()
    nearer = np.nextafter(ties, np.float32(np.inf))
    for numbers in (values, ties, nearer, ties + np.spacing(ties.astype(np.float16)).astype(np.float32) / 2):
        wanted = torch.from_numpy(numbers).to(dtype).double().numpy()
        np.testing.assert_array_equal(rounded(numbers.astype(np.float64), precision), wanted)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_no_plain_lora_is_applied_exactly_too(folder, tmp_path, dtype):
    """DoRA, LoKr, and differences of weight and bias, with ΔW worked out here from the formulas."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(3)
    session = open_session(folder, dtype)
    width, block = tiny.WIDTH, "transformer_blocks.0"
    dora, lokr, whole = f"{block}.attn.to_q", f"{block}.attn.to_k", f"{block}.attn.to_v"
    up, down = rng.standard_normal((width, 4)) * 0.1, rng.standard_normal((4, width))
    weight = session.pristine(dora).astype(np.float64)
    magnitude = np.linalg.norm(weight, axis=1, keepdims=True) * rng.uniform(0.8, 1.2, (width, 1))
    w1, w2 = rng.standard_normal((6, 6)) * 0.1, rng.standard_normal((width // 6, width // 6))
    diff, bias = rng.standard_normal((width, width)) * 0.1, rng.standard_normal(width) * 0.1
    merged = weight + up @ down
    wanted = {
        dora: magnitude * merged / np.linalg.norm(merged, axis=1, keepdims=True) - weight,
        lokr: np.kron(w1, w2), whole: diff, f"{whole}.bias": bias,
    }
    tensors = {
        f"{dora}.lora_A.weight": down, f"{dora}.lora_B.weight": up, f"{dora}.dora_scale": magnitude,
        f"{lokr}.lokr_w1": w1, f"{lokr}.lokr_w2": w2, f"{whole}.diff": diff, f"{whole}.diff_b": bias,
    }
    paths = []
    for name in ("dora", "rest"):
        paths.append(tmp_path / f"{name}.safetensors")
        save_file({f"diffusion_model.{key}": value.astype(np.float32) for key, value in tensors.items()
                   if key.startswith(dora) == (name == "dora")}, paths[-1])
    report = admit(session, candidate(*map(use, paths)))
    assert report.modules == 4
    for label, delta in wanted.items():
        found = session.weights(label).astype(np.float64) - session.pristine(label)
        room = 1e-5 if dtype == "float32" else 2.0**-8
        scale = np.abs(session.pristine(label)) + np.abs(delta) + 1e-2
        assert float((np.abs(found - delta) / scale).max()) < room, label
    assert session.touched() == tuple(sorted(wanted))
