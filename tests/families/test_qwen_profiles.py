"""Profiles that change pictures: fp8 and nf4 after merging, near-lossless speed-ups, options, rehearsals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from families import tiny
from families.engines import answers, calls, model, relative
from whichlora import registry
from whichlora.errors import MachineError, RefusedError, UserError
from whichlora.families._qwen import attention8, linear, profiles, shortcuts
from whichlora.families._qwen.calls import PlainEngine
from whichlora.families._qwen.engine import FastEngine
from whichlora.families._qwen.places import find_places, weight_bytes
from whichlora.families._qwen.quantised import QuantisedStore
from whichlora.families._qwen.shortcuts import Shortcuts
from whichlora.families._qwen.true_size import write_base
from whichlora.families._qwen.weights import ResidentStore
from whichlora.lora.keys import QWEN_IMAGE_20B
from whichlora.types import EditCase, cell_id

FAMILY = registry.load("families", "qwen_image_edit")


# --------------------------------------------------------------------------- number formats


def test_fp8_rounds_each_row_to_the_nearest_of_its_own_scale():
    torch.manual_seed(1)
    weight = torch.randn(24, 64) * torch.logspace(-3, 3, 24)[:, None]
    packed = linear.to_fp8(weight, torch.zeros(24))
    values = packed.weight.float() * packed.scale
    assert float(((values - weight).norm(dim=1) / weight.norm(dim=1)).max()) < 0.04, "every row, however small"
    assert float((values.abs().amax(1) / weight.abs().amax(1) - 1).abs().max()) < 1e-6
    x = torch.randn(1, 5, 64)
    found = linear.linear(x, packed)
    wanted = functional.linear(x, weight)
    assert 0.001 < float((found - wanted).norm() / wanted.norm()) < 0.06
    # the reference multiplies exactly the rounded numbers
    rounded, scale = linear._rounded(x[0])
    exact = (rounded.double() * scale.double()) @ (packed.weight.double() * packed.scale.double()).T
    torch.testing.assert_close(found[0].double(), exact, rtol=1e-5, atol=1e-5 * float(exact.abs().max()))
    assert torch.isfinite(linear.linear(torch.zeros(1, 2, 64), packed)).all()


def test_nf4_takes_the_nearest_of_sixteen_steps():
    torch.manual_seed(2)
    weight = torch.randn(8, 128)
    packed = linear.to_nf4(weight, torch.zeros(8))
    assert packed.packed.numel() == weight.numel() // 2
    values = linear.nf4_values(packed)
    steps = np.array(linear.NF4_STEPS)
    blocks = weight.numpy().reshape(8, 2, 64)
    scale = np.abs(blocks).max(-1, keepdims=True)
    nearest = steps[np.abs(blocks[..., None] / scale[..., None] - steps).argmin(-1)] * scale
    np.testing.assert_allclose(values.numpy(), nearest.reshape(8, 128), atol=1e-6)
    with pytest.raises(ValueError, match="64"):
        linear.to_nf4(torch.randn(4, 48), torch.zeros(4))


# --------------------------------------------------------------------------- quantised stores


def wide_model(dtype=torch.bfloat16):
    """Rows of a multiple of 64 values, which nf4 needs."""
    from diffusers import QwenImageTransformer2DModel

    torch.manual_seed(4)
    made = QwenImageTransformer2DModel(
        patch_size=2, in_channels=64, out_channels=16, num_layers=2, attention_head_dim=32, num_attention_heads=4,
        joint_attention_dim=64, axes_dims_rope=(8, 12, 12),
    ).eval().requires_grad_(False)
    return made.to(dtype)


@pytest.mark.parametrize("kind", ["fp8", "nf4"])
@pytest.mark.parametrize("copied", [True, False])
def test_quantised_after_merging_and_restored(kind, copied):
    """Working weights of few bits are those of base + change, made from bf16; the base comes back bit for bit."""
    from whichlora.families._qwen.changes import Change
    from whichlora.families._qwen.patches import merge

    made = wide_model()
    exact = answers(PlainEngine(made), calls(1, torch.bfloat16), torch.bfloat16)
    store = QuantisedStore(made, "cpu", kind, copy=copied)
    engine = FastEngine(made, store, compiled=False)
    base = answers(engine, calls(1, torch.bfloat16), torch.bfloat16)
    assert 0.002 < relative(base, exact) < (0.1 if kind == "fp8" else 0.3)
    name = "transformer_blocks.1.attn.to_v.weight"
    generator = torch.Generator().manual_seed(1)
    change = Change(0.7, torch.randn(128, 4, generator=generator), torch.randn(4, 128, generator=generator))
    store.begin()
    pristine = store.base(name)
    wanted = merge(pristine, (change,))
    assert store.put(name, wanted, (change,))
    store.settle()
    rows = slice(256, 384)
    stacked = store._blocks[1].img_qkv
    by_hand = (linear.to_fp8 if kind == "fp8" else linear.to_nf4)(wanted, torch.zeros(128))
    assert torch.equal(stacked[0][rows].view(torch.uint8), by_hand[0].view(torch.uint8))
    assert torch.equal(store.working(name), wanted)
    engine.invalidate()
    assert relative(answers(engine, calls(1, torch.bfloat16), torch.bfloat16), base) > 1e-3
    store.begin()
    store.restore([name])
    store.settle()
    engine.invalidate()
    again = answers(engine, calls(1, torch.bfloat16), torch.bfloat16)
    assert all(torch.equal(a, b) for a, b in zip(again, base, strict=True))
    assert (store.facts()["host_bytes"] > 0) == copied
    kept = store._blocks[0].img_down
    assert isinstance(kept, linear.Dense) == (kind == "fp8"), "fp8 keeps the second image matrix in bf16"


# --------------------------------------------------------------------------- near-lossless


def test_everything_off_is_exact_and_leaves_the_options_alone():
    assert shortcuts.from_options({}) == shortcuts.NONE
    assert shortcuts.to_options(shortcuts.NONE) == {}
    for on in (Shortcuts(0.0, 0.6), Shortcuts(block_every=2), Shortcuts(reference_every=3),
               Shortcuts(attention_8bit=True), Shortcuts(0.1, 0.9, 2, 2, attention_8bit=True)):
        assert shortcuts.from_options(shortcuts.to_options(on)) == on
        assert on.text() != "none"


@pytest.mark.parametrize(("options", "message"), [
    ({"cfg_interval": [0.5, 0.2]}, "cfg_interval"), ({"cfg_interval": 0.5}, "cfg_interval"),
    ({"block_cache": 0}, "block_cache"), ({"block_cache": True}, "block_cache"),
    ({"reference_cache": 9}, "reference_cache"), ({"attention_8bit": 1}, "attention_8bit"),
    ({"profile": "int3"}, "profile"), ({"profile": "fp8", "dtype": "float32"}, "bfloat16"),
])
def test_wrong_options_are_refused(options, message, tmp_path):
    from whichlora.families._qwen.session import check_options

    with pytest.raises(UserError, match=message):
        check_options(options)


def test_the_stated_schedule_is_what_runs():
    on = Shortcuts(0.25, 0.75, block_every=3, reference_every=2)
    assert [on.guided(step, 8) for step in range(8)] == [False, False, True, True, True, True, False, False]
    skipped = [bool(on.skipped_blocks(8, step, 12)) for step in range(12)]
    assert skipped == [False] * 4 + [True, True, False, True, True, False, True, False]
    assert list(on.skipped_blocks(8, 4, 12)) == [2, 3, 4, 5]
    assert [on.computes_references(step, 6) for step in range(6)] == [True, False, True, False, True, True]
    assert not Shortcuts(block_every=3).skipped_blocks(4, 4, 12), "a model of four blocks has no middle"


def long_answers(made, shortcut):
    engine = FastEngine(made, ResidentStore(made, "cpu", fuse=True), compiled=False, shortcuts=shortcut)
    levels = torch.linspace(1.0, 0.5, 8)
    with torch.inference_mode():
        engine.begin(levels)
        return [engine.forward(calls(2), step)[0] for step in range(8)]


@pytest.mark.parametrize("zero_cond_t", [False, True])
@pytest.mark.parametrize("shortcut", [Shortcuts(block_every=2), Shortcuts(reference_every=2),
                                      Shortcuts(block_every=2, reference_every=3)])
def test_a_cache_is_exact_on_whole_steps_and_close_between(zero_cond_t, shortcut):
    """The latents stay the same here, only the noise level moves; so what is kept is nearly right."""
    made = model(zero_cond_t, layers=6)
    whole, cached = long_answers(made, shortcuts.NONE), long_answers(made, shortcut)
    error = [relative([a], [b]) for a, b in zip(cached, whole, strict=True)]
    assert error[0] < 1e-5
    assert error[-1] < 1e-5, "the last step is whole"
    assert max(error) < 0.25
    assert sum(each > 1e-6 for each in error) >= 2, "something was left out"


def test_reused_references_attend_as_before():
    """With the same noise level twice, keys and values of before are those of now: no error at all."""
    made = model()
    engine = FastEngine(made, ResidentStore(made, "cpu", fuse=True), compiled=False,
                        shortcuts=Shortcuts(reference_every=2))
    with torch.inference_mode():
        engine.begin(torch.tensor([0.6, 0.6, 0.6]))
        first, second = (torch.cat([each.flatten() for each in engine.forward(calls(3), step)]) for step in (0, 1))
    assert relative([second], [first]) < 1e-5


def test_8_bit_attention_is_near_and_indifferent_to_a_shift_of_all_keys():
    torch.manual_seed(5)
    query, key, value = (torch.randn(1, 2, 40, 16) for _ in range(3))
    exact = functional.scaled_dot_product_attention(query, key, value)
    found = attention8.attention_8bit(query, key, value)
    assert 1e-5 < float((found - exact).norm() / exact.norm()) < 0.02
    shifted = attention8.attention_8bit(query, key + 100.0, value)
    assert float((shifted - found).norm() / found.norm()) < 1e-3


# --------------------------------------------------------------------------- identity of cells


def test_an_exact_profile_is_no_part_of_a_cell_and_another_is(tmp_path):
    folder = tiny.build(tmp_path / "base")
    plain = FAMILY.identify(str(folder), {})
    assert dict(plain.options) == {"dtype": "auto", "text_positions": "true", "one_frame_vae": True}
    case = EditCase("a/b", "a", "b", "camera", "turn", {})

    def cell(options):
        return cell_id(FAMILY.identify(str(folder), options), tiny.candidate(), case, ("0" * 64,), 1, {})

    assert cell({}) == cell({"profile": "auto"}) == cell({"profile": "bf16-streamed"}) == cell({"block_cache": 1})
    others = [cell(options) for options in ({"profile": "fp8"}, {"profile": "nf4"}, {"block_cache": 2},
                                            {"reference_cache": 2}, {"cfg_interval": [0, 0.5]},
                                            {"attention_8bit": True})]
    assert len({cell({}), *others}) == 7
    assert set(FAMILY.memory_profiles) >= {"bf16", "bf16-streamed", "fp8", "nf4"}


# --------------------------------------------------------------------------- choosing


def test_weights_of_the_true_size_and_where_they_fit():
    inside, outside = profiles.transformer_bytes(QWEN_IMAGE_20B, 2)
    assert inside + outside == 20_430_401_088 * 2
    need, asked = inside + outside, profiles.Settings()
    assert profiles.holding(asked, need, 79 * profiles.GIB) == "resident"
    assert profiles.holding(asked, need, 24 * profiles.GIB) == "streamed"
    assert profiles.holding(replace(asked, hold="streamed"), need, 79 * profiles.GIB) == "streamed"
    assert "profile: fp8" in profiles.too_small("bf16-streamed", "x").fix
    assert profiles.next_profile("nf4") is None


@pytest.mark.parametrize(("name", "value"), [
    ("WHICHLORA_VRAM_GIB", "lots"), ("WHICHLORA_VRAM_GIB", "-3"), ("WHICHLORA_HOLD", "half"), ("WHICHLORA_ENGINE", "x"),
])
def test_wrong_environment_is_the_users_error(name, value):
    with pytest.raises(UserError, match=name):
        profiles.from_environment({}, {name: value})


def test_environment_is_read():
    found = profiles.from_environment({"profile": "fp8"}, {"WHICHLORA_VRAM_GIB": "23.5", "WHICHLORA_COMPILE": "off"})
    assert found.vram_bytes == int(23.5 * profiles.GIB)
    assert (found.profile, found.compile, found.hold) == ("fp8", False, "auto")


# --------------------------------------------------------------------------- random weights and rehearsal


def test_a_base_of_random_weights_needs_no_weight_file(tmp_path):
    folder = write_base(tmp_path / "base", toy=True)
    (folder / "processor").mkdir()
    (folder / "processor" / "preprocessor_config.json").write_text("{}", encoding="utf-8")
    base = FAMILY.identify(str(folder), {})
    places = find_places(base.location)
    assert places.random_weights
    assert places.weights == {}
    assert weight_bytes(places) > 1e6
    hints = json.loads((folder / "whichlora.json").read_text(encoding="utf-8"))
    (folder / "whichlora.json").write_text(json.dumps({**hints, "random_weights": False}), encoding="utf-8")
    with pytest.raises(UserError, match="lacks"):
        FAMILY.identify(str(folder), {})
    true = write_base(tmp_path / "true", toy=False)
    from whichlora.families._qwen.files import shape_of

    assert shape_of(str(true)) == QWEN_IMAGE_20B


def test_random_weights_are_the_same_however_the_model_is_held(tmp_path):
    from whichlora.families._qwen.rehearsal import open_rehearsal

    hashes = []
    for hold in ("resident", "streamed"):
        session = open_rehearsal(tmp_path / hold, "cpu", "exact", toy=True)
        session._settings = replace(session._settings, engine="fast", hold=hold, budget_bytes=10**6 * 5)
        hashes.append(session.weights_hash())
        assert session.engine_facts()["streamed_blocks"] == (0 if hold == "resident" else 5)
    assert hashes[0] == hashes[1]


def test_a_rehearsal_says_what_a_step_costs():
    found = FAMILY.rehearse("cpu", toy=True)
    assert found.profile == "bf16"
    assert found.toy
    assert found.seconds_per_image > found.seconds_per_step >= 0
    assert found.peak_bytes > 10**7
    assert found.failed == ()
    with pytest.raises(MachineError, match="No memory profile works"):
        FAMILY.rehearse("cuda:99", toy=True, profile="fp8")


def test_nan_is_refused_by_every_engine(tmp_path):
    from whichlora.families._qwen.rehearsal import example_job, open_rehearsal
    from whichlora.families._qwen.true_size import sampler_of

    session = open_rehearsal(tmp_path / "base", "cpu", "fp8", toy=True)
    job = example_job(session, toy=True)
    session._machinery()
    with torch.no_grad():
        session._parts.transformer.proj_out.weight.fill_(float("nan"))
    with pytest.raises(RefusedError, match="not finite"):
        session.denoise_together([job], sampler_of(toy=True, steps=2))
