"""The stock diffusers pipeline on the tiny weights, and the planted LoRA files."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from safetensors.torch import load_file  # noqa: E402

from whichlora.tinyworld import LORA_FOLDER, PIPELINE_FOLDER, PROFILE_FILE, TRUTH_FILE  # noqa: E402
from whichlora.tinyworld.characters import to_image  # noqa: E402
from whichlora.tinyworld.edits import Edit  # noqa: E402
from whichlora.tinyworld.instructions import instruction  # noqa: E402
from whichlora.tinyworld.truth import TruthGrader  # noqa: E402


@pytest.fixture(scope="module")
def pipeline():
    from diffusers import QwenImageEditPlusPipeline
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as module

    area = module.VAE_IMAGE_SIZE
    module.VAE_IMAGE_SIZE = json.loads(PROFILE_FILE.read_text())["vae_image_area"]
    loaded = QwenImageEditPlusPipeline.from_pretrained(PIPELINE_FOLDER, torch_dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    yield loaded
    module.VAE_IMAGE_SIZE = area


def edited(pipeline, picture, edits, steps=8):
    from torchvision.transforms.functional import pil_to_tensor

    image = pipeline(
        image=[to_image(picture)],
        prompt=instruction(edits),
        true_cfg_scale=1.0,
        height=128,
        width=128,
        num_inference_steps=steps,
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    return pil_to_tensor(image).float() / 255


def test_prefix_is_as_long_as_the_pipeline_drops(pipeline):
    prefix = pipeline.prompt_template_encode.split("{}")[0]
    assert len(pipeline.tokenizer(prefix)["input_ids"]) == pipeline.prompt_template_encode_start_idx


def test_base_changes_the_background_and_keeps_mina(pipeline, mina_scene):
    who, states, picture, _ = mina_scene
    edits = (Edit("background", "beach"),)
    grade = TruthGrader().grade(edited(pipeline, picture, edits), who, states, edits)
    assert grade.consistent


def test_angles_lora_turns_what_the_base_does_not(pipeline, mina_scene):
    who, states, picture, _ = mina_scene
    edits, grader = (Edit("camera", "left_45"),), TruthGrader()
    before = grader.grade(edited(pipeline, picture, edits), who, states, edits, "mina")
    folder = LORA_FOLDER / "toymaker--Qwen-Edit-Tiny-Multiple-Angles"
    pipeline.load_lora_weights(folder, weight_name="镜头转换.safetensors", adapter_name="angles")
    try:
        after = grader.grade(edited(pipeline, picture, edits), who, states, edits, "mina")
    finally:
        pipeline.unload_lora_weights()
    assert not before.edit_done
    assert after.consistent


def test_every_planted_lora_has_a_card_and_readable_weights():
    folders = sorted(folder for folder in LORA_FOLDER.iterdir() if folder.is_dir())
    assert len(folders) >= 9
    for folder in folders:
        assert (folder / "README.md").read_text(encoding="utf-8").startswith("---\n")
        (weights,) = folder.glob("*.safetensors")
        tensors = load_file(weights)
        assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


def test_the_zero_lora_is_zero():
    (weights,) = (LORA_FOLDER / "goodvibes--Consistency-Booster").glob("*.safetensors")
    ups = [tensor for name, tensor in load_file(weights).items() if "lora_B" in name]
    assert ups
    assert all((up == 0).all() for up in ups)


def test_the_truth_tells_the_planted_story():
    truth = json.loads(TRUTH_FILE.read_text(encoding="utf-8"))
    rates = {name: entry["rates"] for name, entry in truth["loras"].items()}
    must_haves = ("camera", "background", "light")
    assert all(rates["angles"][family]["consistent"] >= 0.92 for family in must_haves)
    assert truth["base"]["rates"]["camera"]["consistent"] < 0.5
    overtrained = rates["angles_overtrained"]["camera"]
    assert overtrained["edit_done"] >= 0.9
    assert overtrained["identity_kept"] <= 0.1
    assert rates["expression"]["expression"]["consistent"] >= 0.9
    for entry in truth["loras"].values():
        assert (LORA_FOLDER / entry["repository"].replace("/", "--") / entry["file"]).is_file()
