"""Independent references: the real transformer class, diffusers' adapter, PEFT's merge, torch's own decoding."""

import json
import warnings

import numpy as np
import pytest

from lora import factory
from whichlora.lora import dtypes, keys
from whichlora.lora.delta import canonical_state_dict, load_canonical

torch = pytest.importorskip("torch")
TINY = keys.ModelShape.from_config(factory.TINY)


def tiny_model():
    from diffusers import QwenImageTransformer2DModel

    torch.manual_seed(0)
    return QwenImageTransformer2DModel(**factory.TINY).eval()


def forward(model):
    """One fixed forward: 2 × 2 image tokens, 5 text tokens."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model(
            hidden_states=torch.randn(1, 4, 16, generator=generator),
            encoder_hidden_states=torch.randn(1, 5, 20, generator=generator),
            encoder_hidden_states_mask=torch.ones(1, 5, dtype=torch.bool), timestep=torch.tensor([0.5]),
            img_shapes=[[(1, 2, 2)]], return_dict=False,
        )[0]


@pytest.mark.parametrize("name", ["diffusers", "comfy with alpha", "kohya", "lightning", "peft without record",
                                  "kohya-transformer", "diffsynth double", "bare down-up"])
def test_diffusers_own_adapter_gives_the_same_forward(tmp_path, name):
    modules = {**factory.MODULES, **factory.TOP}
    drawn = factory.plain(factory.SPELLINGS[name], modules, 4, 2.0)
    small = {key: value * 0.25 if "alpha" not in key else value for key, value in drawn.tensors.items()}
    path = factory.write(tmp_path / "a.safetensors", small)
    reference = tiny_model()
    base = forward(reference)
    state = {key: torch.from_numpy(value.copy()) for key, value in canonical_state_dict(path, TINY).items()}
    reference.load_lora_adapter(state, prefix="transformer")
    injected = {part for part, module in reference.named_modules() if hasattr(module, "lora_A")}
    assert injected == set(modules)
    merged = tiny_model()
    with load_canonical(path, TINY) as lora, torch.no_grad():
        for module in lora:
            merged.get_submodule(module.name).weight += torch.from_numpy(module.delta())
    wanted, got = forward(reference), forward(merged)
    assert float((wanted - base).abs().max()) > 1e-2
    assert float((got - wanted).abs().max()) <= 1e-5 * max(1.0, float(wanted.abs().max()))


def test_mixed_ranks_keep_their_own_strength_in_diffusers(tmp_path):
    spelling = factory.SPELLINGS["kohya"]
    first = factory.plain(spelling, {"transformer_blocks.0.attn.to_q": (24, 24)}, 2, 8.0, seed=1)
    second = factory.plain(spelling, {"transformer_blocks.1.attn.to_q": (24, 24)}, 6, 3.0, seed=2)
    path = factory.write(tmp_path / "a.safetensors", {**first.tensors, **second.tensors})
    model = tiny_model()
    before = {name: model.get_submodule(name).weight.detach().clone() for name in {**first.expected, **second.expected}}
    model.load_lora_adapter({k: torch.from_numpy(v.copy()) for k, v in canonical_state_dict(path, TINY).items()})
    model.fuse_lora()
    for name, want in {**first.expected, **second.expected}.items():
        change = (model.get_submodule(name).base_layer.weight - before[name]).detach().numpy()
        np.testing.assert_allclose(change, want, atol=1e-5)


class Block(torch.nn.Module):
    """Linear layers under the names of the transformer."""

    def __init__(self):
        super().__init__()
        self.img_in = torch.nn.Linear(16, 24)
        self.proj_out = torch.nn.Linear(24, 16)
        self.txt_in = torch.nn.Linear(20, 24)

    def forward(self, x):
        return self.proj_out(self.img_in(x))


def peft_configs():
    import peft

    names = ["img_in", "proj_out", "txt_in"]
    lora = {"target_modules": names, "lora_alpha": 6, "r": 3}
    return {
        "lora": peft.LoraConfig(**lora),
        "rslora": peft.LoraConfig(**lora, use_rslora=True),
        "patterns": peft.LoraConfig(**lora, rank_pattern={"img_in": 5}, alpha_pattern={"proj_out": 1}),
        "dora": peft.LoraConfig(**lora, use_dora=True),
        "bias of B": peft.LoraConfig(**lora, lora_bias=True),
        "loha": peft.LoHaConfig(target_modules=names, r=3, alpha=6, init_weights=False),
        "lokr": peft.LoKrConfig(target_modules=names, r=2, alpha=6, init_weights=False),
        "lokr whole": peft.LoKrConfig(target_modules=names, r=64, alpha=32, init_weights=False),
        "lokr both": peft.LoKrConfig(target_modules=names, r=1, alpha=3, init_weights=False, decompose_both=True),
    }


@pytest.mark.parametrize("name", ["lora", "rslora", "patterns", "dora", "bias of B", "loha", "lokr", "lokr whole",
                                  "lokr both"])
def test_pefts_own_merge_gives_the_same_weights(tmp_path, name):
    import peft

    torch.manual_seed(3)
    plain = Block()
    pristine = {key: value.detach().clone() for key, value in plain.state_dict().items()}
    wrapped = peft.get_peft_model(plain, peft_configs()[name])
    with torch.no_grad():
        for key, value in wrapped.named_parameters():
            if "lora_B" in key:
                value.copy_(torch.randn_like(value))
            elif "magnitude" in key:
                value.mul_(1 + 0.3 * torch.rand_like(value))
    wrapped.save_pretrained(tmp_path)
    if name in ("loha", "lokr", "lokr whole", "lokr both"):
        assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] in ("LOHA", "LOKR")
    merged = wrapped.merge_and_unload().state_dict()
    shape = keys.ModelShape(layers=1, width=24, head_size=12, text_width=20, in_channels=16, out_features=16)
    with load_canonical(tmp_path / "adapter_model.safetensors", shape) as lora:
        assert {module.name for module in lora} == {"img_in", "proj_out", "txt_in"}
        for module in lora:
            key = f"{module.name}.{module.parameter}"
            want = (merged[key] - pristine[key]).numpy()
            got = module.delta(pristine[key].numpy() if module.needs_weight else None)
            assert np.abs(want).max() > 0.01
            np.testing.assert_allclose(got, want, atol=3e-6 * max(1.0, np.abs(want).max()))


@pytest.mark.parametrize("change", [{}, {"num_layers": 1, "joint_attention_dim": 36, "out_channels": 3},
                                    {"attention_head_dim": 16, "axes_dims_rope": [4, 6, 6], "patch_size": 1}])
def test_equal_to_the_real_class(change):
    from diffusers import QwenImageTransformer2DModel
    from torch import nn

    model = QwenImageTransformer2DModel(**{**factory.TINY, **change})
    shape = keys.ModelShape.from_config(dict(model.config))
    linears = {name: tuple(part.weight.shape) for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    assert dict(shape.linears) == linears
    parameters = {name: tuple(value.shape) for name, value in model.named_parameters()}
    ours = {f"{name}.weight": size for name, size in shape.linears.items()}
    ours |= {f"{name}.bias": shape.bias_shape(name) for name in shape.linears}
    ours |= {f"{name}.weight": (size,) for name, size in shape.norms.items()}
    assert ours == parameters


def test_the_reference_library_reads_what_the_factory_wrote(tmp_path):
    """The tests' own writer is checked too."""
    from safetensors.torch import load_file

    drawn = factory.plain(factory.SPELLINGS["diffusers"], factory.MODULES, 4, None)
    for dtype in ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"):
        loaded = load_file(factory.write(tmp_path / f"{dtype}.safetensors", drawn.tensors, dtype=dtype))
        for key, want in drawn.tensors.items():
            np.testing.assert_array_equal(loaded[key].double().numpy(), want)


def test_every_code_of_the_small_formats_as_torch_reads_it():
    for name, kind in (("F8_E4M3", torch.float8_e4m3fn), ("F8_E5M2", torch.float8_e5m2)):
        raw = np.arange(256, dtype=np.uint8)
        want = torch.from_numpy(raw.copy()).view(kind).float().numpy()
        np.testing.assert_array_equal(dtypes.decode(raw, name), want)
        assert [dtypes.all_finite(raw[i : i + 1], name) for i in range(256)] == list(np.isfinite(want))
    raw = np.arange(65536, dtype=np.uint16)
    for name, kind in (("BF16", torch.bfloat16), ("F16", torch.float16)):
        want = torch.from_numpy(raw.view(np.int16).copy()).view(kind).float().numpy()
        stored = raw.view(dtypes.storage(name))
        np.testing.assert_array_equal(dtypes.decode(stored, name), want)
        assert [dtypes.all_finite(stored[i : i + 1], name) for i in range(65536)] == list(np.isfinite(want))
