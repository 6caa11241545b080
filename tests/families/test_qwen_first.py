"""The first Qwen-Image-Edit: one picture, its own template and size, the stock pipeline's pictures."""

from __future__ import annotations

import json
from dataclasses import replace

import diffusers.pipelines.qwenimage.pipeline_qwenimage_edit as stock
import numpy as np
import pytest
import torch
from PIL import Image

from families import tiny
from whichlora import registry
from whichlora.errors import UserError

FAMILY = registry.load("families", "qwen_image_edit")
AREA = 96 * 96
SAMPLER = replace(tiny.SAMPLER, reference_area_px=AREA, condition_area_px=AREA)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same weights under both pipelines."""
    root = tmp_path_factory.mktemp("first")
    plus = tiny.build(root / "plus")
    first = tiny.build(root / "first")
    index = json.loads((first / "model_index.json").read_text(encoding="utf-8"))
    index["_class_name"] = "QwenImageEditPipeline"
    (first / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    return {"plus": plus, "first": first}


def ours(folder, picture, sampler, prompt=tiny.PROMPTS[0], seed=7):
    session = FAMILY.load(FAMILY.identify(str(folder), {"text_positions": "stock"}), "cpu")
    text = session.encode_prompt(prompt, [picture], sampler)
    against = session.encode_prompt(sampler.negative_prompt, [picture], sampler) if sampler.true_cfg_scale > 1 else None
    return session.decode(session.denoise(text, against, [session.encode_image(picture, sampler)], sampler, seed))


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_same_picture_as_its_stock_pipeline(folders, monkeypatch, guidance):
    real = stock.calculate_dimensions
    monkeypatch.setattr(stock, "calculate_dimensions", lambda area, ratio: real(AREA, ratio))
    sampler = replace(SAMPLER, true_cfg_scale=guidance)
    picture = tiny.picture(3, 120, 100)
    pipe = stock.QwenImageEditPipeline.from_pretrained(folders["first"])
    pipe.set_progress_bar_config(disable=True)
    wanted = np.asarray(pipe(
        image=Image.fromarray(picture), prompt=tiny.PROMPTS[0], true_cfg_scale=guidance,
        negative_prompt=sampler.negative_prompt if guidance > 1 else None,
        num_inference_steps=sampler.num_inference_steps, generator=torch.Generator("cpu").manual_seed(7),
    ).images[0])
    found = ours(folders["first"], picture, sampler)
    assert found.shape == wanted.shape
    assert found.std() > 5
    assert int(np.abs(found.astype(int) - wanted.astype(int)).max()) <= 1
    other = ours(folders["plus"], picture, sampler)
    assert int(np.abs(found.astype(int) - other.astype(int)).max()) > 1, "the template must make a difference"


def test_it_is_another_base_than_the_same_weights_in_the_other_pipeline(folders):
    first, plus = (FAMILY.identify(str(folders[name]), {}) for name in ("first", "plus"))
    assert first.fingerprint != plus.fingerprint
    sampler = FAMILY.default_sampler(first)
    assert (sampler.num_inference_steps, sampler.condition_area_px) == (50, sampler.reference_area_px)
    assert FAMILY.default_sampler(plus).condition_area_px == 384 * 384


def test_it_takes_one_picture_at_one_size(folders):
    session = FAMILY.load(FAMILY.identify(str(folders["first"]), {}), "cpu")
    with pytest.raises(UserError, match="takes one picture"):
        session.encode_prompt("x", [tiny.picture(1), tiny.picture(2)], SAMPLER)
    with pytest.raises(UserError, match="one size"):
        session.encode_prompt("x", [tiny.picture(1)], replace(SAMPLER, condition_area_px=64 * 64))
