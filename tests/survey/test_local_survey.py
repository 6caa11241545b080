"""Files on this disk: ComfyUI's folders, its extra paths, the Hub's cache, hostile and broken files."""

from pathlib import Path

import pytest

from hub.client import answer, environment, whichlora
from hub.server import lora_tensors, safetensors_header
from whichlora.survey import places
from whichlora.survey.bases import EDIT_2509, EDIT_2511
from whichlora.survey.lists import assess
from whichlora.survey.local import survey_local


def write_lora(path, metadata=None, **how):
    """A small but whole LoRA file: few blocks, true shapes."""
    head, size = safetensors_header(lora_tensors(blocks=3, **how), metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "none"))
    for name in ("COMFYUI_PATH", "COMFYUI_HOME"):
        monkeypatch.delenv(name, raising=False)


def verdicts(folder):
    assessed = assess(survey_local(places.discover(folder, home=folder / "home")), EDIT_2509)
    return {Path(item.entry.repo_id).name: item for item in assessed}


def test_a_comfyui_folder_is_read(tmp_path):
    comfy = tmp_path / "ComfyUI"
    write_lora(comfy / "models/loras/qwen/镜头转换.safetensors")
    write_lora(comfy / "models/loras/next.safetensors", {"modelspec.architecture": "Qwen-Image-Edit-Plus/lora",
                                                        "ss_network_dim": "16", "ss_steps": "900"})
    write_lora(comfy / "models/loras/newer.safetensors", {"modelspec.architecture": "Qwen-Image-Edit-2511/lora"})
    write_lora(comfy / "models/loras/foreign.safetensors", width=4096, modules=("attn.to_q",))
    (comfy / "models/loras/broken.safetensors").write_bytes(b"\x80\x02pickle" * 200_000)
    write_lora(comfy / "models/vae/vae.safetensors")
    found = verdicts(comfy)
    assert {name: item.verdict.verdict for name, item in found.items()} == {
        "镜头转换.safetensors": "compatible",  # the catalogue knows the name
        "next.safetensors": "compatible", "newer.safetensors": "unknown", "foreign.safetensors": "incompatible",
        "broken.safetensors": "incompatible",
    }
    assert found["next.safetensors"].entry.training.steps == 900
    assert found["newer.safetensors"].verdict.base_id == EDIT_2511
    assert found["镜头转换.safetensors"].relevance["angle"].value == 5


def test_extra_model_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_MODELS", str(tmp_path / "by-variable"))
    for place in ("a", "b", "by-variable/c", "rel"):
        write_lora(tmp_path / place / "x.safetensors")
    text = f"""
comfyui:
    base_path: {tmp_path}
    is_default: true
    loras: |
        a
        b
    checkpoints: models/checkpoints
other:
    loras: $MY_MODELS/c
    vae:
relative:
    unet: rel
broken: 3
"""
    yaml = tmp_path / "extra_model_paths.yaml"
    yaml.write_text(text, encoding="utf-8")
    assert places.read_extra_paths(yaml) == [
        (tmp_path / "a", "loras"), (tmp_path / "b", "loras"), (tmp_path / "by-variable/c", "loras"),
        (tmp_path / "rel", "diffusion_models"),
    ]
    found = places.files_in(places.discover(yaml, home=tmp_path / "home"))
    assert [(file.path.parent.name, file.kind) for file in found] == [
        ("a", "loras"), ("b", "loras"), ("c", "loras"), ("rel", "diffusion_models")]


@pytest.mark.parametrize("text", ["[", "just words", "- list", "\x00", "a: &a [*a]"])
def test_a_broken_paths_file_is_a_note_not_a_crash(tmp_path, text):
    yaml = tmp_path / "extra_model_paths.yaml"
    yaml.write_text(text, encoding="utf-8")
    found = places.discover(yaml, home=tmp_path / "home")
    assert found.folders == ()


def test_the_hubs_cache_is_read_with_its_hashes(tmp_path, monkeypatch):
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    repo = cache / "models--dx8152--Qwen-Image-Edit-2509-Relight"
    blob = write_lora(repo / "blobs" / ("b" * 64))
    pointer = repo / "snapshots" / ("c" * 40) / "sub" / "Relight.safetensors"
    pointer.parent.mkdir(parents=True)
    pointer.symlink_to(blob)
    (pointer.parent / "dangling.safetensors").symlink_to(repo / "blobs" / "gone")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    found = places.files_in(places.discover(home=tmp_path / "home"))
    assert [(file.repo_id, file.file, file.sha256, file.place) for file in found] == [
        ("dx8152/Qwen-Image-Edit-2509-Relight", "sub/Relight.safetensors", "b" * 64, "Hub cache")]
    item = assess(survey_local(places.discover(home=tmp_path / "home")), EDIT_2509)[0]
    assert (item.list, item.verdict.verdict) == ("must", "compatible")


def test_a_peft_save_declares_its_base_beside_the_file(tmp_path):
    write_lora(tmp_path / "loras/run/adapter_model.safetensors", prefix="base_model.model.")
    (tmp_path / "loras/run/adapter_config.json").write_text(
        '{"base_model_name_or_path": "Qwen/Qwen-Image-Edit-2509", "r": 16}', encoding="utf-8")
    assert verdicts(tmp_path)["adapter_model.safetensors"].verdict.verdict == "compatible"


@pytest.mark.timeout(30)
def test_a_folder_that_links_to_itself_ends(tmp_path):
    """Three links back up would be walked 3^n ways."""
    write_lora(tmp_path / "loras/a.safetensors")
    for name in ("loop1", "loop2", "loop3"):
        (tmp_path / "loras" / name).symlink_to(tmp_path / "loras", target_is_directory=True)
    assert list(verdicts(tmp_path)) == ["a.safetensors"]


def test_local_survey_by_the_command_line(tmp_path):
    write_lora(tmp_path / "loras/qwen_edit_2509_camera.safetensors")
    env = environment("http://127.0.0.1:9", tmp_path)
    done = whichlora(["survey", "--local", str(tmp_path / "loras"), "--json"], env, tmp_path)
    entry = answer(done)["entries"][0]
    assert (done.returncode, entry["verdict"], entry["list"]) == (0, "compatible", "must")
    missing = whichlora(["survey", "--local", "nowhere"], env, tmp_path)
    assert (missing.returncode, "nowhere" in missing.stderr) == (2, True)
