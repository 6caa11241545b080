"""The base as an axis: a sibling asks the same, and only what every base was asked is counted."""

from __future__ import annotations

import json
import shutil

import pytest

from export import projects
from families import painters
from whichlora.cli.main import main
from whichlora.suite.loading import load_suite


def call(capsys, *words, status=0):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["bases", *map(str, words), "--json"])
    captured = capsys.readouterr()
    assert ended.value.code == status, captured.err
    return json.loads(captured.out) if captured.out else captured.err


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two projects: on the first base half of base's pictures pass, on the second all but one."""
    root = tmp_path_factory.mktemp("bases")
    first = projects.painted(root / "one", photos=2)
    other = painters.base(root / "other", faces=False, name="other-painter", strengths={"camera": 0.9})
    with pytest.raises(SystemExit) as ended:
        main(["bases", str(first.folder), "--add", str(other), "--family", "painter", "--to", str(root / "two")])
    assert ended.value.code == 0
    second = projects.make(root / "two")
    cells = first.cells("base")
    first.pass_all("base", "sharp", but=dict.fromkeys(cells[: len(cells) // 2], "edit"))
    second.pass_all("base", but={second.cells("base")[0]: "identity"})
    return first, second


def test_a_sibling_asks_the_same_of_another_base(pair):
    first, second = pair
    a, b = (load_suite(project.folder / "whichlora.yaml") for project in pair)
    assert (a.edits, a.seeds, a.must_have, a.target) == (b.edits, b.seeds, b.must_have, b.target)
    assert b.candidates == []
    assert [photo.sha256 for photo in first.plan.sources] == [photo.sha256 for photo in second.plan.sources]
    assert first.plan.base.fingerprint != second.plan.base.fingerprint
    assert not {cell.id for cell in first.plan.cells if cell.candidate == "base"} & {
        cell.id for cell in second.plan.cells}, "cells of two bases are never the same"


def test_the_table_counts_what_all_were_asked(pair, capsys):
    first, second = pair
    table = call(capsys, first.folder, second.folder)
    rows = {(row["side"], row["row"]): row for row in table["rows"]}
    assert set(rows) == {("painter", "base"), ("painter", "sharp"), ("painter", "soft"), ("other-painter", "base")}
    count = len(first.cells("base"))
    assert table["cases"] == count
    assert table["photos"] == 2

    def total(row):
        return tuple(map(sum, zip(*row["capabilities"].values(), strict=True)))

    assert total(rows["painter", "base"]) == (count - count // 2, count)
    assert total(rows["other-painter", "base"]) == (count - 1, count)
    assert rows["painter", "soft"]["unknown"] == count
    assert rows["painter", "soft"]["rate"] is None
    assert rows["painter", "base"]["rate"]["value"] == pytest.approx(0.5)
    assert all(row["against"] is None for row in table["rows"]), "bases are not paired unless asked"


def test_a_case_that_one_base_was_not_asked_is_left_out(pair, tmp_path, capsys):
    """Without one edit in the second project, the first one's pictures of it count no longer."""
    first, second = pair
    shutil.copytree(second.folder, tmp_path / "two", ignore=shutil.ignore_patterns("store.sqlite*", "images"))
    suite = tmp_path / "two" / "whichlora.yaml"
    text = suite.read_text(encoding="utf-8")
    suite.write_text(text.replace("make the character smile", "make the character laugh"), encoding="utf-8")
    again = projects.make(tmp_path / "two")
    again.pass_all("base")
    table = call(capsys, first.folder, again.folder)
    assert table["cases"] == len(first.cells("base")) * 3 // 4
    assert all("expression" not in row["capabilities"] for row in table["rows"])


def test_paired_differences_are_by_photograph_and_only_when_asked(pair, capsys):
    first, second = pair
    table = call(capsys, first.folder, second.folder, "--paired")
    rows = {(row["side"], row["row"]): row["against"] for row in table["rows"]}
    count = len(first.cells("base"))
    assert rows["painter", "base"] is None
    assert rows["other-painter", "base"]["value"] == pytest.approx((count - 1) / count - 0.5)
    assert rows["other-painter", "base"]["photos"] == 2
    assert any("Seeds are not" in note for note in table["notes"])


def test_what_cannot_be_compared_is_one_sentence(pair, tmp_path, capsys):
    first, _ = pair
    assert "two projects" in call(capsys, first.folder, status=2)
    assert "--to" in call(capsys, first.folder, "--add", "x/y", status=2)
    assert "not empty" in call(capsys, first.folder, "--add", "x/y", "--to", first.folder, status=2)
    strange = projects.painted(tmp_path / "strange", photos=1, size=(80, 80))
    strange.pass_all("base")
    assert "No photograph" in call(capsys, first.folder, strange.folder, status=2)
