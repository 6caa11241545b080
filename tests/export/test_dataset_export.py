"""A data set holds accepted pictures only, in layouts that their readers read, and says where everything came from."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from export import projects
from whichlora.cli.main import main
from whichlora.review.votes import PairVote, Rating, to_row
from whichlora.vision.picture import open_picture


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """'sharp' passed everywhere but for one cell that fails identity; 'soft' passed everywhere."""
    project = projects.painted(tmp_path_factory.mktemp("painted"))
    lost = project.cells("sharp")[0]
    project.pass_all("sharp", "soft", but={lost: "identity"})
    project.conclude("sharp")
    return project


def export(capsys, folder, *words, status=0):
    """Run the verb; its JSON document, or the sentence on stderr when it fails."""
    try:
        main(["export", str(folder), *words, "--json"])
        code = 0
    except SystemExit as error:
        code = error.code
    captured = capsys.readouterr()
    assert code == status, captured.err
    return json.loads(captured.out) if not status else captured.err


def test_only_passed_pictures_of_the_recommended_set_up_are_taken(finished, tmp_path, capsys):
    document = export(capsys, finished.folder, "dataset", "--to", str(tmp_path / "out"))["dataset"]
    taken = finished.cells("sharp")[1:]
    manifest = json.loads((tmp_path / "out" / "dataset" / "manifest.json").read_text(encoding="utf-8"))
    assert [item["cell"] for item in manifest["items"]] == taken
    assert document["pairs"] == len(taken)
    assert manifest["left_out"] == {"identity not passed": 1}
    assert manifest["review"].startswith("Nobody has judged")
    assert manifest["licences"] == {"mit": ["sharp"]}
    with finished.store() as store:
        for item in manifest["items"]:
            data = (tmp_path / "out" / "dataset" / item["image"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == item["image_sha256"] == store.generations()[item["cell"]].image
            for control in item["controls"]:
                file = tmp_path / "out" / "dataset" / control["file"]
                assert hashlib.sha256(file.read_bytes()).hexdigest() == control["sha256"]
                source = next(p for p in finished.plan.sources if p.id == control["photograph"])
                assert control["photograph_sha256"] == source.sha256
                assert np.array_equal(np.asarray(Image.open(file)), open_picture(finished.folder / source.path))
    use = manifest["set_ups"][0]["adapters"][0]
    assert use["sha256"] == hashlib.sha256((finished.folder / "loras" / "sharp.safetensors").read_bytes()).hexdigest()
    assert use["weight"] == 0.9


def test_captions_carry_the_new_trigger_and_not_the_old_loras(finished, tmp_path, capsys):
    export(capsys, finished.folder, "dataset", "--to", str(tmp_path / "out"), "--trigger", "zmina")
    manifest = json.loads((tmp_path / "out" / "dataset" / "manifest.json").read_text(encoding="utf-8"))
    prompts = {case.id: case.prompt for case in finished.plan.cases}
    cases = {cell.id: cell.case for cell in finished.plan.cells}
    for item in manifest["items"]:
        assert item["caption"] == f"zmina {prompts[cases[item['cell']]]}"
        assert item["instruction"] == f"<sks> {prompts[cases[item['cell']]]}"
        for layout in ("musubi", "ai-toolkit"):
            text = (tmp_path / "out" / "dataset" / layout / "images" / f"{item['name']}.txt").read_text("utf-8")
            assert text.strip() == item["caption"]


def test_no_photograph_keeps_its_metadata(finished, tmp_path, capsys):
    assert b"Elm Street" in (finished.folder / "refs" / "photo0.png").read_bytes(), "the test needs something to lose"
    export(capsys, finished.folder, "dataset", "--to", str(tmp_path / "out"))
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) > 40
    assert not [path for path in files if b"Elm Street" in path.read_bytes()]


def test_hugging_face_datasets_reads_the_imagefolder(finished, tmp_path, capsys, monkeypatch):
    datasets = pytest.importorskip("datasets")
    export(capsys, finished.folder, "dataset", "--to", str(tmp_path / "out"), "--layout", "imagefolder")
    root = tmp_path / "out" / "dataset"
    assert {path.name for path in root.iterdir()} == {"imagefolder", "pictures", "manifest.json", "README.md"}
    manifest = json.loads((root / "manifest.json").read_text(encoding="utf-8"))
    read = datasets.load_dataset("imagefolder", data_dir=str(root / "imagefolder"), cache_dir=str(tmp_path / "cache"),
                                 split="train")
    assert len(read) == len(manifest["items"])
    by_text = {(row["text"], row["photograph"], row["seed"]): row for row in read}
    for item in manifest["items"]:
        row = by_text[item["caption"], item["controls"][0]["photograph"], str(item["seed"])]
        assert np.array_equal(np.asarray(row["image"]), np.asarray(Image.open(root / item["image"])))
        control = row["control"] if "control" in row else row["control_file_name"]
        assert np.array_equal(np.asarray(control), np.asarray(Image.open(root / item["controls"][0]["file"])))
        assert row["capability"] == item["capability"]


def test_settings_files_parse_and_point_into_the_export(finished, tmp_path, capsys, monkeypatch):
    """The painter's base has no trainer; under a name that has one, both files are written."""
    import dataclasses

    from whichlora.plan.codec import plan_to_json

    base = dataclasses.replace(finished.plan.base, id="Qwen/Qwen-Image-Edit-2509")
    with finished.store() as store:
        store.add_document("plan", plan_to_json(dataclasses.replace(finished.plan, base=base)))
    try:
        export(capsys, finished.folder, "dataset", "--to", str(tmp_path / "out"))
    finally:
        with finished.store() as store:
            store.add_document("plan", plan_to_json(finished.plan))
    root = tmp_path / "out" / "dataset"
    data = tomllib.loads((root / "musubi" / "dataset.toml").read_text(encoding="utf-8"))
    for key in ("image_directory", "control_directory"):
        assert (root / "musubi" / data["datasets"][0][key]).is_dir()
    train = {key: value for part in tomllib.loads((root / "musubi" / "train.toml").read_text("utf-8")).values()
             for key, value in part.items()}
    assert set(train) <= MUSUBI_ARGUMENTS, set(train) - MUSUBI_ARGUMENTS
    assert set(data["general"]) | set(data["datasets"][0]) <= MUSUBI_DATA_KEYS
    assert train["model_version"] == "edit-2509"
    assert 16 <= train["blocks_to_swap"] < 60
    assert train["gradient_checkpointing"], "its H2D-only swap needs it"
    job = yaml.safe_load((root / "ai-toolkit" / "train_32gb.yaml").read_text(encoding="utf-8"))
    process = job["config"]["process"][0]
    assert process["model"]["name_or_path"] == "Qwen/Qwen-Image-Edit-2509"
    assert process["model"]["arch"] == "qwen_image_edit_plus"
    assert isinstance(process["train"]["lr"], float)
    place = process["datasets"][0]
    for folder in (place["folder_path"], *place["control_path"]):
        assert (root / "ai-toolkit" / folder).is_dir()
    names = {path.stem for path in (root / "ai-toolkit" / place["folder_path"]).glob("*.png")}
    assert names == {path.stem for path in (root / "ai-toolkit" / place["control_path"][0]).glob("*.png")}
    assert all((root / "ai-toolkit" / sample["ctrl_img_1"]).is_file() for sample in process["sample"]["samples"])
    for section, known in AI_TOOLKIT_KEYS.items():
        part = process["datasets"][0] if section == "datasets" else process[section]
        assert set(part) <= known, (section, set(part) - known)


MUSUBI_ARGUMENTS = frozenset(re.findall(r"\w+", """
    model_version dit vae text_encoder fp8_base fp8_scaled blocks_to_swap block_swap_h2d_only sdpa mixed_precision
    network_module network_dim network_alpha dataset_config max_train_steps learning_rate optimizer_type
    gradient_checkpointing timestep_sampling weighting_scheme max_data_loader_n_workers persistent_data_loader_workers
    seed output_dir output_name save_every_n_steps
"""))
"""Of the arguments in musubi-tuner 0.3.4's parsers (training/parser_common.py, qwen_image_train_network.py)."""
MUSUBI_DATA_KEYS = frozenset(re.findall(r"\w+", """
    resolution caption_extension batch_size num_repeats enable_bucket bucket_no_upscale image_directory
    control_directory cache_directory control_resolution no_resize_control
"""))
"""Of the keys in its dataset/config_utils.py, which refuses any other."""
AI_TOOLKIT_KEYS = {
    "network": {"type", "linear", "linear_alpha"},
    "save": {"dtype", "save_every", "max_step_saves_to_keep"},
    "datasets": {"folder_path", "control_path", "caption_ext", "caption_dropout_rate", "resolution"},
    "train": set(re.findall(r"\w+", """batch_size cache_text_embeddings steps gradient_accumulation timestep_type
                 train_unet train_text_encoder gradient_checkpointing noise_scheduler optimizer lr dtype""")),
    "model": {"name_or_path", "arch", "quantize", "qtype", "quantize_te", "qtype_te", "low_vram"},
}
"""Of the keys in ai-toolkit's toolkit/config_modules.py and its example for 32 GB."""


def test_peoples_votes_decide_once_there_are_any(tmp_path, capsys):
    project = projects.painted(tmp_path / "voted")
    project.pass_all("sharp", "soft")
    project.conclude("sharp")
    good, bad, split, pairwise, *others = project.cells("sharp")

    def rating(name, rater, cell, value):
        return to_row(Rating(name, rater, "2026-01-01T00:00:00Z", cell, value, 5))

    with project.store() as store:
        store.add_votes([
            rating("a", "ada", good, 5), rating("b", "ada", bad, 2), rating("c", "ada", split, 5),
            rating("d", "bob", split, 1),
            to_row(PairVote("e", "ada", "2026-01-01T00:00:00Z", "identity", pairwise, project.cells("soft")[0],
                            "both-bad", "random", 1.0)),
        ])
    document = export(capsys, project.folder, "dataset", "--to", str(tmp_path / "out"))["dataset"]
    manifest = json.loads((tmp_path / "out" / "dataset" / "manifest.json").read_text(encoding="utf-8"))
    assert [item["cell"] for item in manifest["items"]] == [good]
    assert document["left_out"] == {"rejected by people": 3, "judged by nobody": len(others)}
    assert document["review"] == "People accepted every one of these pictures."
    wider = export(capsys, project.folder, "dataset", "--to", str(tmp_path / "wide"), "--unreviewed")["dataset"]
    assert wider["pairs"] == 1 + len(others)
    assert "nobody looked at the others" in wider["review"]


def test_nothing_worth_learning_is_refused_with_the_reasons(tmp_path, capsys):
    project = projects.painted(tmp_path / "unscored")
    said = export(capsys, project.folder, "dataset", "--to", str(tmp_path / "out"), status=1)
    assert "valid not known" in said or "not scored" in said or "not known" in said
    assert not (tmp_path / "out").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".out")]


def test_an_existing_folder_is_left_alone(finished, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    said = export(capsys, finished.folder, "dataset", "--to", str(tmp_path / "out"), status=2)
    assert "not empty" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_place_that_cannot_be_is_one_sentence_and_a_link_is_followed(finished, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_bytes(b"")

    def kohya(to, status=0):
        words = ("dataset", "--layout", "kohya", "--to", str(to))
        return " ".join(str(export(capsys, finished.folder, *words, status=status)).split())

    assert "is no folder" in kohya(tmp_path / "file", 2)
    assert "is no folder" in kohya(tmp_path / "file" / "deep" / "x", 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, _mode: Path(path) != tmp_path)
        assert "may not be written" in kohya(tmp_path / "deep" / "x", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    (tmp_path / "link").symlink_to(tmp_path / "not there yet")
    kohya(tmp_path / "link")
    assert (tmp_path / "not there yet" / "dataset" / "manifest.json").is_file()
    assert (tmp_path / "link").is_symlink()


def test_a_disk_that_fails_half_way_leaves_nothing(finished, tmp_path, capsys, monkeypatch):
    real = Path.write_bytes
    calls = []

    def fails(self, data):
        calls.append(self)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", fails)
    said = export(capsys, finished.folder, "dataset", "--to", str(tmp_path / "out"), status=3)
    assert "disk is full" in said
    assert list(tmp_path.iterdir()) == []


def test_a_changed_photograph_is_refused(tmp_path, capsys):
    project = projects.painted(tmp_path / "changed")
    project.pass_all("sharp")
    project.conclude("sharp")
    projects.photograph(project.folder / "refs" / "photo0.png", 99)
    said = export(capsys, project.folder, "dataset", "--to", str(tmp_path / "out"), status=2)
    assert "has changed" in said


def test_dry_run_writes_nothing_and_tells_the_same(finished, tmp_path, capsys):
    document = export(capsys, finished.folder, "dataset", "--to", str(tmp_path / "out"), "--dry-run")
    assert document["dataset"]["pairs"] == len(finished.cells("sharp")) - 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("words", "message"), [
    (["datasets"], "dataset"), (["dataset", "--candidate", "shrap"], "sharp"),
    (["dataset", "--layout", "kohja"], "kohya"),
])
def test_misspelt_words_name_their_neighbours(finished, tmp_path, capsys, words, message):
    assert message in export(capsys, finished.folder, *words, "--to", str(tmp_path / "out"), status=2)
    assert list(tmp_path.iterdir()) == []
