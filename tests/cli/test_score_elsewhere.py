"""`score` on a folder made elsewhere: prompts from PNG text, sources, honest gaps, exit statuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import typer
from PIL import Image, PngImagePlugin
from typer.testing import CliRunner

from metrics.photos import OWN, PORTRAITS, portrait
from whichlora.cli import score
from whichlora.cli._prompts import edit_of, prompt_of
from whichlora.vision.picture import resized

SOURCE = PORTRAITS / "president-speaking.jpg"
COMFY = json.dumps({
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["9", 0], "negative": ["7", 0]}},
    "9": {"class_type": "FluxKontextImageScale", "inputs": {"conditioning": ["6", 0]}},
    "6": {"class_type": "TextEncodeQwenImageEditPlus", "inputs": {"prompt": ["12", 0], "clip": ["1", 0]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "ugly", "clip": ["1", 0]}},
    "12": {"class_type": "PrimitiveString", "inputs": {"value": "make the person smile"}},
})


def save(path, picture, **text):
    info = PngImagePlugin.PngInfo()
    for key, value in text.items():
        info.add_itxt(key, value)
    Image.fromarray(picture).save(path, pnginfo=info)


def run(*arguments):
    app = typer.Typer()
    app.command()(score.command)
    return CliRunner().invoke(app, [str(word) for word in arguments])


def scored(*arguments):
    result = run(*arguments, "--json")
    document = json.loads(result.stdout)
    assert document["schema"] == "whichlora.score/1"
    return {entry["path"].rsplit("/", 1)[-1].rsplit("\\", 1)[-1]: entry for entry in document["pictures"]}, result


@pytest.mark.parametrize(("text", "prompt"), [
    ({"parameters": "turn left\nNegative prompt: ugly\nSteps: 4, Sampler: Euler, Seed: 1"}, "turn left"),
    ({"parameters": "line one\nline two\nSteps: 4"}, "line one\nline two"),
    ({"parameters": '{"sui_image_params": {"prompt": "a beach", "seed": 1}}'}, "a beach"),
    ({"prompt": COMFY}, "make the person smile"),
    ({"whichlora": '{"prompt": "ours"}', "parameters": "theirs"}, "ours"),
    ({"prompt": "[" * 100_000}, ""),
    ({"prompt": '{"1": {"inputs": {"positive": ["1", 0]}}}'}, ""),
    ({"prompt": '{"1": {"inputs": {"positive": 3}}, "2": 5}'}, ""),
    ({"workflow": "{}"}, ""),
    ({}, ""),
])
def test_prompts_of_other_tools_are_read(text, prompt):
    assert prompt_of(text) == prompt


@pytest.mark.parametrize(("prompt", "family", "target"), [
    ("rotate the camera 45 degrees to the left, keep the same person", "camera", {"yaw_deg": -45}),
    ("将镜头向右旋转45度", "camera", {"yaw_deg": 45}),
    ("turn the camera to the back view", "camera", {"view": "back"}),
    ("Change the background to a sunny beach, keep the person unchanged.", "background", {"background": "beach"}),
    ("relight the picture with warm sunset light", "lighting", {"light": "sunset"}),
    ("Make the person smile, keep everything else the same.", "expression", {"expression": "smile"}),
    ("make it nicer", "trigger", {}),
    ("", "trigger", {}),
    ("rotate the camera to the left", "trigger", {}),  # how far was not said
    ("rotate the camera 45 degrees to the left and make the person smile", "trigger", {}),  # half would look whole
    ("change the background to a forest on a beach", "trigger", {}),
])
def test_edits_are_understood_or_left_open(prompt, family, target):
    assert edit_of(prompt) == (family, target)


def test_a_folder_is_scored_against_its_source(tmp_path):
    source = portrait("president-speaking")
    asked = "rotate the camera 30 degrees to the left"
    save(tmp_path / "done.png", portrait("president-standing"), parameters=asked)  # turned the other way
    save(tmp_path / "mirrored.png", np.ascontiguousarray(source[:, ::-1]), parameters=asked)
    save(tmp_path / "nothing.png", source, parameters=asked)
    save(tmp_path / "somebody.png", portrait("vice-president"), parameters="something else")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG....")
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    entries, result = scored(tmp_path, "--source", SOURCE)
    assert result.exit_code == 0
    assert set(entries) == {"done.png", "mirrored.png", "nothing.png", "somebody.png", "broken.png"}
    assert entries["done.png"]["gates"] == {"valid": True, "edit": True, "identity": True, "artefact": True}
    assert entries["done.png"]["passed"] is True
    assert entries["mirrored.png"]["gates"]["edit"] is False
    assert entries["nothing.png"]["passed"] is False
    assert entries["somebody.png"]["gates"]["identity"] is False
    assert entries["somebody.png"]["gates"]["edit"] is None
    assert entries["broken.png"]["passed"] is False
    assert "broken.png" in entries["broken.png"]["reasons"]["artifacts/valid"]
    for entry in entries.values():
        for name, value in entry["scores"].items():
            assert value is not None or entry["reasons"][name]


def test_what_was_asked_can_be_said(tmp_path):
    save(tmp_path / "a.png", portrait("president-speaking"))
    entries, _ = scored(tmp_path, "--source", SOURCE, "--edit", "camera", "--target", "yaw_deg=30")
    assert entries["a.png"]["target"] == {"yaw_deg": 30}
    assert entries["a.png"]["gates"]["edit"] is False


def test_what_is_missing_is_named(tmp_path):
    save(tmp_path / "silent.png", portrait("president-speaking"))
    save(tmp_path / "odd.png", portrait("president-speaking"), parameters="make it nicer")
    entries, _ = scored(tmp_path, "--source", SOURCE)
    assert "--edit" in entries["silent.png"]["reasons"]["following/trigger"]
    assert "no verifier for this prompt" in entries["odd.png"]["reasons"]["following/trigger"]
    for target, family in (("light=sunset", "lighting"), ("zoom=2", "camera"), ("expression=smile", "expression")):
        assert f"--edit {family}" in run(tmp_path, "--source", SOURCE, "--target", target).output


def test_without_a_source_only_identity_and_validity_are_told(tmp_path):
    refs = tmp_path / "refs"
    refs.mkdir()
    for name in OWN:
        (refs / f"{name}.jpg").write_bytes((PORTRAITS / f"{name}.jpg").read_bytes())
    pictures = tmp_path / "out"
    pictures.mkdir()
    save(pictures / "a.png", portrait("president-smiling"), parameters="make the person smile")
    entries, _ = scored(pictures, "--refs", refs)
    entry = entries["a.png"]
    assert entry["gates"]["identity"] is True
    assert entry["gates"]["edit"] is None
    assert entry["reasons"]["following/expression"] == "not measured: no source was given (--source)"


def test_a_source_of_another_shape_is_not_squeezed(tmp_path):
    save(tmp_path / "a.png", resized(portrait("president-speaking"), 300, 500), parameters="make the person smile")
    entries, _ = scored(tmp_path, "--source", SOURCE)
    assert "shape differs" in entries["a.png"]["reasons"]["following/expression"]


def test_sources_by_name(tmp_path):
    sources, pictures = tmp_path / "sources", tmp_path / "out"
    for folder in (sources, pictures):
        folder.mkdir()
    save(sources / "a.png", portrait("president-speaking"))
    save(pictures / "a.png", portrait("president-speaking"), parameters="make the person smile")
    save(pictures / "b.png", portrait("president-speaking"), parameters="make the person smile")
    entries, _ = scored(pictures, "--source", sources)
    assert entries["a.png"]["gates"]["edit"] is False
    assert "no source" in entries["b.png"]["reasons"]["following/expression"]


def test_fail_under(tmp_path):
    save(tmp_path / "a.png", portrait("president-speaking"), parameters="make the person smile")
    assert run(tmp_path, "--source", SOURCE, "--fail-under", "0.5").exit_code == 1
    assert run(tmp_path, "--source", SOURCE, "--fail-under", "0").exit_code == 0


@pytest.mark.parametrize("arguments", [
    ("nowhere",), ("EMPTY",), ("PICTURES",), ("PICTURES", "--source", "nowhere.png"),
    ("PICTURES", "--source", "SOURCE", "--edit", "dance"), ("PICTURES", "--source", "SOURCE", "--target", "yaw_deg=4"),
    ("PICTURES", "--source", "SOURCE", "--edit", "camera", "--target", "yaw"),
    ("PICTURES", "--source", "SOURCE", "--edit", "camera", "--target", "yaw_deg=nan"),
    ("PICTURES", "--source", "SOURCE", "--subject", "dragon"), ("PICTURES", "--source", "SOURCE", "--fail-under", "3"),
    ("PICTURES", "--refs", "EMPTY"), ("PICTURES", "--source", "EMPTY"),
])
def test_wrong_input_is_one_sentence_and_status_two(tmp_path, arguments):
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures").mkdir()
    save(tmp_path / "pictures" / "a.png", portrait("president-speaking"))
    places = {"EMPTY": tmp_path / "empty", "PICTURES": tmp_path / "pictures", "SOURCE": SOURCE}
    result = run(*(places.get(word, word) for word in arguments))
    assert result.exit_code == 2
    assert "Traceback" not in result.output
