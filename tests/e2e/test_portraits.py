"""The whole chain on real portraits, with the weightless family: files in, decision and report out."""

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from families.painters import base, lora

PORTRAITS = Path(__file__).parent.parent / "data" / "portraits"
OWN = ("president-smiling.jpg", "president-speaking.jpg", "president-standing.jpg")


def whichlora(*words, cwd=None, status=0):
    done = subprocess.run([sys.executable, "-m", "whichlora.cli.main", *map(str, words)], capture_output=True,
                          text=True, encoding="utf-8", cwd=cwd)
    assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def set_candidates(project, candidates, **changes):
    path = project / "whichlora.yaml"
    suite = yaml.safe_load(path.read_text(encoding="utf-8"))
    suite.update(candidates=candidates, **changes)
    path.write_text(yaml.safe_dump(suite, allow_unicode=True), encoding="utf-8")


EDITS = [
    {"name": "sunset", "family": "lighting", "target": {"light": "sunset"},
     "prompt": "Relight the photograph with warm sunset light."},
    {"name": "beach", "family": "background", "target": {"background": "beach"},
     "prompt": "Change the background to a sunny beach."},
]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with a base that does little, one good candidate, one that loses the person, and files to refuse."""
    root = tmp_path_factory.mktemp("portraits")
    painter = base(root / "painter", strengths={"lighting": 0.1, "background": 0.1})
    folder = root / "pres"
    whichlora("init", folder, "--refs", *(PORTRAITS / name for name in OWN), "--base", painter, "--family", "painter",
              "--impostors", PORTRAITS / "vice-president.jpg")
    lora(folder / "loras" / "good.safetensors", lighting=0.9, background=0.9)
    lora(folder / "loras" / "镜头 stranger.safetensors", lighting=0.9, background=0.9, identity_damage=1.0)
    lora(folder / "loras" / "zero.safetensors", lighting=0.0)
    (folder / "loras" / "page.safetensors").write_bytes(b"<!DOCTYPE html><title>Sign in</title>" * 9)
    shutil.copyfile(folder / "loras" / "good.safetensors", folder / "loras" / "twin.safetensors")
    set_candidates(folder, [
        {"name": "good", "loras": "good.safetensors"},
        {"name": "stranger", "loras": "镜头 stranger.safetensors"},
        {"name": "zero", "loras": "zero.safetensors"},
        {"name": "page", "loras": "page.safetensors"},
        {"name": "twin", "loras": "twin.safetensors"},
    ], edits=EDITS, must_have=["lighting", "background"], seeds=[1])
    return folder


@pytest.fixture(scope="module")
def answer(project):
    done = whichlora("evaluate", project, "--json", "--markdown", project / "docs" / "results.md")
    return json.loads(done.stdout)


def rows(answer):
    return {row["name"]: row for row in answer["candidates"]}


def test_the_good_candidate_leads_and_the_stranger_does_not(answer):
    found = rows(answer)
    assert found["good"]["ccr"]["value"] > found["base"]["ccr"]["value"]
    assert found["good"]["ccr"]["value"] > found["stranger"]["ccr"]["value"]
    assert answer["verdict"]["candidate"] != "stranger"


def test_controls_behave(answer):
    found = rows(answer)
    assert found["do-nothing"]["ccr"]["value"] == 0
    assert found["other-person"]["ccr"]["value"] == 0


def test_what_was_refused_is_not_in_the_matrix(answer):
    refused = {row["name"]: row["reason"] for row in answer["refused"]}
    assert set(refused) == {"zero", "page", "twin"}
    assert "good" in refused["twin"]
    assert not set(refused) & set(rows(answer))


def test_three_photographs_make_no_firm_verdict(answer):
    assert not answer["verdict"]["firm"]


def test_reports_are_there(project, answer):
    page = Path(answer["report"])
    assert page.is_file()
    assert "good" in page.read_text(encoding="utf-8") + (page.parent / "data.js").read_text(encoding="utf-8")
    assert "good" in (project / "docs" / "results.md").read_text(encoding="utf-8")


def test_a_second_run_makes_nothing_anew_and_changed_settings_are_new_cells(project, answer):
    again = json.loads(whichlora("run", project, "--json").stdout)
    assert again["cells"]["done"] == answer["cells"]["done"]
    before = sum(1 for _ in (project / "images").rglob("*.png"))
    plan = json.loads(whichlora("plan", project, "--json").stdout)
    assert plan["cells"] == answer["cells"]["planned"]
    suite = yaml.safe_load((project / "whichlora.yaml").read_text(encoding="utf-8"))
    suite["candidates"][0]["loras"] = "good.safetensors:0.5"
    (project / "whichlora.yaml").write_text(yaml.safe_dump(suite, allow_unicode=True), encoding="utf-8")
    whichlora("run", project, "--json")
    assert sum(1 for _ in (project / "images").rglob("*.png")) > before


def test_swapped_files_swap_the_verdict(project, answer, tmp_path):
    """The verdict follows the content of the files, not their names."""
    swapped = tmp_path / "swapped"
    shutil.copytree(project, swapped, ignore=shutil.ignore_patterns("store.sqlite*", "images", "report", ".lock"))
    good, bad = swapped / "loras" / "good.safetensors", swapped / "loras" / "镜头 stranger.safetensors"
    good_bytes, bad_bytes = good.read_bytes(), bad.read_bytes()
    good.write_bytes(bad_bytes)
    bad.write_bytes(good_bytes)
    set_candidates(swapped, [{"name": "good", "loras": good.name}, {"name": "stranger", "loras": bad.name}])
    found = rows(json.loads(whichlora("evaluate", swapped, "--json").stdout))
    assert found["stranger"]["ccr"]["value"] > found["good"]["ccr"]["value"]


def test_an_exchanged_picture_is_not_scored_under_another_name(project, answer, tmp_path):
    """Bytes that are not those that were made are refused, and the next run makes the picture again."""
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    pictures = sorted((copy / "images").rglob("*.png"))
    for picture in pictures[1:]:
        shutil.copyfile(pictures[0], picture)
    with sqlite3.connect(copy / "store.sqlite") as rows:
        rows.execute("DELETE FROM scores")
    rows.close()
    done = whichlora("score", copy, status=2)
    assert "whichlora run" in done.stderr
    whichlora("run", copy, "--json")
    whichlora("score", copy, "--json")
