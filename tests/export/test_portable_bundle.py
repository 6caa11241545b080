"""A bundle holds every measured row and no folder of this machine, and a stranger's bundle is read with distrust."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import pytest

from export import projects
from export.test_bundle_export import call, pixels, repeat
from families import painters
from whichlora.cli.init import create_project
from whichlora.cli.project import draft_rows, identify_base, library_versions, make_plan, open_project
from whichlora.cli.stages import stored_plan
from whichlora.export.bundle import write_bundle
from whichlora.export.portable import inside
from whichlora.plan.codec import plan_to_json
from whichlora.run.pictures import photograph_reader
from whichlora.run.runner import run_plan
from whichlora.store import Store
from whichlora.suite.combinations import save_combinations
from whichlora.suite.loading import load_suite
from whichlora.suite.schema import CandidateSpec
from whichlora.types import AdapterUse


def make(folder):
    """Make every picture; refused rows are left out as `run` does."""
    project = open_project(folder)
    family, base = identify_base(project, "cpu")
    rows, refused = draft_rows(project, family, base)
    plan = make_plan(project, base, rows, refused, library_versions(base.family))
    with Store(folder, create=True) as store:
        store.add_document("plan", plan_to_json(plan))
        run_plan(plan, store, family.load(base, "cpu"), photograph_reader(plan, folder))
    return refused


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """LoRAs inside a folder of the project, outside of it, and twice under one name; a stack of `combine`, one of
    `watch`, a merge, a row that is refused; and the project moved after it was made."""
    root = tmp_path_factory.mktemp("original")
    photos = [projects.photograph(root / f"photo{seed}.png", seed) for seed in range(2)]
    (root / "somebody's disk").mkdir()
    away = painters.lora(root / "somebody's disk" / "soft.safetensors", background=0.4)
    folder = root / "first place"
    create_project(
        folder, photos, [], template="figure",
        head={"name": "mina", "base": {"family": "painter", "location": str(painters.base(root / "base", faces=False))},
              "subject": "other", "sources": {"count": 1}},
        candidates=[
            {"name": "sharp", "loras": "toy--one/光.safetensors:0.9"}, {"name": "soft", "loras": str(away)},
            {"name": "other soft", "loras": "soft.safetensors:-0.5"},
            {"name": "twin", "loras": "toy--one/光.safetensors:0.9"},
        ],
    )
    (folder / "loras" / "toy--one").mkdir()
    painters.lora(folder / "loras" / "toy--one" / "光.safetensors", camera=0.7)
    painters.lora(folder / "loras" / "soft.safetensors", lighting=0.3)
    save_combinations(folder / "combinations.yaml", [
        CandidateSpec(name="both", loras=f"toy--one/光.safetensors:0.9 + {away}:0.8", both_ways=False)])
    save_combinations(folder / "watched.yaml", [CandidateSpec(name="late", loras="toy--one/光.safetensors:0.4")])
    assert [row["name"] for row in make(folder)] == ["twin"]
    return folder.rename(root / "moved")


def filled(original, bundle):
    """Put the LoRA files where the bundle's page says."""
    there = {path.name: path for path in original.rglob("*.safetensors")}
    away = original.parent / "somebody's disk" / "soft.safetensors"
    for item in json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))["loras"]:
        target = bundle / "loras" / item["written"]
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in (*there.values(), away):
            shutil.copy(path, target)
            if hashlib.sha256(target.read_bytes()).hexdigest() == item["sha256"]:
                break
        assert f"`{item['written']}`" in (bundle / "README.md").read_text(encoding="utf-8")
    return bundle


def test_rows_of_combine_and_watch_and_files_of_other_folders_are_repeated(original, tmp_path, capsys):
    call(capsys, "export", original, "bundle", "--with-photos", "--to", tmp_path / "out")
    bundle = filled(original, tmp_path / "out" / "bundle")
    names = [row.name for row in load_suite(bundle / "whichlora.yaml").candidates]
    assert names == ["sharp", "soft", "other soft", "both", "late"]
    found = repeat(bundle).document
    assert found == {"expected": len(pixels(original)), "same_cells": len(pixels(original)),
                     "same_pixels": len(pixels(original)), "different": [], "why": []}


def test_no_file_of_a_bundle_names_a_folder_of_this_machine(original, tmp_path, capsys):
    """But for a base that nothing names otherwise, which is told."""
    told = call(capsys, "export", original, "bundle", "--to", tmp_path / "out")["bundle"]
    base = str(original.parent / "base")
    assert told["local_base"].startswith(base)
    for path in (tmp_path / "out" / "bundle").rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8").replace(told["local_base"], "")
            assert str(original.parent) not in text, path
            assert "somebody" not in text, path


def test_the_place_of_a_merged_file_is_not_passed_on(original, tmp_path):
    with Store(original) as store:
        plan = stored_plan(store)
    merged = AdapterUse("m", str(original / "merged" / "m.safetensors"), "0" * 64)
    rows = tuple(replace(row, combine="cat/1", merged=merged) if row.name == "both" else row for row in plan.candidates)
    write_bundle(tmp_path, replace(plan, candidates=rows), original, ({}, None), with_photos=False)
    assert str(original.parent) not in (tmp_path / "plan.json").read_text(encoding="utf-8")


def test_the_photographs_that_were_edited_are_named(original, tmp_path, capsys):
    call(capsys, "export", original, "bundle", "--to", tmp_path / "out")
    suite = load_suite(tmp_path / "out" / "bundle" / "whichlora.yaml")
    with Store(original) as store:
        sources = [item["path"] for item in store.document("plan")["sources"]]
    assert [f"refs/{name}" for name in suite.sources.files] == sources


def test_a_suite_that_was_edited_since_is_told(original, tmp_path, capsys):
    project = shutil.copytree(original, tmp_path / "p")
    suite = project / "whichlora.yaml"
    text = suite.read_text(encoding="utf-8")
    suite.write_text(text.replace("soft.safetensors:-0.5", "soft.safetensors:-0.5 + toy--one/光.safetensors"),
                     encoding="utf-8")
    assert "edited since" in call(capsys, "export", project, "bundle", "--to", tmp_path / "out", status=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [
    "/etc/passwd", "../x.png", "refs/../../x.png", "C:/x.png", "\\\\host\\x.png", "a\\..\\..\\x", "", "a\0b",
])
def test_names_that_leave_the_folder_are_seen(name):
    assert not inside(name)
    assert inside("refs/光 影.png")


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda d: d["photos"][0].update(path="../../secret.png"), "points out of the bundle"),
    (lambda d: d["loras"][0].update(written="/etc/passwd"), "points out of the bundle"),
    (lambda d: d["loras"][0].update(sha256="x"), "no bundle"),
    (lambda d: d["loras"][0].update(written=["a"]), "no bundle"),
    (lambda d: d.update(photos={"a": 1}), "no bundle"),
    (lambda d: d.update(cells=[1]), "no bundle"),
    (lambda d: d["cells"].update(x={"status": "done"}), "no bundle"),
    (lambda d: d["cells"].update(x={"status": "done", "pixels": 3}), "no bundle"),
    (lambda d: d.update(libraries=None), "no bundle"),
    (lambda d: d["base"].pop("fingerprint"), "no bundle"),
])
def test_a_spoilt_bundle_is_refused_before_anything_is_made(original, tmp_path, capsys, spoil, said):
    call(capsys, "export", original, "bundle", "--with-photos", "--to", tmp_path / "out")
    bundle = tmp_path / "out" / "bundle"
    document = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    spoil(document)
    (bundle / "bundle.json").write_text(json.dumps(document), encoding="utf-8")
    assert said in " ".join(call(capsys, "evaluate", bundle, status=2).split())
    assert not (bundle / "store.sqlite").exists()


def test_a_photograph_whose_pixels_were_touched_is_told(original, tmp_path, capsys):
    call(capsys, "export", original, "bundle", "--with-photos", "--to", tmp_path / "out")
    bundle = filled(original, tmp_path / "out" / "bundle")
    photo = bundle / "refs" / "photo0.png"
    photo.write_bytes(photo.read_bytes() + b"x")
    assert "photo0.png is another picture" in " ".join(call(capsys, "evaluate", bundle, status=2).split())
