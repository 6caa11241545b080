"""Every broken or hostile file is refused with a fitting reason, in little memory, and never by a crash."""

import tracemalloc

import numpy as np
import pytest

from lora import factory, sabotage
from whichlora.errors import RefusedError
from whichlora.lora import keys
from whichlora.lora.delta import canonical_state_dict, load_canonical
from whichlora.lora.inspect import inspect_lora
from whichlora.lora.static import check_static

TINY = keys.ModelShape.from_config(factory.TINY)
TRUE_SIZE = ("FLUX.1 that could be Qwen", "a LoRA of the true size, all zero")
PEAK_BYTES = 256 * 2**20


def test_there_are_enough():
    assert len(sabotage.CASES) >= 60


@pytest.mark.parametrize("name", sabotage.CASES)
def test_refused_with_a_reason(tmp_path, name):
    word, build = sabotage.CASES[name]
    path = build(tmp_path)
    shape = None if name in TRUE_SIZE else TINY
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError, match=word) as caught:
            check_static(None, path, shape)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < PEAK_BYTES
    reason = caught.value.reason
    assert reason.endswith((".", ")")) or len(reason) > 20
    assert reason.isprintable()
    assert len(reason) < 500


@pytest.mark.parametrize("name", sabotage.CASES)
def test_never_a_crash_elsewhere(tmp_path, name):
    """Inspection may describe a bad file and loading may refuse it; neither may fall over."""
    path = sabotage.CASES[name][1](tmp_path)
    try:
        facts = inspect_lora(path, TINY)
    except RefusedError:
        return
    assert facts.layout
    try:
        with load_canonical(path, TINY) as lora:
            assert len(lora) == len(facts.modules)
    except RefusedError:
        assert facts.modules is not None  # described, yet refused


@pytest.mark.parametrize("spelling", ["diffusers", "comfy", "onetrainer", "kohya", "peft without record"])
def test_the_unspoilt_files_pass(tmp_path, spelling):
    path = factory.write(tmp_path / "good.safetensors", sabotage.sound(spelling))
    report = check_static(None, path, TINY)
    assert report.modules == len(factory.MODULES)
    assert report.zero_modules == ()
    assert check_static(None, path).shape.width == 24


def test_a_module_without_gradient_is_not_refused(tmp_path):
    """The last block's text branch never reaches the picture, so sound training leaves it at zero."""
    tensors = sabotage.times("blocks.1.attn.to_add_out.lora_B", 0.0)(sabotage.sound())
    path = factory.write(tmp_path / "a.safetensors", tensors)
    assert check_static(None, path, TINY).zero_modules == ("transformer_blocks.1.attn.to_add_out",)


def test_a_sound_dora_passes(tmp_path):
    tensors = sabotage.sound()
    for module, (rows, _) in factory.MODULES.items():
        tensors[f"transformer.{module}.lora_magnitude_vector"] = np.ones(rows)
    check_static(None, factory.write(tmp_path / "a.safetensors", tensors, metadata=sabotage.RECORD), TINY)


def test_other_algebras_have_no_plain_dictionary(tmp_path):
    path = factory.write(tmp_path / "a.safetensors", {"transformer.img_in.diff": np.ones((24, 16))})
    with pytest.raises(RefusedError, match="diff"):
        canonical_state_dict(path, TINY)


def test_a_change_that_overflows_is_refused_where_it_is_computed(tmp_path):
    path = sabotage.CASES["values times 1e38"][1](tmp_path)
    tensors = sabotage.times("lora_A", 1e30)(sabotage.times("lora_B", 1e30)(sabotage.sound()))
    path = factory.write(tmp_path / "b.safetensors", tensors)
    with load_canonical(path, TINY) as lora, pytest.raises(RefusedError, match="finite"):
        lora.modules[0].delta()


def test_a_true_sized_file_is_checked_in_little_memory(tmp_path):
    """Rank 64 on one block of the real width: 30 MB of matrices."""
    rng = np.random.default_rng(0)
    targets = factory.full_targets(1)
    tensors = {}
    for module, (rows, columns) in targets.items():
        tensors[f"transformer.{module}.lora_A.weight"] = rng.normal(size=(64, columns)).astype(np.float32) * 0.02
        tensors[f"transformer.{module}.lora_B.weight"] = rng.normal(size=(rows, 64)).astype(np.float32) * 0.01
    path = factory.write(tmp_path / "a.safetensors", tensors, {"modelspec.architecture": "Qwen-Image-Edit-Plus/lora"})
    tracemalloc.start()
    report = check_static(None, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20
    assert report.shape == keys.QWEN_IMAGE_20B
    name = "transformer_blocks.0.attn.to_q"
    product = tensors[f"transformer.{name}.lora_B.weight"] @ tensors[f"transformer.{name}.lora_A.weight"]
    assert report.rms[name] == pytest.approx(float(np.sqrt(np.mean(product.astype(np.float64) ** 2))), rel=1e-4)
