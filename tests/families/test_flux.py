"""FLUX.1 Kontext and FLUX.2 klein: the stock pipelines' pictures, exact switching, and refusal of what does not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from families import tiny, tinyflux
from whichlora import registry
from whichlora.errors import RefusedError, UserError
from whichlora.families._flux.loras import open_changes
from whichlora.families._flux.places import linear_shapes
from whichlora.run.admit import admit_all
from whichlora.types import AdapterUse, Candidate, SamplerProfile

NAMES = ("flux_kontext", "flux2")
KONTEXT_SAMPLER = SamplerProfile(name="t", num_inference_steps=3, true_cfg_scale=1.0, negative_prompt="",
                                 reference_area_px=64 * 64)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("flux")
    (root / "k").mkdir()
    (root / "f").mkdir()
    return {"flux_kontext": tinyflux.kontext(root / "k"), "flux2": tinyflux.klein(root / "f")}


def options(name):
    short = {"max_sequence_length": 48}
    return {**short, "guidance_scale": 3.0} if name == "flux_kontext" else short


def opened(name, folder, **more):
    family = registry.load("families", name)
    base = family.identify(str(folder), {**options(name), **more})
    return family, base, family.load(base, "cpu")


def ours(session, pictures, prompt, sampler, seed):
    text = session.encode_prompt(prompt, pictures, sampler)
    against = session.encode_prompt(sampler.negative_prompt, pictures, sampler) if sampler.true_cfg_scale > 1 else None
    images = [session.encode_image(picture, sampler) for picture in pictures]
    return session.decode(session.denoise(text, against, images, sampler, seed))


def stock(name, folder, pictures, prompt, sampler, seed, size):
    from diffusers import Flux2KleinPipeline, FluxKontextPipeline

    shown = [Image.fromarray(picture) for picture in pictures]
    common = {"prompt": prompt, "num_inference_steps": sampler.num_inference_steps, "height": size[0],
              "width": size[1], "generator": torch.Generator("cpu").manual_seed(seed), "max_sequence_length": 48}
    if name == "flux_kontext":
        pipe = FluxKontextPipeline.from_pretrained(folder)
        pipe.set_progress_bar_config(disable=True)
        negative = {"negative_prompt": sampler.negative_prompt} if sampler.true_cfg_scale > 1 else {}
        return np.asarray(pipe(image=shown[0].resize((size[1], size[0]), Image.Resampling.LANCZOS), guidance_scale=3.0,
                               true_cfg_scale=sampler.true_cfg_scale, max_area=size[0] * size[1], _auto_resize=False,
                               **negative, **common).images[0])
    pipe = Flux2KleinPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return np.asarray(pipe(image=shown, guidance_scale=sampler.true_cfg_scale, **common).images[0])


def largest(a, b):
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize(("name", "count"), [("flux_kontext", 1), ("flux2", 1), ("flux2", 2)])
def test_same_picture_as_the_stock_pipeline(folders, name, count, guidance):
    sampler = replace(KONTEXT_SAMPLER, true_cfg_scale=guidance, reference_area_px=96 * 96)
    pictures = [tiny.picture(seed, *size) for seed, size in ((1, (96, 96)), (2, (64, 72)))][:count]
    _, _, session = opened(name, folders[name])
    found = ours(session, pictures, "turn left 在海滩上", sampler, 7)
    assert found.shape[:2] == session.output_size(pictures[0], sampler)
    assert found.std() > 3, "a flat picture would prove nothing"
    wanted = stock(name, folders[name], pictures, "turn left 在海滩上", sampler, 7, found.shape[:2])
    assert largest(found, wanted) <= 1
    assert largest(found, ours(session, pictures, "turn left 在海滩上", sampler, 8)) > 5
    assert largest(found, ours(session, pictures, "smile", sampler, 7)) > 0, "the instruction must reach the picture"


def drawn(name, folder, seed=1, size=0.5):
    shapes = linear_shapes(str(folder))
    modules = [module for module in shapes if module.endswith(("attn.to_q", "attn.to_out.0", "attn.to_out"))]
    assert len(modules) >= 4
    return tinyflux.pairs(seed, {module: shapes[module] for module in modules}, size=size)


def use(path, weight=1.0):
    return AdapterUse(path.stem, str(path), tiny.use(path).sha256, weight)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_the_gate_admits_what_fits_and_switching_leaves_no_trace(folders, tmp_path, name, dtype):
    family, base, session = opened(name, folders[name], dtype=dtype)
    a = tinyflux.save(tmp_path / "a.safetensors", drawn(name, folders[name], 1), alpha=2.0)
    b = tinyflux.save(tmp_path / "b.safetensors", drawn(name, folders[name], 2), prefix="diffusion_model.")
    zero = tinyflux.save(tmp_path / "z.safetensors", drawn(name, folders[name], 3, size=0.0))
    qwen = tiny.save_lora(tmp_path / "q.safetensors", tiny.lora_tensors(1))
    for path in (a, b):
        family.check_file(base, path)
    with pytest.raises(RefusedError, match="zero"):
        family.check_file(base, zero)
    with pytest.raises(RefusedError, match=r"another model|this model's weight"):
        family.check_file(base, qwen)
    before = {key: value.detach().clone() for key, value in session._pipe.transformer.named_parameters()}
    rows = [Candidate("base", sampler=KONTEXT_SAMPLER, role="base"),
            Candidate("a", (use(a, 0.8),), sampler=KONTEXT_SAMPLER),
            Candidate("both", (use(a), use(b, -0.5)), sampler=KONTEXT_SAMPLER),
            Candidate("wrong", (use(qwen),), sampler=KONTEXT_SAMPLER)]
    reports = []
    admitted, refused = admit_all(session, rows, reports.append)
    assert [row.name for row in admitted] == ["base", "a", "both"]
    assert [row["name"] for row in refused] == ["wrong"]
    assert all(report.precision == dtype and report.effect > 1e-3 for report in reports)
    assert all(torch.equal(value, before[key]) for key, value in session._pipe.transformer.named_parameters())
    session.switch(rows[1])
    up, down = drawn(name, folders[name], 1)[session.touched()[0]]
    module = session.touched()[0]
    wanted = before[f"{module}.weight"].double() + 0.8 * (2.0 / 4) * torch.from_numpy(
        up.astype(np.float64) @ down.astype(np.float64))
    found = torch.from_numpy(session.weights(module)).double()
    assert float((found - wanted).abs().max()) <= (1e-6 if dtype == "float32" else 2.0**-7) * float(wanted.abs().max())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("prefix", "style"), [("transformer.", "AB"), ("", "updown"), ("base_model.model.", "AB"),
                                               ("lora_unet_", "kohya")])
def test_every_layout_means_the_same(folders, tmp_path, name, prefix, style):
    pairs = drawn(name, folders[name])
    path = tinyflux.save(tmp_path / "x.safetensors", pairs, prefix=prefix, style=style)
    with open_changes(path, linear_shapes(str(folders[name]))) as changes:
        found = {change.name: change.delta() for change in changes}
    assert set(found) == set(pairs)
    for module, (up, down) in pairs.items():
        np.testing.assert_allclose(found[module], up @ down, atol=1e-5)


@pytest.mark.parametrize("style", ["AB", "kohya"])
@pytest.mark.parametrize(("name", "fused", "parts"), [
    ("flux_kontext", "double_blocks.1.img_attn.qkv", ["attn.to_q", "attn.to_k", "attn.to_v"]),
    ("flux_kontext", "double_blocks.0.txt_attn.qkv", ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"]),
    ("flux_kontext", "single_blocks.1.linear1", ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"]),
    ("flux_kontext", "single_blocks.0.linear2", ["proj_out"]),
    ("flux_kontext", "double_blocks.1.txt_mlp.2", ["ff_context.net.2"]),
    ("flux2", "double_blocks.1.img_attn.qkv", ["attn.to_q", "attn.to_k", "attn.to_v"]),
    ("flux2", "single_blocks.1.linear1", ["attn.to_qkv_mlp_proj"]),
    ("flux2", "single_blocks.0.linear2", ["attn.to_out"]),
])
def test_names_of_the_original_code_are_split_as_diffusers_splits_them(folders, tmp_path, name, fused, parts, style):
    """Reference: diffusers' own converter, fed with the same file."""
    from diffusers.loaders import lora_conversion_utils as convert

    shapes = linear_shapes(str(folders[name]))
    kind = "single_transformer_blocks" if fused.startswith("single") else "transformer_blocks"
    block = f"{kind}.{fused.split('.')[1]}"
    heights = [shapes[f"{block}.{part}"][0] for part in parts]
    pairs = tinyflux.pairs(5, {fused: (sum(heights), shapes[f"{block}.{parts[0]}"][1])})
    prefix = "lora_unet_" if style == "kohya" else "diffusion_model."
    path = tinyflux.save(tmp_path / "x.safetensors", pairs, prefix=prefix, style=style)
    with open_changes(path, shapes) as changes:
        found = {change.name: change.delta() for change in changes}
    assert set(found) == {f"{block}.{part}" for part in parts}
    np.testing.assert_allclose(np.concatenate([found[f"{block}.{part}"] for part in parts]),
                               pairs[fused][0] @ pairs[fused][1], atol=1e-5)
    if name == "flux2" and style == "AB":
        up, down = (torch.from_numpy(each) for each in pairs[fused])
        theirs = convert._convert_non_diffusers_flux2_lora_to_diffusers(
            {f"diffusion_model.{fused}.lora_A.weight": down, f"diffusion_model.{fused}.lora_B.weight": up})
        for module in found:
            wanted = theirs[f"transformer.{module}.lora_B.weight"] @ theirs[f"transformer.{module}.lora_A.weight"]
            np.testing.assert_allclose(found[module], wanted.numpy(), atol=1e-5)


def test_damaged_and_foreign_files_are_refused_whole(folders, tmp_path):
    from safetensors.numpy import save_file

    shapes = linear_shapes(str(folders["flux_kontext"]))
    pairs = drawn("flux_kontext", folders["flux_kontext"])
    module = next(iter(pairs))
    up, down = pairs[module]
    for tensors, message in (
        ({f"transformer.{module}.lora_A.weight": down}, "missing"),
        ({f"transformer.{module}.lora_A.weight": down, f"transformer.{module}.lora_B.weight": up[:-1]}, "matrices of"),
        ({f"transformer.{module}.lora_A.weight": down, f"transformer.{module}.lora_B.weight": up,
          f"transformer.{module}.dora_scale": up}, "plain LoRA"),
        ({f"transformer.{module}.lora_A.weight": down, f"transformer.{module}.lora_B.weight": up,
          f"diffusion_model.{module}.lora_A.weight": down, f"diffusion_model.{module}.lora_B.weight": up}, "twice"),
        ({"transformer.no.such.lora_A.weight": down, "transformer.no.such.lora_B.weight": up}, "another model"),
    ):
        save_file(tensors, tmp_path / "bad.safetensors")
        with pytest.raises(RefusedError, match=message), open_changes(tmp_path / "bad.safetensors", shapes):
            pass


def test_bases_are_told_apart(folders, tmp_path):
    for name, other in (("flux_kontext", "flux2"), ("flux2", "flux_kontext")):
        family = registry.load("families", name)
        with pytest.raises(UserError, match="not a"):
            family.identify(str(folders[other]), {})
        first = family.identify(str(folders[name]), {})
        assert first.fingerprint == family.identify(str(folders[name]), {}).fingerprint
        with pytest.raises(UserError, match="unknown option"):
            family.identify(str(folders[name]), {"gidance_scale": 1})
    assert registry.load("families", "flux_kontext").identify(str(folders["flux_kontext"]), {}).options[
        "guidance_scale"] == 2.5


def test_more_pictures_than_a_family_takes_are_refused(folders):
    _, _, session = opened("flux_kontext", folders["flux_kontext"])
    picture = tiny.picture(1, 64, 64)
    text = session.encode_prompt("x", [picture], KONTEXT_SAMPLER)
    image = session.encode_image(picture, KONTEXT_SAMPLER)
    with pytest.raises(UserError, match="has 2"):
        session.denoise(text, None, [image, image], KONTEXT_SAMPLER, 1)
    session.release_encoders()
    with pytest.raises(Exception, match="released"):
        session.encode_prompt("x", [picture], KONTEXT_SAMPLER)
    assert session.round_trip(picture, KONTEXT_SAMPLER).shape == (64, 64, 3)
