"""Every command that is printed can be pasted into a shell, whatever the project's folder is called."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

import whichlora
from export import projects
from whichlora.cli.main import VERBS, main
from whichlora.cli.output import answer_console
from whichlora.quoting import quoted

ODD = "my project's demo [1] $HOME"
COMMAND = re.compile(rf"(?<![(\w])whichlora (?:{'|'.join(VERBS)})\b.*?(?=\n|   |\Z)")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX quoting is looked at")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return projects.painted(tmp_path_factory.mktemp("odd") / "source").folder


@pytest.fixture
def folder(finished, tmp_path):
    """A finished, unscored project in a folder of which a shell would make several words."""
    return Path(shutil.copytree(finished, tmp_path / ODD))


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch):
    monkeypatch.setattr("whichlora.report.plots.PLOTS", {})  # they have a test of their own


def say(capsys, *words) -> str:
    capsys.readouterr()
    with suppress(SystemExit):
        main([*map(str, words)])
    captured = capsys.readouterr()
    return captured.out + captured.err


def commands(text: str) -> list[list[str]]:
    """The words of every printed command, as a shell takes them."""
    return [shlex.split(found.group()) for found in COMMAND.finditer(text)]


def never_run(folder):
    for path in folder.glob("store.sqlite*"):
        path.unlink()
    shutil.rmtree(folder / "images")


def one_picture_damaged(folder):
    next((folder / "images").rglob("*.png")).write_bytes(b"")


def suite_changed(folder):
    suite = folder / "whichlora.yaml"
    suite.write_text(suite.read_text(encoding="utf-8").replace("target: 0.7", "target: 0.6"), encoding="utf-8")


def base_elsewhere(folder):
    suite = folder / "whichlora.yaml"
    text, count = re.subn(r"location: .*?(?=})", "location: Nobody/Nothing", suite.read_text(encoding="utf-8"))
    assert count == 1
    text = text.replace("family: painter", "family: qwen_image_edit")
    suite.write_text(text, encoding="utf-8")


def as_it_is(folder):
    pass


CALLS = {
    "a missing folder": (as_it_is, ["run", "FOLDER/no where"], ["init"]),
    "a folder without a suite": (as_it_is, ["plan", "FOLDER/refs"], ["init"]),
    "a plan": (never_run, ["plan", "FOLDER"], ["run"]),
    "a plan that is carried out": (as_it_is, ["plan", "FOLDER"], ["score"]),
    "scored pictures": (as_it_is, ["score", "FOLDER"], ["report"]),
    "a run with nothing to do": (as_it_is, ["run", "FOLDER"], ["score"]),
    "pictures without scores": (as_it_is, ["route", "FOLDER"], ["score"]),
    "nothing decided": (as_it_is, ["watch", "FOLDER", "--offline"], ["evaluate"]),
    "a suite that has changed": (suite_changed, ["report", "FOLDER"], ["run"]),
    "never run": (never_run, ["score", "FOLDER"], ["run"]),
    "nothing to sweep": (never_run, ["sweep", "FOLDER", "sharp"], ["run"]),
    "pictures without a database": (lambda f: (f / "store.sqlite").unlink(), ["doctor", "FOLDER"], ["doctor"]),
    "a damaged database": (lambda f: (f / "store.sqlite").write_bytes(b"no"), ["report", "FOLDER"], ["doctor"]),
    "a damaged picture": (one_picture_damaged, ["doctor", "FOLDER"], ["doctor"]),
    "a damaged picture, to be scored": (one_picture_damaged, ["score", "FOLDER"], ["run"]),
    "a base that is not here": (base_elsewhere, ["plan", "FOLDER"], ["fetch"]),
    "a sibling": (as_it_is, ["bases", "FOLDER", "--add", "Nobody/Nothing", "--to", "FOLDER/new one"],
                  ["evaluate", "bases"]),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_printed_command_has_the_folder_as_one_word(folder, capsys, case):
    prepare, words, verbs = CALLS[case]
    prepare(folder)
    known = {str(path) for path in (folder, folder / "no where", folder / "refs", folder / "new one")}
    said = say(capsys, *(word.replace("FOLDER", str(folder)) for word in words))
    found = commands(said)
    assert [line[1] for line in found] == verbs, said
    for line in found:
        assert known & set(line), said
        assert set(line[2:]) <= known | {"--refs", "PHOTOS…", "--repair"}, said


def test_a_new_project_says_how_to_go_on(tmp_path, capsys):
    folder = tmp_path / ODD
    photo = projects.photograph(tmp_path / "photo.png", 1)
    assert commands(say(capsys, "init", folder, "--refs", photo, "--template", "figure")) == [
        ["whichlora", "fetch", str(folder)], ["whichlora", "plan", str(folder)]]


def test_what_repeats_a_report_can_be_copied(folder, capsys):
    document = json.loads(say(capsys, "report", folder, "--json"))
    stored = json.loads((Path(document["report"]).parent / "findings.json").read_text(encoding="utf-8"))
    assert shlex.split(stored["manifest"]["command"]) == ["whichlora", "evaluate", str(folder)]


def test_paths_are_quoted_only_where_a_shell_needs_it():
    assert shlex.split(f"whichlora run {quoted(Path(ODD))}") == ["whichlora", "run", ODD]
    assert quoted("mina") == "mina"
    assert quoted("-rf") == "./-rf"


PLAIN = {("run.py", "step"), ("plan.py", "step"), ("packs.py", "name"), ("packs.py", "wanted.name"),
         ("score.py", "name"), ("main.py", "verb"), ("main.py", "__version__")}
"""What may stand in a printed command as it is: names of verbs and of packs."""


def test_no_source_prints_a_command_with_an_unquoted_value():
    """Also those places that no project here leads to."""
    unquoted, seen = [], 0
    for path in sorted(Path(whichlora.__file__).parent.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)) if "whichlora " in source else ():
            if not isinstance(node, ast.JoinedStr):
                continue
            within = False
            for part in node.values:
                if isinstance(part, ast.Constant):
                    begun = re.search(rf"\bwhichlora (?:(?:{'|'.join(VERBS)})\b|$)", str(part.value))
                    # A command goes on until its bracket closes or its sentence ends.
                    over = re.search(r"\)|[.,;:](?:\s|$)", str(part.value)[begun.end() if begun else 0:])
                    within = (within or begun is not None) and over is None
                elif within and isinstance(part, ast.FormattedValue):
                    value = ast.unparse(part.value)
                    seen += value.startswith("quoted(")
                    if not value.startswith("quoted(") and (path.name, value) not in PLAIN:
                        unquoted.append(f"{path.name}:{node.lineno}: {value}")
    assert unquoted == []
    assert seen > 20


def test_a_dry_run_counts_what_is_missing(folder, capsys):
    assert "0 of 48 pictures are missing" in say(capsys, "run", folder, "--dry-run")
    document = json.loads(say(capsys, "run", folder, "--dry-run", "--json"))
    assert (document["already_there"], document["cells"]) == (48, 48)
    suite = folder / "whichlora.yaml"
    text = suite.read_text(encoding="utf-8")
    suite.write_text(text.replace("soft.safetensors", "soft.safetensors:0.5"), encoding="utf-8")
    assert "8 of 48 pictures are missing" in say(capsys, "run", folder, "--dry-run")
    never_run(folder)
    assert "24 pictures would be made, and 24 controls" in say(capsys, "run", folder, "--dry-run")


def test_names_in_a_survey_are_never_broken(monkeypatch, capsys):
    """They go into suites and commands."""
    listed = json.loads(say(capsys, "survey", "--offline", "--json"))["entries"]
    names = [entry["repo_id"] for entry in listed if entry["list"] != "skip"]
    assert any(len(name) > 40 for name in names)
    for columns in (40, 80, 100, 200):
        monkeypatch.setattr(answer_console, "_width", columns)
        lines = say(capsys, "survey", "--offline").splitlines()
        assert [next(line for line in lines if name in line.split()) for name in names]
