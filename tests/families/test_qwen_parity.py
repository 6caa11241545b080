"""Our loop makes the stock pipeline's pictures, and the text encoder sees true positions."""

from __future__ import annotations

from dataclasses import replace

import diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus as stock
import numpy as np
import pytest
import torch
from PIL import Image

from families import tiny
from whichlora import registry
from whichlora.errors import UserError

FAMILY = registry.load("families", "qwen_image_edit")
SIZES = [(80, 80), (64, 96), (100, 70)]
LIGHTNING = {"base_shift": 1.0986, "max_shift": 1.0986, "shift_terminal": None}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    return {flag: tiny.build(root / str(flag), zero_cond_t=flag) for flag in (False, True)}


@pytest.fixture
def tiny_areas(monkeypatch):
    monkeypatch.setattr(stock, "VAE_IMAGE_SIZE", tiny.SAMPLER.reference_area_px)
    monkeypatch.setattr(stock, "CONDITION_IMAGE_SIZE", tiny.SAMPLER.condition_area_px)


def stock_picture(folder, pictures, prompt, sampler, seed, size):
    pipe = stock.QwenImageEditPlusPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, **sampler.scheduler)
    out = pipe(
        image=[Image.fromarray(picture) for picture in pictures], prompt=prompt, height=size[0], width=size[1],
        negative_prompt=sampler.negative_prompt if sampler.true_cfg_scale > 1 else None,
        true_cfg_scale=sampler.true_cfg_scale, num_inference_steps=sampler.num_inference_steps,
        generator=torch.Generator("cpu").manual_seed(seed),
    )
    return np.asarray(out.images[0])


def our_picture(session, pictures, prompt, sampler, seed):
    encoded = session.encode_prompt(prompt, pictures, sampler)
    negative = None
    if sampler.true_cfg_scale > 1:
        negative = session.encode_prompt(sampler.negative_prompt, pictures, sampler)
    images = [session.encode_image(picture, sampler) for picture in pictures]
    return session.decode(session.denoise(encoded, negative, images, sampler, seed))


def largest(a, b):
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("zero_cond_t", [False, True])
@pytest.mark.parametrize(("references", "guidance"), [(1, 2.5), (1, 1.0), (2, 2.5), (3, 2.5), (3, 1.0)])
def test_same_picture_as_the_stock_pipeline(folders, tiny_areas, references, guidance, zero_cond_t):
    folder = folders[zero_cond_t]
    sampler = replace(tiny.SAMPLER, true_cfg_scale=guidance)
    pictures = [tiny.picture(i, *SIZES[i]) for i in range(references)]
    prompt = tiny.PROMPTS[references - 1]
    session = FAMILY.load(FAMILY.identify(str(folder), {"text_positions": "stock"}), "cpu")
    ours = our_picture(session, pictures, prompt, sampler, 7)
    assert ours.shape[:2] == session.output_size(pictures[0], sampler)
    assert ours.std() > 5, "a flat picture would prove nothing"
    assert largest(ours, stock_picture(folder, pictures, prompt, sampler, 7, ours.shape[:2])) <= 1
    other = our_picture(session, pictures, prompt, sampler, 8)
    assert largest(ours, other) > 20, "another seed must make another picture"


def test_distilled_schedule_matches_too(folders, tiny_areas):
    sampler = replace(tiny.SAMPLER, num_inference_steps=4, true_cfg_scale=1.0, scheduler=LIGHTNING)
    session = FAMILY.load(FAMILY.identify(str(folders[False]), {"text_positions": "stock"}), "cpu")
    pictures = [tiny.picture(4, 90, 60)]
    ours = our_picture(session, pictures, tiny.PROMPTS[0], sampler, 3)
    assert largest(ours, stock_picture(folders[False], pictures, tiny.PROMPTS[0], sampler, 3, ours.shape[:2])) <= 1
    plain = our_picture(session, pictures, tiny.PROMPTS[0], replace(sampler, scheduler={}), 3)
    assert largest(ours, plain) > 1, "the schedule's settings must reach the sampler"


def test_true_positions_are_the_models_own_and_differ_from_stock(folders):
    """Reference: the text encoder fed with the processor's own output, token types included."""
    folder = str(folders[False])
    pictures = [tiny.picture(1, 90, 60), tiny.picture(2)]
    found = {}
    for positions in ("true", "stock"):
        session = FAMILY.load(FAMILY.identify(folder, {"text_positions": positions}), "cpu")
        found[positions] = session.encode_prompt(tiny.PROMPTS[0], pictures, tiny.SAMPLER).embeds
    pipe = stock.QwenImageEditPlusPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    shown = [pipe.image_processor.resize(Image.fromarray(p), *size)
             for p, size in zip(pictures, [(96, 64), (96, 96)], strict=True)]
    text = pipe.prompt_template_encode.format("".join(
        f"Picture {i}: <|vision_start|><|image_pad|><|vision_end|>" for i in (1, 2)) + tiny.PROMPTS[0])
    inputs = pipe.processor(text=[text], images=shown, padding=True, return_tensors="pt")
    assert "mm_token_type_ids" in inputs
    with torch.no_grad():
        wanted = pipe.text_encoder(**inputs, output_hidden_states=True).hidden_states[-1][:, 64:]
    torch.testing.assert_close(found["true"], wanted, atol=1e-5, rtol=1e-5)
    change = float((found["true"] - found["stock"]).norm() / found["stock"].norm())
    assert change > 0.01, change


def test_positions_are_part_of_the_bases_options(folders):
    plain = FAMILY.identify(str(folders[False]), {})
    other = FAMILY.identify(str(folders[False]), {"text_positions": "stock"})
    assert plain.options["text_positions"] == "true"
    assert plain.options != other.options
    assert plain.fingerprint == other.fingerprint


def test_one_frame_path_equals_the_stock_vae(folders):
    from whichlora.families._qwen.one_frame import use_one_frame_path

    vae = stock.AutoencoderKLQwenImage.from_pretrained(folders[False], subfolder="vae", torch_dtype=torch.float32)
    pixels = torch.tensor(tiny.picture(3, 96, 64)).permute(2, 0, 1)[None, :, None] / 127.5 - 1
    with torch.no_grad():
        wanted = vae.encode(pixels).latent_dist.mode()
        wanted_pixels = vae.decode(wanted).sample
        video = vae.encode(torch.cat([pixels] * 5, dim=2)).latent_dist.mode()
        assert use_one_frame_path(vae) > 10
        found = vae.encode(pixels).latent_dist.mode()
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(vae.decode(wanted).sample, wanted_pixels, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(vae.encode(torch.cat([pixels] * 5, dim=2)).latent_dist.mode(), video)


def test_encodings_are_counted_and_encoders_released(folders):
    session = FAMILY.load(FAMILY.identify(str(folders[False]), {}), "cpu")
    pictures = [tiny.picture(0)]
    prompt = session.encode_prompt("x", pictures, tiny.SAMPLER)
    image = session.encode_image(pictures[0], tiny.SAMPLER)
    assert session.counts == {"prompt": 1, "image": 1}
    session.release_encoders()
    assert not {"text_encoder", "processor"} & set(vars(session._parts))
    with pytest.raises(Exception, match="released"):
        session.encode_prompt("x", pictures, tiny.SAMPLER)
    session.reset_peak_memory()
    out = session.decode(session.denoise(prompt, None, [image], replace(tiny.SAMPLER, true_cfg_scale=1.0), 1))
    assert out.dtype == np.uint8
    assert session.peak_memory_bytes() > 50e6
    assert session.round_trip(pictures[0], tiny.SAMPLER).shape == out.shape


@pytest.mark.parametrize(("sampler", "message"), [
    (replace(tiny.SAMPLER, num_inference_steps=1), "shift_terminal"),
    (replace(tiny.SAMPLER, scheduler={"base_shfit": 1.0}), "base_shfit"),
    (replace(tiny.SAMPLER, num_inference_steps=0), "0 steps"),
])
def test_sampler_settings_that_cannot_work_are_refused(folders, sampler, message):
    session = FAMILY.load(FAMILY.identify(str(folders[False]), {}), "cpu")
    prompt = session.encode_prompt("x", [tiny.picture(0)], sampler)
    image = session.encode_image(tiny.picture(0), sampler)
    with pytest.raises(UserError, match=message):
        session.denoise(prompt, None, [image], sampler, 1)
    with pytest.raises(UserError, match="has 4"):
        session.denoise(prompt, None, [image] * 4, tiny.SAMPLER, 1)


def test_same_picture_on_the_embedded_model(tiny_areas, monkeypatch):
    """Trained weights, at the size of the demo."""
    from whichlora.tinyworld import PIPELINE_FOLDER

    sampler = replace(tiny.SAMPLER, num_inference_steps=4, reference_area_px=128 * 128)
    monkeypatch.setattr(stock, "VAE_IMAGE_SIZE", sampler.reference_area_px)
    session = FAMILY.load(FAMILY.identify(str(PIPELINE_FOLDER), {"text_positions": "stock"}), "cpu")
    pictures = [tiny.picture(5, 128, 128)]
    prompt = "relight the picture with warm sunset light"
    ours = our_picture(session, pictures, prompt, sampler, 3)
    theirs = stock_picture(PIPELINE_FOLDER, pictures, prompt, sampler, 3, (128, 128))
    assert ours.std() > 5
    assert largest(ours, theirs) <= 1
