"""The exported script makes the compared picture; the exported workflow uses nodes as ComfyUI has them."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export import projects
from families import tiny
from whichlora import registry
from whichlora.errors import RefusedError, UnknownNameError
from whichlora.export.chosen import choose, leading
from whichlora.export.located import located
from whichlora.export.setup import write_setup
from whichlora.findings import Recommendation
from whichlora.run.runner import run_plan
from whichlora.store import Store
from whichlora.types import Candidate, Cell, EditCase, Plan, cell_id

FAMILY = registry.load("families", "qwen_image_edit")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tiny base, two candidates (one guided with two LoRAs and a trigger, one distilled), and their pictures."""
    root = tmp_path_factory.mktemp("setup")
    base = FAMILY.identify(str(tiny.build(root / "base")), {})
    a = tiny.save_lora(root / "镜头.safetensors", tiny.lora_tensors(1), alpha=2.0)
    b = tiny.save_lora(root / "b.safetensors", tiny.lora_tensors(2, rank=8, modules=("img_mlp.net.2", "attn.to_q")),
                       prefix="diffusion_model.")
    lightning = tiny.save_lora(root / "fast.safetensors", tiny.lora_tensors(3))
    fast = replace(tiny.SAMPLER, name="fast", num_inference_steps=4, true_cfg_scale=1.0,
                   adapters=(tiny.use(lightning),),
                   scheduler={"base_shift": 1.0986, "max_shift": 1.0986, "shift_terminal": None})
    rows = (
        Candidate("two of them", (tiny.use(a, 0.8), tiny.use(b, -0.5)), sampler=tiny.SAMPLER, trigger="<sks> {0}",
                  licence="mit"),
        Candidate("fast", (tiny.use(b),), sampler=fast),
        Candidate("base", sampler=tiny.SAMPLER, role="base"),
    )
    (root / "refs").mkdir()
    projects.photograph(root / "refs" / "ada.png", 5, (90, 64))
    source = projects.sources_of(root, ["ada"])[0]
    case = EditCase("ada/turn", "ada", "turn", "camera", "在海滩上 'x' \"y\" \\n {braces}", {})
    libraries = FAMILY.load(base, "cpu").libraries()
    cells = tuple(Cell(cell_id(base, row, case, (source.sha256,), 7, libraries), row.name, case.id, 7) for row in rows)
    plan = Plan("p", base, rows, (source,), (), (), (case,), cells, (), "other", ("camera",), 0.7, dict(libraries))
    from whichlora.run.pictures import photograph_reader

    with Store(root, create=True) as store:
        summary = run_plan(plan, store, FAMILY.load(base, "cpu"), photograph_reader(plan, root))
        assert summary.failed == 0
        generations = store.generations()
        pictures = {cell.candidate: np.asarray(Image.open(store.images.path(generations[cell.id].image)))
                    for cell in cells}
    return root, plan, generations, pictures


def run_script(folder, monkeypatch, *words):
    import diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus as plus

    monkeypatch.setattr(plus, "VAE_IMAGE_SIZE", plus.VAE_IMAGE_SIZE)
    monkeypatch.setattr(plus, "CONDITION_IMAGE_SIZE", plus.CONDITION_IMAGE_SIZE)
    monkeypatch.setattr(sys, "argv", ["edit.py", *map(str, words), "--device", "cpu"])
    runpy.run_path(str(folder / "edit.py"), run_name="__main__")


@pytest.mark.parametrize("name", ["two of them", "fast", "base"])
def test_the_script_makes_the_compared_picture(made, tmp_path, monkeypatch, name):
    root, plan, generations, pictures = made
    row = next(row for row in plan.candidates if row.name == name)
    write_setup(tmp_path, plan, row, generations)
    run_script(tmp_path, monkeypatch, root / "refs" / "ada.png", "--out", tmp_path / "out.png")
    found = np.asarray(Image.open(tmp_path / "out.png"))
    wanted = pictures[name]
    assert wanted.std() > 5, "a flat picture would prove nothing"
    assert found.shape == wanted.shape
    assert int(np.abs(found.astype(int) - wanted.astype(int)).max()) <= 1
    others = [picture for other, picture in pictures.items() if other != name]
    assert min(int(np.abs(found.astype(int) - other.astype(int)).max()) for other in others) > 10


def test_the_script_follows_prompt_and_seed(made, tmp_path, monkeypatch):
    root, plan, generations, pictures = made
    write_setup(tmp_path, plan, plan.candidates[0], generations)
    run_script(tmp_path, monkeypatch, root / "refs" / "ada.png", "--seed", "8", "--out", tmp_path / "seed.png")
    found = np.asarray(Image.open(tmp_path / "seed.png"))
    assert int(np.abs(found.astype(int) - pictures["two of them"].astype(int)).max()) > 10


def test_the_script_reads_a_photograph_as_the_comparison_did(made, tmp_path):
    """Transparency over black, 16 bits, a palette with a transparent colour, a turned picture."""
    from whichlora.suite.photos import open_picture

    _, plan, generations, _ = made
    write_setup(tmp_path, plan, plan.candidates[2], generations)
    read = runpy.run_path(str(tmp_path / "edit.py"))["read"]
    draw = np.random.default_rng(0)
    clear = draw.integers(0, 255, (40, 56, 4), np.uint8)
    clear[:20, :, :3], clear[:20, :, 3] = 0, 0
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(clear).save(tmp_path / "clear.png")
    Image.fromarray(draw.integers(0, 65535, (40, 56), np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(clear[..., :3]).quantize(8).save(tmp_path / "palette.png", transparency=0)
    Image.fromarray(clear[..., :3]).save(tmp_path / "turned.png", exif=turned)
    for name in ("clear", "deep", "palette", "turned"):
        path = tmp_path / f"{name}.png"
        np.testing.assert_array_equal(np.asarray(read(path)), open_picture(path))


def test_the_script_says_in_a_sentence_what_is_wrong(made, tmp_path, monkeypatch, capsys):
    root, plan, generations, _ = made
    write_setup(tmp_path, plan, plan.candidates[2], generations)
    photo = root / "refs" / "ada.png"
    (tmp_path / "file").write_bytes(b"")
    for words, said in (((tmp_path / "gone.png",), "gone.png"), ((tmp_path / "README.md",), "README.md"),
                        ((photo, "--out", tmp_path / "file" / "x.png"), "file"), ((photo,) * 4, "at most three")):
        with pytest.raises(SystemExit) as stop:
            run_script(tmp_path, monkeypatch, *words)
        assert stop.value.code == 2
        assert said in capsys.readouterr().err
    run_script(tmp_path, monkeypatch, photo, "--out", tmp_path / "new" / "x.png")
    assert (tmp_path / "new" / "x.png").stat().st_size > 100
    assert "note:" not in capsys.readouterr().err, "the same versions are no news"


def test_the_canonical_copies_mean_what_the_originals_meant(made, tmp_path):
    """Loaded by the product's own reader, a copy gives the same change as the file it was made from."""
    from whichlora.lora.delta import load_canonical
    from whichlora.lora.keys import ModelShape

    root, plan, generations, _ = made
    write_setup(tmp_path, plan, plan.candidates[0], generations)
    shape = ModelShape.from_folder(root / "base")
    document = json.loads((tmp_path / "setup.json").read_text(encoding="utf-8"))
    assert [item["weight"] for item in document["loras"]] == [0.8, -0.5]
    for use, item in zip(plan.candidates[0].adapters, document["loras"], strict=True):
        with load_canonical(use.path, shape) as old, load_canonical(tmp_path / item["file"], shape) as new:
            assert len(old) == len(new)
            for before, after in zip(old, new, strict=True):
                np.testing.assert_allclose(after.delta(), before.delta(), atol=1e-6)


# --------------------------------------------------------------------------- ComfyUI

CORE_NODES = {
    # class: required inputs, as ComfyUI's source has them
    "UNETLoader": {"unet_name", "weight_dtype"}, "CLIPLoader": {"clip_name", "type"}, "VAELoader": {"vae_name"},
    "LoraLoaderModelOnly": {"model", "lora_name", "strength_model"}, "ModelSamplingAuraFlow": {"model", "shift"},
    "CFGNorm": {"model", "strength"}, "LoadImage": {"image"}, "VAEEncode": {"pixels", "vae"},
    "ImageScale": {"image", "upscale_method", "width", "height", "crop"},
    "TextEncodeQwenImageEditPlus": {"clip", "prompt"}, "ReferenceLatent": {"conditioning"},
    "FluxKontextMultiReferenceLatentMethod": {"conditioning", "reference_latents_method"},
    "EmptySD3LatentImage": {"width", "height", "batch_size"},
    "KSampler": {"model", "seed", "steps", "cfg", "sampler_name", "scheduler", "positive", "negative", "latent_image",
                 "denoise"},
    "VAEDecode": {"samples", "vae"}, "SaveImage": {"images", "filename_prefix"},
}
SOCKETS = {
    # class: linked inputs in the order of ComfyUI's source, optional ones included
    "LoraLoaderModelOnly": ["model"], "ModelSamplingAuraFlow": ["model"], "CFGNorm": ["model"],
    "ImageScale": ["image"], "VAEEncode": ["pixels", "vae"],
    "TextEncodeQwenImageEditPlus": ["clip", "vae", "image1", "image2", "image3"],
    "ReferenceLatent": ["conditioning", "latent"], "FluxKontextMultiReferenceLatentMethod": ["conditioning"],
    "KSampler": ["model", "positive", "negative", "latent_image"], "VAEDecode": ["samples", "vae"],
    "SaveImage": ["images"],
}
WIDGETS = {
    # class: settings in the editor; a seed has "control after generate" beside it, a picture its upload button
    "UNETLoader": 2, "CLIPLoader": 3, "VAELoader": 1, "LoraLoaderModelOnly": 2, "ModelSamplingAuraFlow": 1,
    "CFGNorm": 2, "LoadImage": 2, "ImageScale": 4, "TextEncodeQwenImageEditPlus": 1,
    "FluxKontextMultiReferenceLatentMethod": 1, "EmptySD3LatentImage": 3, "KSampler": 7, "SaveImage": 1,
}
OUTPUTS = {
    "UNETLoader": ["MODEL"], "CLIPLoader": ["CLIP"], "VAELoader": ["VAE"], "LoraLoaderModelOnly": ["MODEL"],
    "ModelSamplingAuraFlow": ["MODEL"], "CFGNorm": ["MODEL"], "LoadImage": ["IMAGE", "MASK"], "ImageScale": ["IMAGE"],
    "VAEEncode": ["LATENT"], "TextEncodeQwenImageEditPlus": ["CONDITIONING"], "ReferenceLatent": ["CONDITIONING"],
    "FluxKontextMultiReferenceLatentMethod": ["CONDITIONING"], "EmptySD3LatentImage": ["LATENT"],
    "KSampler": ["LATENT"], "VAEDecode": ["IMAGE"], "SaveImage": [],
}
TAKES = {
    "model": "MODEL", "clip": "CLIP", "vae": "VAE", "image": "IMAGE", "image1": "IMAGE", "pixels": "IMAGE",
    "images": "IMAGE", "samples": "LATENT", "latent": "LATENT", "latent_image": "LATENT", "positive": "CONDITIONING",
    "negative": "CONDITIONING", "conditioning": "CONDITIONING",
}


@pytest.mark.parametrize("name", ["two of them", "fast"])
def test_the_workflow_is_wired_as_the_nodes_take_it(made, tmp_path, name):
    _, plan, generations, _ = made
    row = next(row for row in plan.candidates if row.name == name)
    write_setup(tmp_path, plan, row, generations)
    api = json.loads((tmp_path / "comfyui-api.json").read_text(encoding="utf-8"))
    for node in api.values():
        assert CORE_NODES[node["class_type"]] <= set(node["inputs"]), node
        for key, value in node["inputs"].items():
            if isinstance(value, list):
                kinds = OUTPUTS[api[value[0]]["class_type"]]
                assert kinds[value[1]] == TAKES[key], (node, key)
    loras = [node["inputs"] for node in api.values() if node["class_type"] == "LoraLoaderModelOnly"]
    uses = (*row.adapters, *row.sampler.adapters)
    assert [item["strength_model"] for item in loras] == [use.weight for use in uses]
    assert all((tmp_path / "loras" / item["lora_name"]).is_file() for item in loras)
    sampler = next(node["inputs"] for node in api.values() if node["class_type"] == "KSampler")
    assert (sampler["seed"], sampler["steps"], sampler["cfg"]) == (
        7, row.sampler.num_inference_steps, row.sampler.true_cfg_scale)
    texts = [node["inputs"]["prompt"] for node in api.values() if node["class_type"] == "TextEncodeQwenImageEditPlus"]
    assert texts[0] == f"{row.trigger} {plan.cases[0].prompt}".strip()
    height, width = next((n["inputs"]["height"], n["inputs"]["width"]) for n in api.values()
                         if n["class_type"] == "EmptySD3LatentImage")
    session = FAMILY.load(plan.base, "cpu")
    assert (height, width) == session.output_size(np.zeros((64, 90, 3), np.uint8), row.sampler)
    editor = json.loads((tmp_path / "comfyui-workflow.json").read_text(encoding="utf-8"))
    for key in ("nodes", "links"):
        numbers = [item["id"] if key == "nodes" else item[0] for item in editor[key]]
        assert len(numbers) == len(set(numbers))
        assert max(numbers) == editor[f"last_{key[:-1]}_id"]
    for node in editor["nodes"]:
        assert [item["name"] for item in node["inputs"]] == SOCKETS.get(node["type"], [])
        assert len(node["widgets_values"]) == WIDGETS.get(node["type"], 0), node
    assert [node["type"] for node in editor["nodes"]] == [node["class_type"] for node in api.values()]
    by_id = {node["id"]: node for node in editor["nodes"]}
    for link, start, slot, end, place, kind in editor["links"]:
        assert by_id[start]["outputs"][slot]["type"] == kind == by_id[end]["inputs"][place]["type"]
        assert by_id[end]["inputs"][place]["link"] == link in by_id[start]["outputs"][slot]["links"]


def test_the_shift_of_noise_levels_is_the_schedulers(made, tmp_path):
    """Against diffusers' own scheduler without its terminal stretch, which no ComfyUI node has."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    from whichlora.families._qwen.denoise import set_steps

    root, plan, generations, _ = made
    write_setup(tmp_path, plan, plan.candidates[0], generations)
    api = json.loads((tmp_path / "comfyui-api.json").read_text(encoding="utf-8"))
    shift = next(n["inputs"]["shift"] for n in api.values() if n["class_type"] == "ModelSamplingAuraFlow")
    config = json.loads((root / "base" / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    scheduler = FlowMatchEulerDiscreteScheduler.from_config({**config, "shift_terminal": None})
    size = next(n["inputs"] for n in api.values() if n["class_type"] == "EmptySD3LatentImage")
    set_steps(scheduler, tiny.SAMPLER, (size["height"] // 16) * (size["width"] // 16), "cpu")
    plain = np.linspace(1.0, 1 / 3, 3)
    np.testing.assert_allclose(scheduler.sigmas.numpy()[:3], shift * plain / (1 + (shift - 1) * plain), atol=1e-4)


# --------------------------------------------------------------------------- which set-ups


def advice(candidate, decision="existing", routes=None):
    return Recommendation(decision, None, candidate, True, "s", routes=routes or {})


def test_the_recommended_set_ups_are_exported(made):
    plan = made[1]

    def names(choice):
        return [row.name for row in choice.candidates]

    assert names(choose(plan, advice("fast"))) == ["fast"]
    assert names(choose(plan, advice("two of them + fast", "multi"))) == ["two of them", "fast"]
    assert names(choose(plan, advice("x", "hybrid", {"camera": "fast", "lighting": "base"}))) == ["fast", "base"]
    assert names(choose(plan, None)) == names(choose(plan, advice("fast", "custom"))) == ["two of them", "fast", "base"]
    assert names(leading(plan, advice("fast", "undecided"))) == ["fast"]
    assert names(leading(plan, None, ["base"])) == ["base"]
    with pytest.raises(UnknownNameError, match="fast"):
        choose(plan, None, ["fsat"])
    with pytest.raises(RefusedError, match=r"nothing was decided yet.*--candidate: two of them, fast, base"):
        leading(plan, None)
    with pytest.raises(RefusedError, match="training"):
        leading(plan, advice("", "custom"))
    with pytest.raises(RefusedError, match="lean to training"):
        leading(plan, replace(advice("", "undecided"), provisional="custom"))


def test_the_files_of_a_moved_project_are_found_by_name_and_content(made, tmp_path):
    _, plan, *_ = made
    row = plan.candidates[0]
    old = [Path(use.path) for use in row.adapters]
    lost = tuple(replace(use, path=str(tmp_path / "old place" / path.name))
                 for use, path in zip(row.adapters, old, strict=True))
    moved = replace(plan, candidates=(replace(row, adapters=lost, merged=lost[0]),))
    (tmp_path / "now" / "loras" / "author").mkdir(parents=True)
    shutil.copy(old[0], tmp_path / "now" / "loras" / "author")
    (tmp_path / "now" / "loras" / old[1].name).write_bytes(b"another file of that name")
    found = located(moved, tmp_path / "now").candidates[0]
    assert found.adapters[0].path == str(tmp_path / "now" / "loras" / "author" / old[0].name)
    assert found.merged == found.adapters[0]
    assert found.adapters[1] == lost[1], "a file of the name with other content is not taken"
    assert located(plan, tmp_path / "now") == plan


def test_what_cannot_be_reproduced_is_refused(made, tmp_path):
    _, plan, generations, _ = made
    row = plan.candidates[0]
    with pytest.raises(RefusedError, match="ties"):
        write_setup(tmp_path, plan, replace(row, combine="ties"), generations)
    gone = replace(row, adapters=(replace(row.adapters[0], sha256="0" * 64),))
    with pytest.raises(RefusedError, match="another file"):
        write_setup(tmp_path, replace(plan, candidates=(gone,)), gone, generations)
    painter = replace(plan, base=replace(plan.base, family="painter"))
    with pytest.raises(RefusedError, match="painter"):
        write_setup(tmp_path, painter, row, generations)
