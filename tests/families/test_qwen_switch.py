"""Switching LoRAs: exact, whole, and without a trace of the candidate before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from families import tiny
from families.tiny import candidate, open_session, use
from whichlora.errors import RefusedError
from whichlora.types import AdapterUse

DTYPES = ["float32", "bfloat16"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.build(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    root = tmp_path_factory.mktemp("loras")
    drawn = {
        "a": tiny.lora_tensors(1),
        "b": tiny.lora_tensors(2, rank=8, modules=("attn.to_out.0", "img_mlp.net.2")),
        "alpha": tiny.lora_tensors(3, modules=("img_mod.1",)),
    }
    paths = {name: tiny.save_lora(root / f"{name}.safetensors", tensors, alpha=2.0 if name == "alpha" else None)
             for name, tensors in drawn.items()}
    return drawn, paths


def expected(session, drawn, *parts):
    """W + ΔW of every touched module, from the matrices that the test drew, by no product code."""
    deltas = {}
    for name, weight in parts:
        scale = 2.0 / 4.0 if name == "alpha" else 1.0
        for module, (up, down) in drawn[name].items():
            delta = weight * scale * (up.astype(np.float64) @ down.astype(np.float64))
            deltas[module] = deltas.get(module, 0.0) + delta
    weights = dict(session._parts.transformer.named_parameters())
    return {module: (weights[f"{module}.weight"], delta) for module, delta in deltas.items()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("parts", [
    [("a", 1.0)], [("b", 0.6)], [("alpha", 1.0)], [("a", 1.0), ("b", -0.7)], [("a", 0.5), ("b", 1.0), ("alpha", 1.2)],
])
def test_working_weights_are_base_plus_the_drawn_change(folder, loras, dtype, parts):
    drawn, paths = loras
    session = open_session(folder, dtype)
    before = {k: v.detach().clone() for k, v in session._parts.transformer.named_parameters()}
    report = session.switch(candidate(*(use(paths[name], weight) for name, weight in parts)))
    assert report.modules_changed == report.modules_in_files == sum(len(drawn[name]) for name, _ in parts)
    changes = expected(session, drawn, *parts)
    for module, (found, delta) in changes.items():
        wanted = before[f"{module}.weight"].double() + torch.from_numpy(delta)
        if dtype == "float32":
            assert float((found.double() - wanted).norm()) <= 1e-6 * float(torch.from_numpy(delta).norm())
        else:
            exact = found == wanted.to(torch.bfloat16)
            assert float(exact.double().mean()) > 0.999
            assert float(((found.double() - wanted).abs() / wanted.abs().clamp_min(1e-6)).max()) <= 2.0**-8
    for name, weight in session._parts.transformer.named_parameters():
        if name.removesuffix(".weight") not in changes:
            assert torch.equal(weight, before[name]), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_leaks_from_one_candidate_to_the_next(folder, loras, dtype):
    _, paths = loras
    a, b = candidate(use(paths["a"])), candidate(use(paths["b"], 0.8), use(paths["alpha"]))
    base = candidate()
    fresh = {}
    for name, row in (("a", a), ("b", b), ("base", base)):
        session = open_session(folder, dtype)
        session.switch(row)
        fresh[name] = session.weights_hash()
    assert len(set(fresh.values())) == 3
    session = open_session(folder, dtype)
    untouched = session.weights_hash()
    assert untouched == fresh["base"]
    for name, row in (("a", a), ("b", b), ("base", base), ("a", a), ("a", a), ("b", b), ("a", a), ("base", base)):
        session.switch(row)
        assert session.weights_hash() == fresh[name], name
        assert bool(session.touched()) == (name != "base")


def test_pictures_follow_the_active_candidate(folder, loras):
    _, paths = loras
    session = open_session(folder)
    prompt = session.encode_prompt(tiny.PROMPTS[0], [tiny.picture(0)], tiny.SAMPLER)
    image = session.encode_image(tiny.picture(0), tiny.SAMPLER)
    sampler = replace(tiny.SAMPLER, true_cfg_scale=1.0)

    def made(*uses):
        session.switch(candidate(*uses))
        return session.denoise(prompt, None, [image], sampler, 5).tokens

    base, a, b = made(), made(use(paths["a"])), made(use(paths["b"]))
    assert not torch.equal(base, a)
    assert not torch.equal(a, b)
    assert torch.equal(made(), base)
    assert torch.equal(made(use(paths["b"])), b)


def test_a_samplers_lora_is_active_with_the_candidates_own(folder, loras):
    _, paths = loras
    session = open_session(folder)
    distilled = replace(tiny.SAMPLER, adapters=(use(paths["b"]),))
    session.switch(candidate(use(paths["a"]), use(paths["b"])))
    together = session.weights_hash()
    report = session.switch(candidate(use(paths["a"]), sampler=distilled))
    assert session.weights_hash() == together
    assert report.modules_in_files == 8
    session.switch(candidate(sampler=distilled))
    only = session.weights_hash()
    session.switch(candidate(use(paths["b"])))
    assert session.weights_hash() == only


def test_a_file_that_cannot_be_applied_leaves_the_base(folder, loras, tmp_path):
    _, paths = loras
    session = open_session(folder)
    pristine = session.weights_hash()
    deep = tiny.save_lora(tmp_path / "deep.safetensors", tiny.lora_tensors(1, layers=tiny.LAYERS + 1))
    huge = {module: (up * 1e30, down * 1e30) for module, (up, down) in tiny.lora_tensors(4).items()}
    huge = tiny.save_lora(tmp_path / "huge.safetensors", huge)
    gone = AdapterUse("gone", str(tmp_path / "gone.safetensors"), "0" * 64)
    swapped = replace(use(paths["a"]), path=str(paths["b"]))
    for bad, message in ((use(deep), "deeper"), (use(huge), "finite"), (gone, "no longer"), (swapped, "SHA-256")):
        session.switch(candidate(use(paths["a"])))
        with pytest.raises(RefusedError, match=message):
            session.switch(candidate(use(paths["b"]), bad))
        assert session.weights_hash() == pristine, message
    with pytest.raises(RefusedError, match="ties"):
        session.switch(replace(candidate(use(paths["a"])), combine="ties"))


def test_modules_with_zero_change_are_told_apart_from_lost_ones(folder, tmp_path):
    tensors = tiny.lora_tensors(1)
    first = next(iter(tensors))
    tensors[first] = (tensors[first][0] * 0, tensors[first][1])
    path = tiny.save_lora(tmp_path / "part.safetensors", tensors)
    report = open_session(folder).switch(candidate(use(path)))
    assert report.modules_in_files == report.modules_changed == len(tensors) - 1


def test_rounding_loss_in_bf16_is_that_of_rounding(folder, tmp_path):
    """A change of 1 % of W loses about a sixth to bf16; one of 100 % loses little, and fp32 nothing."""
    found = {}
    for size in (0.01, 1.0):
        rms = 0.9 / tiny.WIDTH**0.5
        path = tiny.save_lora(tmp_path / f"{size}.safetensors", tiny.lora_tensors(5, size=size * rms))
        for dtype in DTYPES:
            found[dtype, size] = open_session(folder, dtype).switch(candidate(use(path))).facts["rounding_loss"]
    assert 0.1 < found["bfloat16", 0.01] < 0.25
    assert found["bfloat16", 1.0] < 0.005
    assert found["float32", 0.01] < 1e-4
