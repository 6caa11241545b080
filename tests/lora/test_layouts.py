"""Every layout gives the change that its matrices mean, at the right strength and under the right module."""

import json

import numpy as np
import pytest

from lora import factory
from whichlora.lora import keys
from whichlora.lora.delta import canonical_state_dict, load_canonical
from whichlora.lora.header import read_header
from whichlora.lora.inspect import inspect_header, inspect_lora
from whichlora.lora.static import check_static

TINY = keys.ModelShape.from_config(factory.TINY)
STRENGTHS = [(1, 1.0), (4, 2.0), (8, 16.0), (3, None)]


def assert_changes(path, expected, shape=TINY, tolerance=1e-6):
    with load_canonical(path, shape) as lora:
        assert {module.name for module in lora} == set(expected)
        for module in lora:
            want = expected[module.name]
            got = module.delta()
            assert got.dtype == np.float32
            assert got.shape == want.shape
            assert np.linalg.norm(got - want) <= tolerance * np.linalg.norm(want), module.name


@pytest.mark.parametrize(("rank", "alpha"), STRENGTHS)
@pytest.mark.parametrize("name", factory.SPELLINGS)
def test_every_layout_gives_the_drawn_change(tmp_path, name, rank, alpha):
    spelling = factory.SPELLINGS[name]
    drawn = factory.plain(spelling, {**factory.MODULES, **factory.TOP}, rank, alpha, seed=rank)
    path = factory.write(tmp_path / "a.safetensors", drawn.tensors)
    assert_changes(path, drawn.expected)
    facts = inspect_lora(path, TINY)
    assert facts.layout == spelling.layout
    assert facts.rank == rank
    assert facts.alpha == (alpha if spelling.alpha else None)
    assert facts.unmatched == ()
    assert set(facts.target_modules) == {*factory.BLOCK, *factory.TOP}
    report = check_static(facts, path, TINY)
    for module, want in drawn.expected.items():
        assert report.rms[module] == pytest.approx(np.sqrt(np.mean(want**2)), rel=1e-6)


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"])
def test_every_number_format(tmp_path, dtype):
    drawn = factory.plain(factory.SPELLINGS["diffusers"], factory.MODULES, 4, None)
    path = factory.write(tmp_path / "a.safetensors", drawn.tensors, dtype=dtype)
    assert_changes(path, drawn.expected)
    check_static(None, path, TINY)


@pytest.mark.parametrize("dtype", ["F32", "BF16", "I64"])
def test_alpha_may_have_another_format(tmp_path, dtype):
    drawn = factory.plain(factory.SPELLINGS["kohya"], factory.MODULES, 4, 8)
    tensors = {key: (dtype, value) if key.endswith("alpha") else value for key, value in drawn.tensors.items()}
    assert_changes(factory.write(tmp_path / "a.safetensors", tensors), drawn.expected)


def test_alpha_and_rank_may_differ_by_module(tmp_path):
    spelling = factory.SPELLINGS["kohya"]
    small = factory.plain(spelling, {"transformer_blocks.0.attn.to_q": (24, 24)}, 2, 1.0, seed=1)
    large = factory.plain(spelling, {"transformer_blocks.1.attn.to_q": (24, 24)}, 16, 4.0, seed=2)
    path = factory.write(tmp_path / "a.safetensors", {**small.tensors, **large.tensors})
    expected = {**small.expected, **large.expected}
    assert_changes(path, expected)
    facts = inspect_lora(path, TINY)
    assert (facts.rank, facts.alpha) == (16, None)
    # One rank in the dictionary for diffusers, with the same product.
    state = canonical_state_dict(path, TINY)
    assert {value.shape[0] for key, value in state.items() if "lora_A" in key} == {16}
    for module, want in expected.items():
        up, down = state[f"transformer.{module}.lora_B.weight"], state[f"transformer.{module}.lora_A.weight"]
        np.testing.assert_allclose(up @ down, want, atol=1e-5)


# --------------------------------------------------------------------------- strengths stated elsewhere


def peft_file(tmp_path, config, *, rank=4, name="adapter_model.safetensors", prefix="base_model.model."):
    drawn = factory.plain(factory.Spelling("peft", prefix), factory.MODULES, rank, None)
    path = factory.write(tmp_path / name, drawn.tensors)
    if config is not None:
        (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return path, drawn


@pytest.mark.parametrize(("config", "scale"), [
    ({"r": 4, "lora_alpha": 8}, 2.0),
    ({"r": 4, "lora_alpha": 64, "peft_type": "LORA"}, 16.0),
    ({"r": 4, "lora_alpha": 8, "use_rslora": True}, 4.0),
    ({"r": 4, "lora_alpha": 2, "use_rslora": False, "alpha_pattern": {}, "rank_pattern": {}}, 0.5),
    ({"r": 4}, 1.0),
    (None, 1.0),
])
def test_peft_record_beside_the_file(tmp_path, config, scale):
    path, drawn = peft_file(tmp_path, config)
    assert_changes(path, {name: scale * want for name, want in drawn.expected.items()})


def test_peft_patterns(tmp_path):
    path, drawn = peft_file(tmp_path, {
        "r": 4, "lora_alpha": 8, "alpha_pattern": {"attn.to_q": 1, "^transformer_blocks.1.attn.to_out.0": 4},
    })
    scales = dict.fromkeys(drawn.expected, 2.0)
    scales |= {name: 0.25 for name in scales if name.endswith("attn.to_q")}
    scales["transformer_blocks.1.attn.to_out.0"] = 1.0
    assert_changes(path, {name: scales[name] * want for name, want in drawn.expected.items()})


def test_peft_prefix_may_wrap_the_pipelines_own(tmp_path):
    path, drawn = peft_file(tmp_path, {"r": 4, "lora_alpha": 4}, prefix="base_model.model.transformer.")
    assert_changes(path, drawn.expected)


def test_a_sidecar_of_another_file_is_not_honoured(tmp_path):
    """In a folder of many LoRAs, adapter_config.json says nothing of a ComfyUI file."""
    (tmp_path / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 64}', encoding="utf-8")
    drawn = factory.plain(factory.SPELLINGS["comfy"], factory.MODULES, 4, None)
    assert_changes(factory.write(tmp_path / "other.safetensors", drawn.tensors), drawn.expected)


@pytest.mark.parametrize("prefix", ["transformer.", ""])
@pytest.mark.parametrize(("config", "scale"), [
    ({"r": 4, "lora_alpha": 2}, 0.5),
    ({"r": 4, "lora_alpha": 8, "use_rslora": True}, 4.0),
])
def test_record_in_the_header(tmp_path, prefix, config, scale):
    drawn = factory.plain(factory.SPELLINGS["diffusers"], factory.MODULES, 4, None)
    record = json.dumps({prefix + key: value for key, value in config.items()})
    path = factory.write(tmp_path / "a.safetensors", drawn.tensors, {"lora_adapter_metadata": record})
    assert_changes(path, {name: scale * want for name, want in drawn.expected.items()})
    assert any("lora_adapter_metadata" in note for note in inspect_lora(path, TINY).notes)


# --------------------------------------------------------------------------- the other algebras


@pytest.mark.parametrize("first", ["whole", "low rank"])
@pytest.mark.parametrize("second", ["whole", "low rank"])
@pytest.mark.parametrize("spelling", ["lycoris", "comfy"])
def test_lokr(tmp_path, first, second, spelling):
    rng = np.random.default_rng(5)
    spelled, rank, alpha = factory.SPELLINGS[spelling], 2, 6.0
    tensors, expected = {}, {}
    for module, (rows, columns) in factory.MODULES.items():
        stem = spelled.stem(module)
        factors = []
        for name, how, size in (("w1", first, (4, 2)), ("w2", second, (rows // 4, columns // 2))):
            if how == "whole":
                factors.append(factory.draw(rng, size))
                tensors[f"{stem}.lokr_{name}"] = factors[-1]
            else:
                left, right = factory.draw(rng, (size[0], rank)), factory.draw(rng, (rank, size[1]))
                tensors[f"{stem}.lokr_{name}_a"], tensors[f"{stem}.lokr_{name}_b"] = left, right
                factors.append(left @ right)
        tensors[f"{stem}.alpha"] = np.asarray(alpha)
        # LyCORIS: with both factors whole, alpha is stored but has no effect.
        scale = 1.0 if (first, second) == ("whole", "whole") else alpha / rank
        expected[module] = scale * factory.kron(*factors)
    path = factory.write(tmp_path / "a.safetensors", tensors)
    assert_changes(path, expected)
    report = check_static(None, path, TINY)
    for module, want in expected.items():
        assert report.rms[module] == pytest.approx(np.sqrt(np.mean(want**2)), rel=1e-6)
    assert {module.kind for module in inspect_lora(path, TINY).modules} == {"lokr"}


@pytest.mark.parametrize("alpha", [None, 1.0, 8.0])
def test_loha(tmp_path, alpha):
    rng = np.random.default_rng(6)
    spelled, rank = factory.SPELLINGS["lycoris"], 3
    tensors, expected = {}, {}
    for module, (rows, columns) in factory.MODULES.items():
        stem = spelled.stem(module)
        parts = {name: factory.draw(rng, (rows, rank) if name.endswith("a") else (rank, columns))
                 for name in ("w1_a", "w1_b", "w2_a", "w2_b")}
        tensors |= {f"{stem}.hada_{name}": value for name, value in parts.items()}
        if alpha is not None:
            tensors[f"{stem}.alpha"] = np.asarray(alpha)
        product = (parts["w1_a"] @ parts["w1_b"]) * (parts["w2_a"] @ parts["w2_b"])
        expected[module] = (1.0 if alpha is None else alpha / rank) * product
    path = factory.write(tmp_path / "a.safetensors", tensors)
    assert_changes(path, expected)
    report = check_static(None, path, TINY)
    for module, want in expected.items():
        assert report.rms[module] == pytest.approx(np.sqrt(np.mean(want**2)), rel=1e-6)


@pytest.mark.parametrize(("key", "shape", "axis"), [
    ("dora_scale", "rows x 1", 1), ("dora_scale", "1 x columns", 0), ("lora_magnitude_vector", "rows", 1),
    ("lora_magnitude_vector.weight", "rows", 1), ("lora_magnitude_vector.default.weight", "rows", 1),
])
def test_dora(tmp_path, key, shape, axis):
    rng = np.random.default_rng(7)
    spelled = factory.SPELLINGS["comfy with alpha"]
    drawn = factory.plain(spelled, factory.MODULES, 4, 2.0)
    weights, expected = {}, {}
    for module, (rows, columns) in factory.MODULES.items():
        magnitude = np.abs(factory.draw(rng, rows if axis else columns)) + 0.125
        stored = {"rows x 1": magnitude[:, None], "1 x columns": magnitude[None, :], "rows": magnitude}[shape]
        drawn.tensors[f"{spelled.stem(module)}.{key}"] = stored
        weights[module] = rng.normal(size=(rows, columns))
        expected[module] = factory.dora(weights[module], drawn.expected[module], magnitude, axis)
    path = factory.write(tmp_path / "a.safetensors", drawn.tensors)
    check_static(None, path, TINY)
    assert {module.kind for module in inspect_lora(path, TINY).modules} == {"dora"}
    with load_canonical(path, TINY) as lora:
        for module in lora:
            assert module.needs_weight
            assert module.factors() is None
            got = module.delta(weights[module.name])
            np.testing.assert_allclose(got, expected[module.name], atol=2e-6)
            with pytest.raises(ValueError, match="pristine weight"):
                module.delta()
            with pytest.raises(ValueError, match="pristine weight"):
                module.delta(np.zeros((3, 3)))


def test_weight_and_bias_differences(tmp_path):
    rng = np.random.default_rng(8)
    spelled = factory.SPELLINGS["comfy"]
    name, (rows, columns) = "transformer_blocks.0.attn.to_q", (24, 24)
    drawn = factory.plain(spelled, {"transformer_blocks.1.attn.to_q": (24, 24)}, 4, None)
    weight, bias, paired = factory.draw(rng, (rows, columns)), factory.draw(rng, rows), factory.draw(rng, rows)
    norm = factory.draw(rng, 12)
    path = factory.write(tmp_path / "a.safetensors", {
        f"diffusion_model.{name}.diff": weight, f"diffusion_model.{name}.diff_b": bias,
        "diffusion_model.transformer_blocks.1.attn.to_q.diff_b": paired,
        "diffusion_model.transformer_blocks.1.attn.norm_q.diff": norm, **drawn.tensors,
    })
    check_static(None, path, TINY)
    with load_canonical(path, TINY) as lora:
        np.testing.assert_array_equal(lora.get(name).delta(), weight)
        np.testing.assert_array_equal(lora.get(name, "bias").delta(), bias)
        np.testing.assert_array_equal(lora.get("transformer_blocks.1.attn.to_q", "bias").delta(), paired)
        np.testing.assert_array_equal(lora.get("transformer_blocks.1.attn.norm_q").delta(), norm)
        np.testing.assert_allclose(
            lora.get("transformer_blocks.1.attn.to_q").delta(), drawn.expected["transformer_blocks.1.attn.to_q"],
        )
        assert len(lora) == 5


def test_bias_of_lora_b_shares_the_strength(tmp_path):
    drawn = factory.plain(factory.SPELLINGS["diffusers with alpha"], {"img_in": (24, 16), "proj_out": (16, 24)}, 4, 2.0)
    bias = factory.draw(np.random.default_rng(9), 24)
    path = factory.write(tmp_path / "a.safetensors", {**drawn.tensors, "transformer.img_in.lora_B.bias": bias})
    with load_canonical(path, TINY) as lora:
        np.testing.assert_allclose(lora.get("img_in", "bias").delta(), 0.5 * bias)


# --------------------------------------------------------------------------- the true size


@pytest.mark.parametrize("name", factory.SPELLINGS)
def test_header_of_the_20b_size(tmp_path, name):
    """All 840 linear layers of the real model, at rank 16, header only."""
    spelling = factory.SPELLINGS[name]
    targets = factory.full_targets()
    path = factory.sparse(tmp_path / "big.safetensors", spelling, targets, 16)
    header = read_header(path)
    facts = inspect_header(header, "big.safetensors")
    assert facts.layout == spelling.layout
    assert {module.name: (module.out_features, module.in_features) for module in facts.modules} == targets
    assert facts.rank == 16
    assert facts.unmatched == ()
    assert facts.base.id == "Qwen/Qwen-Image"
    assert facts.base.confidence == pytest.approx(0.3)
    assert header.header_bytes < 600_000


def test_modules_come_in_the_models_order(tmp_path):
    names = [*factory.TOP, *factory.MODULES][::-1]
    drawn = factory.plain(factory.SPELLINGS["bare"], {n: {**factory.TOP, **factory.MODULES}[n] for n in names}, 2, None)
    path = factory.write(tmp_path / "a.safetensors", drawn.tensors)
    with load_canonical(path, TINY) as lora:
        order = [list(TINY.linears).index(module.name) for module in lora]
    assert order == sorted(order)
