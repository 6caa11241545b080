"""`report --against`, limits and weights through the command line, on recorded worlds."""

import json
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))
from lab.pages import plain
from lab.planted import FOLDER
from lab.recorded import load, restore

from whichlora.cli.main import main


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """An earlier project, and one whose LoRA 'noise' has become good."""
    folder = tmp_path_factory.mktemp("against")
    world = load(FOLDER / "03-one-existing.json")
    del world["cells"]["style"]
    restore(world, folder / "old")
    world["cells"]["noise"] = world["cells"]["angles"]
    restore(world, folder / "new")
    return folder


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch):
    monkeypatch.setattr("whichlora.report.plots.PLOTS", {})  # they have a test of their own


def call(capsys, *words):
    try:
        main([str(word) for word in words])
    except SystemExit as left:
        status = left.code or 0
    else:
        status = 0
    return status, capsys.readouterr()


def test_changes_reach_json_page_and_markdown(projects, capsys):
    status, said = call(capsys, "report", projects / "new", "--against", projects / "old", "--json",
                        "--markdown", projects / "new.md")
    assert status == 0, said.err
    document = json.loads(said.out)
    gains = {(c["row"], c["capability"]) for c in document["against"]["changes"] if c["better"]}
    assert ("noise", "overall") in gains
    assert not [row for row, _ in gains if row != "noise"]
    folder = projects / "new" / "report"
    stored = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    assert stored["against"]["project"] == "one-existing"
    page = plain((folder / "index.html").read_text(encoding="utf-8"))
    markdown = (projects / "new.md").read_text(encoding="utf-8")
    sentence = next(line for line in stored["against"]["sentences"] if line.startswith("noise over all"))
    assert sentence in page
    assert "Since the earlier project" in markdown
    assert "a shown gain" in markdown


def test_refusals_are_one_sentence_and_leave_the_report_alone(projects, capsys, tmp_path):
    folder = projects / "new" / "report"
    before = (folder / "index.html").read_bytes() if folder.exists() else None
    for old, words in ((tmp_path, "no store.sqlite"), (projects / "new", "this project itself")):
        status, said = call(capsys, "report", projects / "new", "--against", old)
        assert status == 2
        assert words in " ".join(said.err.split())
    other = load(FOLDER / "19-few-photographs.json")
    restore(other, tmp_path / "few")
    status, said = call(capsys, "report", projects / "new", "--against", tmp_path / "few")
    assert status == 2
    assert "the photographs differ (0 only then, 16 only now)" in " ".join(said.err.split())
    assert (folder / "index.html").read_bytes() == before if before else True


def damage(folder, how):
    """A damaged copy of a store, as a bad disk or another version leaves it."""
    path = folder / "store.sqlite"
    if how == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "pages":
        body = bytearray(path.read_bytes())
        body[3 * 4096 : 20 * 4096] = b"Z" * (17 * 4096)
        path.write_bytes(body)
    else:
        with closing(sqlite3.connect(path)) as db, db:
            if how == "newer":
                db.execute("PRAGMA user_version=99")
            else:
                db.execute("UPDATE documents SET body=? WHERE name='plan'", (how,))


@pytest.mark.parametrize(("how", "words"), [
    ("cut", "not a store that whichlora can read"), ("pages", "is damaged: database disk image is malformed"),
    ("newer", "written by a newer whichlora"), ("{}", "of another version of whichlora"),
    ('{"project": "x", "base": 7}', "of another version of whichlora"), ('{"project', "holds as 'plan' is damaged"),
])
def test_a_damaged_earlier_project_is_named_and_not_the_good_one(projects, capsys, tmp_path, how, words):
    old = tmp_path / "before"
    shutil.copytree(projects / "old", old)
    damage(old, how)
    status, said = call(capsys, "report", projects / "new", "--against", old)
    assert status == 2
    flat = " ".join(said.err.split())
    assert words in flat
    assert str(old) in flat
    assert str(projects / "new") not in flat
    if "whichlora doctor" in flat or "whichlora run" in flat:
        assert str(old) in flat.partition("→")[2]


def test_a_damaged_plan_of_the_project_itself_is_a_sentence(projects, capsys, tmp_path):
    shutil.copytree(projects / "old", tmp_path / "own")
    damage(tmp_path / "own", "{}")
    status, said = call(capsys, "report", tmp_path / "own")
    assert status == 2
    assert f"whichlora run {tmp_path / 'own'}" in " ".join(said.err.split())


@pytest.mark.parametrize(("words", "said"), [
    (("--threshold", "identity"), "not of the form name=number"),
    (("--threshold", "smell=0.5"), "not tested"),
    (("--weight", "camera=-1"), "not possible"),
    (("--without", "identity/nothing"), "no deciding metric named"),
])
def test_wrong_wishes_are_refused(projects, capsys, words, said):
    status, printed = call(capsys, "report", projects / "new", *words)
    assert status == 2
    assert said in " ".join(printed.err.split())


def test_wishes_change_the_answer(projects, capsys):
    def verdict(*words):
        status, said = call(capsys, "report", projects / "new", "--json", "-o", projects / "out", *words)
        assert status == 0, said.err
        return json.loads(said.out)["verdict"]

    assert verdict()["decision"] == "existing"
    slow = verdict("--max-seconds", "5")
    assert slow["decision"] == "undecided"
    assert "over your limit of time, the base model alone included" in slow["sentence"]
    strict = verdict("--threshold", "camera=0.995")
    assert not strict["firm"]
    assert "camera" in strict["sentence"]
