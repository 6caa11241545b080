"""A bundle repeats the comparison: same cells, same pixels; and it says plainly what is missing or different."""

from __future__ import annotations

import json
import shutil

import pytest

from export import projects
from families import painters, tiny
from whichlora.cli._repeat import repetition, require_material
from whichlora.cli.init import create_project
from whichlora.cli.main import main
from whichlora.cli.stages import stored_plan
from whichlora.export.bundle import compare, read_bundle, write_bundle
from whichlora.store import Store


def call(capsys, *words, status=0):
    try:
        main([*map(str, words), "--json"])
        code = 0
    except SystemExit as error:
        code = error.code
    captured = capsys.readouterr()
    assert code == status, captured.err
    return json.loads(captured.out) if captured.out else captured.err


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A painter project whose pictures were made by the verb."""
    root = tmp_path_factory.mktemp("original")
    photos = [projects.photograph(root / f"photo{seed}.png", seed) for seed in range(2)]
    folder = root / "mina"
    create_project(
        folder, photos, [projects.photograph(root / "else.png", 9)], template="figure",
        head={"name": "mina", "base": {"family": "painter", "location": str(painters.base(root / "base", faces=False))},
              "subject": "other", "sources": {"count": 2}},
        candidates=[{"name": "sharp", "loras": "sharp.safetensors:0.9", "licence": "mit"}],
    )
    painters.lora(folder / "loras" / "sharp.safetensors", camera=0.7, lighting=0.3)
    projects.make(folder)
    return folder


def repeat(folder):
    """Make a bundle's pictures and compare, as `evaluate` does around its other stages."""
    document = require_material(folder)
    projects.make(folder)
    with Store(folder) as store:
        return repetition(folder, document, stored_plan(store))


def pixels(folder):
    with Store(folder) as store:
        return {cell: made.facts["pixels"] for cell, made in store.generations().items()}


def test_a_bundle_is_repeated_with_the_same_cells_and_pixels(original, tmp_path, capsys):
    call(capsys, "export", original, "bundle", "--with-photos", "--to", tmp_path / "out")
    bundle = tmp_path / "out" / "bundle"
    assert not list(bundle.rglob("*.safetensors")), "LoRA files stay with their licences"
    shutil.copy(original / "loras" / "sharp.safetensors", bundle / "loras")
    moved = tmp_path / "elsewhere"
    bundle.rename(moved)
    found = repeat(moved).document
    assert pixels(moved) == pixels(original)
    assert found == {"expected": len(pixels(original)), "same_cells": len(pixels(original)),
                     "same_pixels": len(pixels(original)), "different": [], "why": []}


@pytest.mark.slow
def test_evaluate_tells_how_a_bundle_was_repeated(original, tmp_path, capsys):
    """The whole chain, statistics and report included."""
    call(capsys, "export", original, "bundle", "--with-photos", "--to", tmp_path / "out")
    shutil.copy(original / "loras" / "sharp.safetensors", tmp_path / "out" / "bundle" / "loras")
    found = call(capsys, "evaluate", tmp_path / "out" / "bundle", "--device", "cpu")["repetition"]
    assert found["expected"] == found["same_pixels"] == len(pixels(original))


def test_photographs_go_along_only_when_allowed(original, tmp_path, capsys):
    call(capsys, "export", original, "bundle", "--to", tmp_path / "out")
    bundle = tmp_path / "out" / "bundle"
    assert not list(bundle.rglob("*.png"))
    names = [photo["path"] for photo in read_bundle(bundle)["photos"]]
    assert names == ["refs/photo0.png", "refs/photo1.png", "impostors/else.png"]
    said = call(capsys, "evaluate", bundle, status=2)
    assert "refs/photo0.png" in said
    assert "sharp.safetensors" in said
    assert not (bundle / "store.sqlite").exists(), "nothing is begun that cannot be repeated"


def test_another_file_under_the_same_name_is_told(original, tmp_path, capsys):
    call(capsys, "export", original, "bundle", "--with-photos", "--to", tmp_path / "out")
    bundle = tmp_path / "out" / "bundle"
    painters.lora(bundle / "loras" / "sharp.safetensors", camera=0.6)
    projects.photograph(bundle / "refs" / "photo1.png", 77)
    said = call(capsys, "evaluate", bundle, status=2)
    assert "sharp.safetensors is another file" in said
    assert "photo1.png is another picture" in said


def test_what_differs_is_said(original, tmp_path):
    """Against planted differences: another library version, another base, other pixels."""
    with Store(original) as store:
        plan, generations = stored_plan(store), store.generations()
    (tmp_path / "b").mkdir()
    document = write_bundle(tmp_path / "b", plan, original, (generations, None), with_photos=False)
    same = compare(document, plan, generations)
    assert (same.same_cells, same.same_pixels, same.why) == (len(generations), len(generations), ())
    cell = next(iter(document["cells"]))
    document["cells"][cell]["pixels"] = "0" * 64
    other = compare(document, plan, generations)
    assert other.different == (cell,)
    assert other.same_pixels == len(generations) - 1
    assert "other pixels" in other.sentence
    document["cells"]["c1-gone"] = {"status": "done", "pixels": "0" * 64}
    document["libraries"]["numpy"] = "0.1"
    document["base"]["fingerprint"] = "another"
    told = compare(document, plan, generations).sentence
    assert "numpy is" in told
    assert "0.1" in told
    assert "base is another one" in told


def test_the_plan_in_a_bundle_names_no_folder_of_this_machine(original, tmp_path, capsys):
    call(capsys, "export", original, "bundle", "--to", tmp_path / "out")
    bundle = tmp_path / "out" / "bundle"
    for path in (bundle / "plan.json", bundle / "bundle.json", bundle / "README.md"):
        assert str(original) not in path.read_text(encoding="utf-8"), path


def test_a_bundle_of_the_tiny_model_repeats_pixel_for_pixel(tmp_path, capsys):
    base = tiny.build(tmp_path / "base")
    photos = [projects.photograph(tmp_path / "ada.png", 5)]
    sampler = {"num_inference_steps": 2, "true_cfg_scale": 1.0, "reference_area_px": 64 * 64,
               "condition_area_px": 84 * 84}
    create_project(
        tmp_path / "p", photos, [], template="figure",
        head={"name": "p", "base": {"location": str(base)}, "subject": "other", "sources": {"count": 1}},
        candidates=[{"name": "a", "loras": "a.safetensors"}], samplers={"default": sampler},
    )
    tiny.save_lora(tmp_path / "p" / "loras" / "a.safetensors", tiny.lora_tensors(1))
    projects.make(tmp_path / "p")
    call(capsys, "export", tmp_path / "p", "bundle", "--with-photos", "--to", tmp_path / "out")
    bundle = tmp_path / "out" / "bundle"
    shutil.copy(tmp_path / "p" / "loras" / "a.safetensors", bundle / "loras")
    found = repeat(bundle)
    assert found.expected == found.same_cells == found.same_pixels == len(pixels(tmp_path / "p")) > 8


@pytest.mark.parametrize("text", ["{", '{"schema": "whichlora.bundle/9"}', '["x"]', '{"schema": "whichlora.bundle/1"}'])
def test_a_damaged_bundle_is_one_clear_sentence(original, tmp_path, capsys, text):
    shutil.copy(original / "whichlora.yaml", tmp_path)
    (tmp_path / "bundle.json").write_text(text, encoding="utf-8")
    assert "no bundle" in call(capsys, "evaluate", tmp_path, status=2)
