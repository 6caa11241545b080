"""Recognising bases on disk: folders, shards, the Hub's cache, single files and GGUF; never a pickle."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from families import tiny
from families.tiny import candidate, use
from whichlora import registry
from whichlora.errors import MachineError, UserError
from whichlora.families._qwen import identity
from whichlora.run.admit import admit

FAMILY = registry.load("families", "qwen_image_edit")
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return tiny.build(tmp_path_factory.mktemp("built") / "base")


@pytest.fixture
def folder(built, tmp_path):
    return Path(shutil.copytree(built, tmp_path / "base"))


def identify(folder, **options):
    return FAMILY.identify(str(folder), options)


def velocity(base):
    from whichlora.families._qwen.probe import fixed_forward

    session = FAMILY.load(base, "cpu")
    return fixed_forward(session._parts, session._machinery().engine)


def shard(folder, part="transformer", stem="diffusion_pytorch_model"):
    """Split a part's weights over two files with an index, as large models are saved."""
    weights = load_file(folder / part / f"{stem}.safetensors")
    (folder / part / f"{stem}.safetensors").unlink()
    names = sorted(weights)
    halves = {f"{stem}-0000{i}-of-00002.safetensors": names[i - 1 :: 2] for i in (1, 2)}
    for file, keys in halves.items():
        save_file({key: weights[key] for key in keys}, folder / part / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: file for file, keys in halves.items() for key in keys}}
    (folder / part / f"{stem}.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return list(halves)


def test_identity_follows_content_and_not_place(folder, tmp_path):
    base = identify(folder)
    copy = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    assert identify(copy).fingerprint == base.fingerprint
    assert identify(copy).location != base.location
    assert base.id == "base"
    seen = {base.fingerprint}
    for part in ("transformer/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"):
        file = copy / f"{part}.safetensors"
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        seen.add(identify(copy).fingerprint)
    scheduler = copy / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("0.9", "0.8"), encoding="utf-8")
    seen.add(identify(copy).fingerprint)
    config = copy / "transformer" / "config.json"
    config.write_text(config.read_text().replace('"zero_cond_t": false', '"zero_cond_t": true'), encoding="utf-8")
    seen.add(identify(copy).fingerprint)
    assert len(seen) == 6
    config.write_text(config.read_text().replace("_diffusers_version", "_other"), encoding="utf-8")
    assert identify(copy).fingerprint in seen


def test_weights_that_changed_after_the_plan_are_not_loaded(folder):
    base = identify(folder)
    file = folder / WEIGHTS
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match="changed since"):
        FAMILY.load(base, "cpu")


def test_large_files_are_known_by_header_size_and_chunks_or_by_the_hubs_name(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "SMALL_BYTES", 1000)
    monkeypatch.setattr(identity, "CHUNK_BYTES", 256)
    data = np.random.default_rng(0).integers(0, 256, 20000, dtype=np.uint8)
    one = tmp_path / "one.safetensors"
    one.write_bytes(data.tobytes())
    known = identity.weight_identity(one)
    assert known[0] == "sampled"
    for place in (0, 100, 10_000 // 256 * 256, 19_999):
        data[place] ^= 1
    one.write_bytes(data.tobytes())
    assert identity.weight_identity(one) != known
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    blob = blobs / ("ab" * 32)
    blob.write_bytes(data.tobytes())
    link = tmp_path / "model.safetensors"
    link.symlink_to(blob)
    assert identity.weight_identity(link) == ["sha256", "ab" * 32]


def test_shards_make_the_same_model(folder):
    whole = velocity(identify(folder))
    shards = shard(folder)
    shard(folder, "text_encoder", "model")
    base = identify(folder)
    torch.testing.assert_close(velocity(base), whole, atol=0, rtol=0)
    session = FAMILY.load(base, "cpu")
    session.encode_prompt("x", [tiny.picture(0)], tiny.SAMPLER)
    (folder / "transformer" / shards[0]).unlink()
    with pytest.raises(UserError, match=shards[0]):
        identify(folder)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model."])
def test_a_comfyui_single_file_makes_the_same_model(folder, tmp_path, prefix):
    whole = velocity(identify(folder))
    weights = load_file(folder / WEIGHTS)
    single = tmp_path / "single.safetensors"
    save_file({prefix + key: value for key, value in weights.items()}, single)
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match="lacks transformer/"):
        identify(folder)
    base = identify(folder, transformer_file=str(single))
    torch.testing.assert_close(velocity(base), whole, atol=0, rtol=0)
    assert FAMILY.identify(base.location, dict(base.options)) == base
    moved = tmp_path / "moved.safetensors"
    single.rename(moved)
    again = identify(folder, transformer_file=str(moved))
    assert (again.fingerprint, again.options) == (base.fingerprint, base.options)


def test_a_single_file_must_fill_the_model_exactly(folder, tmp_path):
    weights = load_file(folder / WEIGHTS)
    first = sorted(weights)[5]
    spoilt = {
        "lacks 1 weights": {key: value for key, value in weights.items() if key != first},
        "1 unknown weights": {**weights, "controlnet.weight": torch.ones(3)},
        "scaled fp8": {**weights, "scaled_fp8": torch.ones(1)},
        "shape": {**weights, first: torch.ones(3, 5)},
    }
    for message, tensors in spoilt.items():
        single = tmp_path / "spoilt.safetensors"
        save_file(tensors, single)
        session = FAMILY.load(identify(folder, transformer_file=str(single)), "cpu")
        with pytest.raises(UserError, match=message):
            session.switch(candidate())


def gguf_file(folder, path):
    """Write the transformer as GGUF: block matrices in Q8_0, everything else in F32."""
    import gguf

    writer = gguf.GGUFWriter(path, "qwen_image")
    for key, value in load_file(folder / WEIGHTS).items():
        array = value.float().numpy()
        if array.ndim == 2 and "transformer_blocks" in key and array.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(key, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(key, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_transformer_takes_loras_as_exact_branches(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny, "WIDTH", 64)
    folder = tiny.build(tmp_path / "base")
    base = identify(folder, transformer_file=str(gguf_file(folder, tmp_path / "q8.gguf")))
    plain = velocity(identify(folder))
    near = float((velocity(base) - plain).norm() / plain.norm())
    assert 0 < near < 0.1, near
    session = FAMILY.load(base, "cpu")
    assert session.weight_dtype() == "quantised"
    pristine = session.weights_hash()
    drawn = tiny.lora_tensors(1)
    row = candidate(use(tiny.save_lora(tmp_path / "a.safetensors", drawn), 0.8))
    report = admit(session, row)
    assert report.precision == "quantised"
    assert report.modules == len(drawn)
    module = "transformer_blocks.1.attn.to_q"
    up, down = drawn[module]
    np.testing.assert_allclose(session.weights(module) - session.pristine(module), 0.8 * (up @ down), atol=1e-5)
    layer = session._parts.transformer.get_submodule(module)
    x = torch.randn(3, 64)
    with torch.no_grad():
        with_branch = layer(x)
        session.switch(candidate())
        without = layer(x)
    torch.testing.assert_close(with_branch - without, x @ torch.from_numpy(0.8 * (up @ down)).T, atol=1e-4, rtol=1e-4)
    assert session.weights_hash() == pristine


def test_the_hubs_cache_is_read_without_a_network(folder, tmp_path, monkeypatch):
    import huggingface_hub.constants as constants

    cache = tmp_path / "hub"
    repo = cache / "models--Acme--Tiny-Edit"
    snapshot = repo / "snapshots" / ("0" * 40)
    shutil.copytree(folder, snapshot)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    base = FAMILY.identify("Acme/Tiny-Edit", {})
    assert base.id == "Acme/Tiny-Edit"
    assert base.fingerprint == identify(folder).fingerprint
    assert FAMILY.identify(base.location, {}).id == "Acme/Tiny-Edit"
    with pytest.raises(UserError, match="whichlora fetch Acme/Other"):
        FAMILY.identify("Acme/Other", {})


def test_what_is_missing_is_named(folder):
    for part in ("processor", "vae/config.json", "text_encoder/model.safetensors", "scheduler/scheduler_config.json",
                 "model_index.json", "transformer/config.json"):
        place = folder / part
        kept = folder.parent / "kept"
        place.rename(kept)
        with pytest.raises(UserError, match=part.split("/")[0]):
            identify(folder)
        kept.rename(place)
    identify(folder)
    for nothing in (folder / "nowhere", folder / WEIGHTS):
        with pytest.raises(UserError):
            identify(nothing)


def test_pickles_and_damage_are_refused(folder, tmp_path):
    file = folder / WEIGHTS
    pickled = file.with_suffix(".bin")
    file.rename(pickled)
    with pytest.raises(UserError, match="pickle"):
        identify(folder)
    with pytest.raises(UserError, match="pickle"):
        identify(folder, transformer_file=str(tmp_path / "model.ckpt"))
    pickled.rename(file)
    whole = file.read_bytes()
    for damaged, message in ((whole[:-10], "promises"), (b"PK\x03\x04" + whole, "safetensors"), (b"", "safetensors")):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=message):
            identify(folder)
    disguised = tmp_path / "page.gguf"
    disguised.write_text("<html>")
    file.write_bytes(whole)
    with pytest.raises(UserError, match="GGUF"):
        identify(folder, transformer_file=str(disguised))


def test_a_shard_outside_its_folder_is_refused(folder):
    shard(folder)
    index = folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    data = json.loads(index.read_text())
    data["weight_map"] = dict.fromkeys(data["weight_map"], "../../outside.safetensors")
    index.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(UserError, match="outside"):
        identify(folder)


def test_another_kind_of_model_is_refused(folder):
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("QwenImageEditPlusPipeline", "FluxPipeline"), encoding="utf-8")
    with pytest.raises(UserError, match="FluxPipeline"):
        identify(folder)


def test_options_are_checked_and_hints_are_read(folder):
    for options, message in (({"dtype": "int3"}, "int3"), ({"postions": "true"}, "postions")):
        with pytest.raises(UserError, match=message):
            FAMILY.identify(str(folder), options)
    base = identify(folder)
    assert FAMILY.default_sampler(base).num_inference_steps == 40
    assert FAMILY.default_sampler(base).reference_area_px == 1024 * 1024
    hints = folder / "whichlora.json"
    hints.write_text(json.dumps({"id": "tiny", "sampler": {"num_inference_steps": 8, "reference_area_px": 16384}}))
    assert identify(folder) == replace(base, id="tiny")
    assert FAMILY.default_sampler(base).num_inference_steps == 8
    hints.write_text(json.dumps({"sampler": {"steps": 8}}))
    with pytest.raises(UserError, match="steps"):
        FAMILY.default_sampler(base)


def test_a_device_that_is_not_there_is_named(folder):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(MachineError, match="cuda"):
        FAMILY.load(identify(folder), "cuda")


def test_a_foreign_tokenizer_is_refused(folder):
    """Cutting 64 tokens off another tokenizer's prompt would cut into the instruction."""
    tokenizer = json.loads((folder / "processor" / "tokenizer.json").read_text())
    merges = tokenizer["model"]["merges"]
    tokenizer["model"]["merges"] = merges[: len(merges) // 2]
    (folder / "processor" / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    session = FAMILY.load(identify(folder), "cpu")
    with pytest.raises(UserError, match="tokens of the system prompt"):
        session.encode_prompt("x", [tiny.picture(0)], tiny.SAMPLER)


def test_identifying_needs_no_torch(built):
    import subprocess
    import sys

    code = (
        "import sys\nfrom whichlora import registry\nf = registry.load('families', 'qwen_image_edit')\n"
        f"f.default_sampler(f.identify({str(built)!r}, {{}}))\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
